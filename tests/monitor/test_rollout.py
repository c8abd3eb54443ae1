"""The evidence about a rollout: sums that a plain loop gives too, however the rows are cut, given when they are due."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.events import PairMeasured, VariantScored
from services.monitor.frames import read_rows
from services.monitor.join import Join
from services.monitor.measure import SMALLEST_SCORE
from services.monitor.rollout import Metric, RolloutFinding, RolloutWatch
from tests.monitor.rollouts import ROWS, TASKS, Row, frames, scored, story

EVIDENCE_ROWS = 25
GUARD_ROWS = 50


def evidence(metric: Metric, observed: Sequence[Any], rows: int = EVIDENCE_ROWS, guard: int = GUARD_ROWS) -> Any:
    """All that a fresh watch finds, frame by frame."""
    join, watch = (
        Join(ROWS, 2 if TASKS[metric] == "classification" else 0),
        RolloutWatch(TASKS[metric], metric, rows, guard),
    )
    for each in map(read_rows, observed):
        yield watch.take(each, join.take(each))


def found(metric: Metric, observed: Sequence[Any], rows: int = EVIDENCE_ROWS, guard: int = GUARD_ROWS) -> list[Any]:
    """The same in one list."""
    return [finding for findings in evidence(metric, observed, rows, guard) for finding in findings]


def loss(metric: Metric, label: float, value: float, scores: tuple[float, ...]) -> float:
    """The loss by its definition."""
    match metric:
        case "accuracy":
            return float(value != label)
        case "log_loss":
            return -math.log(min(max(scores[int(label)], SMALLEST_SCORE), 1 - SMALLEST_SCORE))
        case "mae":
            return abs(value - label)
        case "rmse":
            return (value - label) ** 2


def labelled(rows: Sequence[Row], epoch: int) -> Iterator[tuple[Any, float]]:
    """The epoch's events whose label is among the rows, in the order of labels."""
    events = {row.line.event_id: row for row in rows if row.line.label is None}
    for row in rows:
        if row.line.label is not None and events[row.line.event_id].epoch == epoch:
            yield events[row.line.event_id].line, row.line.label


def expected(metric: Metric, rows: Sequence[Row], epoch: int) -> tuple[dict[int, Any], tuple[Any, ...]]:
    """Labelled rows, losses and their squares of each version; the candidate's differences from the champion."""
    losses: dict[int, list[float]] = {1: [], 2: []}
    differences = []
    for line, label in labelled(rows, epoch):
        own = loss(metric, label, line.value, line.scores)
        losses[line.version].append(own)
        if line.other_version:
            other = loss(metric, label, line.other_value, line.other_scores)
            differences.append(other - own if line.version == 1 else own - other)
    pair = (
        len(differences), sum(each < 0 for each in differences), sum(each > 0 for each in differences),
        math.fsum(differences), math.fsum(each**2 for each in differences),
    )  # fmt: skip
    return {
        version: (len(each), math.fsum(each), math.fsum(one**2 for one in each)) for version, each in losses.items()
    }, pair


def numbers(pair: PairMeasured) -> tuple[Any, ...]:
    """The pair's numbers in the order of their declaration."""
    return tuple(value for name, value in pair if name not in {"variant", "version"})


@pytest.mark.parametrize("metric", TASKS)
def test_the_sums_are_those_of_a_plain_loop(make: Any, metric: Metric) -> None:
    """Every finding, against all rows before its offset: losses by version, pairs, counts of the variants."""
    rows = story(make, 1, metric)

    findings = found(metric, frames(make, rows, range(0, ROWS, 17)))

    assert {2, 3, 5} == {finding.epoch for finding in findings}
    assert {"rollout/m/2", "rollout/m/5"} == {finding.rollout_id for finding in findings}
    for finding in findings:
        before = rows[: finding.offset]
        losses, pair = expected(metric, before, finding.epoch)
        for arm in finding.arms:
            measured = (arm.labelled_rows, arm.loss_sum, arm.loss_squares_sum)
            assert losses[arm.version] == pytest.approx(measured)
            own = [each for row in before if row.epoch == finding.epoch for each in row.scored]
            for name in ("assigned_rows", "answered_rows", "scored_rows", "error_rows", "missing_rows", "scoring_us"):
                assert getattr(arm, name) == sum(getattr(each, name) for each in own if each.version == arm.version)
        assert [pair] * len(finding.pairs) == [pytest.approx(numbers(each)) for each in finding.pairs]
        assert len(finding.pairs) == (pair[0] > 0)
        events = [row for row in range(finding.offset) if rows[row].epoch == finding.epoch]
        assert 1000 * max(row for row in events if rows[row].line.label is None) == finding.until_time_ms


@functools.cache
def row_by_row(make: Any, metric: Metric) -> tuple[list[Row], dict[tuple[int, int], RolloutFinding]]:
    """A story, and all that is ever known of each epoch, with the offset where it became known."""
    rows = story(make, 2, metric)
    findings = found(metric, frames(make, rows, range(ROWS)), 1, 1)
    return rows, {(finding.epoch, finding.offset): finding for finding in findings}


@pytest.mark.parametrize("metric", TASKS)
@given(cuts=st.lists(st.integers(1, ROWS - 1), max_size=60))
@settings(max_examples=25, deadline=None)
def test_frames_can_be_cut_anywhere(make: Any, metric: Metric, cuts: list[int]) -> None:
    """Each finding is, to the last bit, what was known at its offset when every row came in a frame of its own."""
    rows, known = row_by_row(make, metric)

    findings = found(metric, frames(make, rows, cuts))

    assert findings
    for finding in findings:
        newest = max(offset for epoch, offset in known if epoch == finding.epoch and offset <= finding.offset)
        assert replace(known[finding.epoch, newest], offset=finding.offset) == finding


