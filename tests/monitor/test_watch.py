"""One partition's watch: a function of the order of its rows, and of nothing else."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.errors import UndecodableError
from services.monitor.frames import read_rows
from services.monitor.measure import Measured
from services.monitor.policy import Policy
from services.monitor.rollout import RolloutFinding
from services.monitor.watch import Drift, Finding, Watch
from tests.monitor.rollouts import scored

POLICY = Policy(
    error_detector="adwin",
    estimate="off",
    error={"delta": 0.002},
    features={"delta": 1e-4},
    cool_down_rows=300,
    warm_up_rows=50,
    metrics_window_rows=100,
    horizon_rows=1000,
)


def findings(policy: Policy, frames: list[Any]) -> list[Finding]:
    """All findings of a fresh watch."""
    watch = Watch(policy)
    return [finding for frame in frames for finding in watch.take(read_rows(frame))]


def drifting(make: Any) -> list[Any]:
    """800 labelled rows: the error rises at 400, a new version comes at 600."""
    wrong = np.random.default_rng(2).random(800) < np.where(np.arange(800) < 400, 0.1, 0.7)
    lines: list[Any] = make.lines_of(wrong.tolist(), [1] * 600 + [2] * 200)
    return [replace(line, price=line.price + 3) if 500 < at // 2 < 700 else line for at, line in enumerate(lines)]


@given(cuts=st.lists(st.integers(1, 1599), max_size=30))
@settings(max_examples=25, deadline=None)
def test_frames_can_be_cut_anywhere(make: Any, cuts: list[int]) -> None:
    """However serving cuts its micro-batches, the same drifts and metrics come out, to the last bit."""
    lines = drifting(make)

    expected = findings(POLICY, [make.observed(lines)])

    assert {"ALARM", "WARNING"} == {found.severity for found in expected if isinstance(found, Drift)}
    assert {1, 2} == {found.version for found in expected if isinstance(found, Measured)}
    assert expected == findings(POLICY, make.cut(lines, cuts))


def test_findings_come_in_samples_order(make: Any) -> None:
    """Offsets never go back, within a frame or from one to the next."""
    offsets = [found.offset for found in findings(POLICY, make.cut(drifting(make), [700, 900]))]

    assert sorted(offsets) == offsets


def test_a_feature_that_moves_is_a_warning(make: Any) -> None:
    """With its name, the event that showed it, and both means; it never asks for a retrain."""
    found = [
        drift
        for drift in findings(POLICY, [make.observed(drifting(make))])
        if isinstance(drift, Drift) and drift.subject == "feature:price"
    ]

    assert found
    assert {"WARNING"} == {drift.severity for drift in found}
    assert (found[0].change.before, found[0].change.after) == pytest.approx((0.5, 3.5), abs=0.3)
    assert f"e{found[0].offset // 2}" == found[0].event_id


def test_feature_warnings_keep_to_their_cool_down(make: Any) -> None:
    """A feature that flaps is reported once in a cool-down of events."""
    lines = [make.line(f"e{at}", price=float(at // 100 % 2) + 0.01 * (at % 7)) for at in range(5000)]

    offsets = [found.offset for found in findings(POLICY, make.cut(lines, range(0, 5000, 333)))]

    assert len(offsets) > 3
    assert all(later - earlier >= 300 for earlier, later in itertools.pairwise(offsets))


def test_features_survive_a_new_version(make: Any) -> None:
    """The world does not change because a model was deployed: a step at the same moment is still seen."""
    lines = [make.line(f"e{at}", version=1 + at // 500, price=float(at >= 500)) for at in range(1000)]

    assert [found.version for found in findings(POLICY, [make.observed(lines)])] == [2]


def test_a_feature_that_is_missing_for_a_while_is_no_drift(make: Any) -> None:
    """NaN is skipped, in part and altogether."""
    rng = np.random.default_rng(3)
    lines = [make.line(f"e{at}", price=np.nan if at % 3 else rng.random()) for at in range(3000)]

    assert not findings(POLICY, [make.observed(lines)])
    assert not findings(POLICY, [make.observed([replace(line, price=np.nan) for line in lines])])


def canary(make: Any, wrong: Any, seed: int = 6) -> list[Any]:
    """The champion's errors, and a candidate that answers every third event and is always right."""
    answers = np.random.default_rng(seed).random(len(wrong)) < 1 / 3
    lines = []
    for number, (error, candidate) in enumerate(zip(wrong, answers, strict=True)):
        said = {1: 0.0 if error else 1.0, 2: 1.0}
        version, other = (2, 1) if candidate else (1, 2)
        lines.append(
            make.line(f"e{number}", version=version, value=said[version], other_version=other, other_value=said[other])
        )
        lines.append(make.line(f"e{number}", label=1.0))
    return lines


