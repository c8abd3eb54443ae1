"""When an error alarm is given: cool-down, warm-up, new versions, and errors that stay high."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from services.monitor.errors_watch import PERSISTING, ErrorAlarm, ErrorWatch
from services.monitor.policy import Policy

POLICY = Policy(
    error_detector="adwin",
    error={"delta": 0.002},
    cool_down_rows=1000,
    warm_up_rows=200,
    persisting_margin=None,
)
PERSIST = replace(POLICY, persisting_margin=0.05)


def errors(*stretches: tuple[int, float], seed: int = 0) -> list[float]:
    """Stretches of (rows, rate of errors)."""
    rng = np.random.default_rng(seed)
    return [float(rng.random() < rate) for rows, rate in stretches for _ in range(rows)]


def alarms(
    policy: Policy, rows: Sequence[float], versions: Sequence[int] | None = None, step: int = 10_000
) -> list[tuple[int, ErrorAlarm]]:
    """All alarms with their row; every version serves what it answers; taken in stretches of at most ``step`` rows."""
    watch, found = ErrorWatch(policy), []
    serving = np.ones(len(rows), int) if versions is None else np.array(versions)
    changes = np.flatnonzero(np.diff(serving)) + 1
    ends = sorted({*range(step, len(rows), step), *changes.tolist(), len(rows)})
    for begin, end in itertools.pairwise([0, *ends]):
        watch.begin(int(serving[begin]), None)
        found += [(begin + place, alarm) for place, alarm in take(watch, rows[begin:end], begin)]
    return found


def take(watch: ErrorWatch, rows: Sequence[float], begin: int = 0, *, own: bool = True) -> list[tuple[int, ErrorAlarm]]:
    """Give the watch the next rows; event time is the row in seconds, the offset twice the row."""
    numbers = np.arange(begin, begin + len(rows))
    return watch.take(np.array(rows, float), np.full(len(rows), own), 1000 * numbers, 2 * numbers)


def test_a_rise_is_an_alarm_with_its_evidence() -> None:
    """It dates the rise: ``since_time_ms`` is the event time of the first row after the cut."""
    (row, alarm), *others = alarms(POLICY, errors((3000, 0.1), (500, 0.4)))

    assert not others
    assert 3000 < row < 3150
    first = row + 1 - alarm.change.after_rows
    assert (1000 * first, 2 * first) == (alarm.since_time_ms, alarm.since_offset)
    assert abs(alarm.since_time_ms - 3_000_000) < 50_000


def test_a_fall_is_none() -> None:
    """An error that falls is good news."""
    assert not alarms(POLICY, errors((3000, 0.4), (3000, 0.1)))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("half_rows", [50, 150, 400, 1200])
def test_flapping_keeps_to_the_cool_down(seed: int, half_rows: int) -> None:
    """An error that flaps as a square wave gives alarms, but never two within the cool-down."""
    wave = errors(*[(half_rows, 0.05), (half_rows, 0.6)] * (24_000 // half_rows), seed=seed)

    for policy in (POLICY, PERSIST):
        rows = [row for row, _ in alarms(policy, wave)]
        assert all(later - earlier >= policy.cool_down_rows for earlier, later in itertools.pairwise(rows))
        assert len(rows) <= 1 + len(wave) // policy.cool_down_rows
    assert half_rows < 400 or alarms(POLICY, wave), "slow waves must be seen, or this shows nothing"


def test_a_new_version_begins_with_a_clean_slate() -> None:
    """A version that is worse from its first row on is not a drift: nothing changed while it served."""
    rows = errors((3000, 0.1), (3000, 0.4))

    assert alarms(POLICY, rows)
    assert not alarms(POLICY, rows, [1] * 3000 + [2] * 3000)


def test_no_alarm_while_a_version_warms_up() -> None:
    """A rise within the first rows of a version is no alarm; the same rise after them is."""
    rows = errors((3000, 0.1), (150, 0.0), (1500, 0.9))
    versions = [1] * 3000 + [2] * 1650

    assert not alarms(replace(POLICY, warm_up_rows=600), rows, versions)
    assert alarms(replace(POLICY, warm_up_rows=10), rows, versions)


def test_late_labels_of_an_earlier_version_are_not_held_against_the_new_one() -> None:
    """Errors of a version that no longer serves reach no detector."""
    watch = ErrorWatch(POLICY)
    good, bad = errors((3000, 0.1)), errors((3000, 0.9))
    watch.begin(1, None)
    assert not take(watch, good)
    watch.begin(2, None)

    assert not take(watch, bad, own=False)
    assert not take(watch, good)
    assert take(watch, bad)


def test_an_error_that_stays_high_is_an_alarm_again_after_the_cool_down() -> None:
    """Up to the limit, each a cool-down after the last, with the level from before the drift as evidence."""
    found = alarms(replace(PERSIST, persisting_limit=2), errors((3000, 0.1), (9000, 0.3)))

    (first, drift), (second, persists), (third, again) = found
    assert [drift.detector, persists.detector, again.detector] == ["ADWIN", PERSISTING, PERSISTING]
    assert (1000, 1000) == (second - first, third - second)
    assert drift.change.before == persists.change.before == again.change.before
    assert persists.change.after == pytest.approx(0.3, abs=0.05)
    assert {"margin": 0.05, "limit": 2, "spoken": 1} == persists.parameters


def test_an_error_that_came_down_again_is_let_be() -> None:
    """Within the margin of its old level it is forgiven, once and for all."""
    assert len(alarms(PERSIST, errors((3000, 0.1), (200, 0.4), (9000, 0.1)))) == 1


@pytest.mark.parametrize(("judged", "count"), [(True, 4), (False, 1)])
def test_whether_a_new_version_is_held_to_the_old_level(*, judged: bool, count: int) -> None:
    """A retrain that did not help is followed by another only if the policy says so."""
    policy = replace(PERSIST, persisting_new_version=judged)
    versions = [1] * 3200 + [2] * 8800

    assert count == len(alarms(policy, errors((3000, 0.1), (9000, 0.3)), versions))


def test_a_rise_too_early_is_judged_when_the_time_has_come() -> None:
    """A second drift in the cool-down of the first is not lost: it is compared with the level before it."""
    rows = errors((3000, 0.1), (100, 0.5), (600, 0.1), (4000, 0.5))

    later = alarms(PERSIST, rows)

    assert [alarm.detector for _, alarm in later][:2] == ["ADWIN", PERSISTING]
    assert later[1][0] - later[0][0] == PERSIST.cool_down_rows


@pytest.mark.parametrize("detector", ["adwin", "e_detector"])
@pytest.mark.parametrize("step", [1, 37, 1000])
def test_alarms_do_not_depend_on_how_rows_come(detector: str, step: int) -> None:
    """Rows are taken at once where no decision can fall within; one by one gives the same, the rule included."""
    rows = errors((1500, 0.1), (900, 0.5), (300, 0.2), (900, 0.6))
    versions = [1] * 2000 + [2] * 1600
    policy = replace(PERSIST, error_detector=detector, error={}, cool_down_rows=300, persisting_limit=2)
    expected = alarms(policy, rows, versions)

    assert {PERSISTING, alarms(policy, rows, versions)[0][1].detector} == {alarm.detector for _, alarm in expected}
    assert expected == alarms(policy, rows, versions, step)