def test_an_ab_test_has_no_pairs(make: Any) -> None:
    """Each event is scored by its own arm: there is nothing to compare on the same events."""
    findings = found("accuracy", frames(make, story(make, 3, "accuracy"), range(0, ROWS, 10)))

    assert {True: {2, 3}, False: {5}} == {
        paired: {
            finding.epoch for finding in findings if bool(finding.pairs) == paired and finding.arms[0].labelled_rows
        }
        for paired in (True, False)
    }


def test_a_late_label_counts_for_the_epoch_of_its_event(make: Any) -> None:
    """Evidence about an earlier step goes on while the rollout does, and ends with it."""
    findings = found("accuracy", frames(make, story(make, 4, "accuracy"), range(0, ROWS, 10)))

    late = [finding for finding in findings if finding.epoch == 2 and finding.offset > 460]
    assert late
    assert max(finding.offset for finding in late) <= 750
    assert not [finding for finding in findings if 760 < finding.offset <= 900]


def test_no_more_labels_than_agreed_are_kept_back(make: Any) -> None:
    """After each frame of a rollout fewer than ``evidence_rows`` of its labels are in no evidence, over all epochs."""
    rows = story(make, 5, "accuracy", faults=0.0)  # a fault would bring out what is kept back
    told: dict[int, int] = {}
    kept_back = 0

    observed = frames(make, rows, range(ROWS))
    for each, findings in zip(observed, evidence("accuracy", observed, guard=ROWS), strict=True):
        assert len(findings) == len({finding.epoch for finding in findings}), "once per frame and epoch at most"
        for finding in findings:
            told[finding.epoch] = sum(arm.labelled_rows for arm in finding.arms)
        if each.rollout_id == "rollout/m/2":
            known = sum(len(list(labelled(rows[: each.until_offset], epoch))) for epoch in (2, 3))
            kept_back = max(kept_back, known - told.get(2, 0) - told.get(3, 0))

    assert 0 < kept_back < EVIDENCE_ROWS


def one_event(make: Any, at: int, *variants: VariantScored) -> Any:
    """A frame with one event of a canary."""
    line = make.line(f"e{at}", other_version=2, other_value=1.0)
    about = {"epoch": 2, "champion_version": 1, "rollout_id": "rollout/m/2", "variants": variants}
    return make.observed([line], at, **about)


def test_a_failure_is_told_at_once(make: Any) -> None:
    """An error or a missing answer makes evidence due; an event without either does not."""
    champion = scored("champion", 1, answered=True)
    well = (champion, scored("candidate", 2, answered=False))
    failed = (champion, scored("candidate", 2, answered=False, failed=True))
    missing = (champion, scored("candidate", 2, answered=False, missing=True))

    told = evidence("accuracy", [one_event(make, at, *each) for at, each in enumerate([well, failed, well, missing])])

    assert [0, 1, 0, 1] == [len(findings) for findings in told]


def test_guardrails_hear_of_events_without_labels(make: Any) -> None:
    """Each time a variant has scored that many rows more, though no label comes."""
    well = scored("champion", 1, answered=True), scored("candidate", 2, answered=False)

    findings = found("accuracy", [one_event(make, at, *well) for at in range(3 * GUARD_ROWS + 7)])

    assert [GUARD_ROWS, 2 * GUARD_ROWS, 3 * GUARD_ROWS] == [finding.offset for finding in findings]
    assert [0] == list({arm.labelled_rows for finding in findings for arm in finding.arms})


def test_an_ended_rollout_is_forgotten_when_another_begins(make: Any) -> None:
    """Its late labels then change nothing; until then its epochs are all that is remembered."""
    rows = story(make, 6, "accuracy")
    join, watch = Join(ROWS, 2), RolloutWatch("classification", "accuracy", EVIDENCE_ROWS, GUARD_ROWS)
    remembered = {}
    for each in map(read_rows, frames(make, rows, ())):
        watch.take(each, join.take(each))
        remembered[each.epoch] = watch.epochs

    assert {1: (), 2: (2,), 3: (2, 3), 4: (2, 3), 5: (5,)} == remembered


def test_a_model_without_scores_has_no_log_loss(make: Any) -> None:
    """Nothing can be compared, so no row counts as labelled, and the counts of the variants still come."""
    well = scored("champion", 1, answered=True), scored("candidate", 2, answered=False)
    observed = [one_event(make, at, *well) for at in range(60)]
    observed += [make.observed([make.line(f"e{at}", label=1.0)], 60 + at) for at in range(60)]

    findings = found("log_loss", observed)

    assert [50] == [finding.offset for finding in findings]
    assert {(50, 0)} == {(arm.scored_rows, arm.labelled_rows) for arm in findings[0].arms}


def test_an_absurd_answer_is_still_a_number(make: Any) -> None:
    """A candidate that explodes has a loss so large that no test misses it, and no sum overflows."""
    about = {"epoch": 2, "champion_version": 1, "rollout_id": "rollout/m/2"}
    about["variants"] = (scored("champion", 1, answered=True), scored("candidate", 2, answered=False))
    lines = [make.line("a", value=0.0, other_version=2, other_value=1e150), make.line("a", label=0.0)]

    (finding,) = found("rmse", [make.observed(lines, **about)], 1)

    assert (0.0, 1e100, 1e200, 1) == (
        finding.arms[0].loss_sum,
        finding.pairs[0].difference_sum,
        finding.pairs[0].difference_squares_sum,
        finding.pairs[0].worse_rows,
    )
