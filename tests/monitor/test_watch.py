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
from services.monitor.watch import Drift, Finding, Watch

POLICY = Policy(
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


def test_a_frame_with_another_number_of_rows_is_refused(make: Any) -> None:
    """What the event announces and what the frame holds must agree."""
    frame = make.observed([make.line("a")]).model_copy(update={"rows": 2})

    with pytest.raises(UndecodableError, match="1 rows, the event says 2"):
        read_rows(frame)


def test_an_empty_frame_changes_nothing(make: Any) -> None:
    """A micro-batch may hold no row of this model."""
    assert not findings(POLICY, [make.observed([])])