def test_a_canary_does_not_hide_the_champions_drift(make: Any) -> None:
    """Though another version answers some events: the champion's own error is watched, on all of them.

    When the version that answered last was taken for the one that serves, the detector began anew at each change.
    """
    wrong = (np.random.default_rng(2).random(800) < np.where(np.arange(800) < 400, 0.1, 0.7)).tolist()
    alone = findings(POLICY, [make.observed(make.lines_of(wrong), champion_version=1)])
    mixed = findings(POLICY, make.cut(canary(make, wrong), range(0, 1600, 90), champion_version=1))

    def alarms(found: list[Finding]) -> list[Drift]:
        return [each for each in found if isinstance(each, Drift) and each.subject == "error"]

    assert alarms(alone)
    assert alarms(alone) == alarms(mixed)
    assert {1} == {drift.version for drift in alarms(mixed)}


def test_a_candidate_that_drifts_is_no_drift(make: Any) -> None:
    """It is the rollout that judges a candidate: however bad it becomes, the champion's watch is silent."""
    rng = np.random.default_rng(8)
    wrong = rng.random(2000) < np.where(np.arange(2000) < 1000, 0.1, 0.9)
    lines = [
        replace(line, other_value=float(not bad)) if line.label is None and line.other_version == 2 else
        replace(line, value=float(not bad)) if line.label is None else line
        for line, bad in zip(canary(make, rng.random(2000) < 0.1), np.repeat(wrong, 2), strict=True)
    ]  # fmt: skip

    found = findings(POLICY, [make.observed(lines, champion_version=1)])

    assert not [each for each in found if isinstance(each, Drift) and each.subject == "error"]
    newest = {each.version: each.metrics["accuracy"] for each in found if isinstance(each, Measured)}
    assert newest == {1: pytest.approx(0.9, abs=0.08), 2: pytest.approx(0.1, abs=0.08)}


def test_an_event_that_the_champion_did_not_score_says_nothing_about_it(make: Any) -> None:
    """Other arms' errors reach no detector, nor does their share of the traffic; the champion's own errors do."""
    rng = np.random.default_rng(9)
    arms = 1 + (rng.random(3000) < np.where(np.arange(3000) > 1000, 0.6, 0.1))
    for drifting_arm, seen in ((1, True), (2, False)):
        rate = np.where((arms == drifting_arm) & (np.arange(3000) > 1500), 0.7, 0.1)
        lines = make.lines_of((rng.random(3000) < rate).tolist(), arms.tolist())
        found = findings(POLICY, make.cut(lines, range(0, 6000, 100), champion_version=1))
        alarms = [each for each in found if isinstance(each, Drift) and each.subject == "error"]
        assert seen == bool(alarms)


def test_a_promoted_version_begins_with_a_clean_slate(make: Any) -> None:
    """What it did as a candidate counts for nothing, though its labels come when it is champion already."""
    bad, good = np.ones(300, bool).tolist(), np.zeros(900, bool).tolist()
    both = {"version": 2, "other_version": 1, "other_value": 1.0}
    tried = [replace(line, **both) if line.label is None else line for line in make.lines_of(bad)]
    promoted = make.lines_of(good + bad, 2)
    promoted = [replace(line, event_id=f"p-{line.event_id}") for line in promoted]
    events, labels = tried[::2], tried[1::2]

    def alarms(between: list[Any]) -> list[tuple[int, int]]:
        frames = [make.observed(events, 0, champion_version=1)]
        frames += make.cut(between + promoted, (), champion_version=2)
        found = [each for each in findings(POLICY, frames) if isinstance(each, Drift) and each.subject == "error"]
        return [(each.change.before_rows, each.change.after_rows) for each in found]

    assert alarms([])
    assert alarms([]) == alarms(labels)


def test_a_rollout_is_found_last(make: Any) -> None:
    """Its evidence is about the whole frame, so it stands after what single rows showed."""
    variants = scored("champion", 1, answered=True), scored("candidate", 2, answered=False)
    about = {"champion_version": 1, "rollout_id": "r", "variants": variants}
    found = findings(POLICY, [make.observed(canary(make, [False] * 200), **about)])

    assert isinstance(found[-1], RolloutFinding)
    assert (400, 1, "r") == (found[-1].offset, found[-1].epoch, found[-1].rollout_id)
    assert [200] == [pair.paired_rows for pair in found[-1].pairs]


def test_a_frame_with_another_number_of_rows_is_refused(make: Any) -> None:
    """What the event announces and what the frame holds must agree."""
    frame = make.observed([make.line("a")]).model_copy(update={"rows": 2})

    with pytest.raises(UndecodableError, match="1 rows, the event says 2"):
        read_rows(frame)


def test_an_empty_frame_changes_nothing(make: Any) -> None:
    """A micro-batch may hold no row of this model."""
    assert not findings(POLICY, [make.observed([])])
