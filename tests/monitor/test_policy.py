"""When an error alarm is given: cool-down, warm-up, new versions, and errors that stay high."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from services.monitor.policy import PERSISTING, ErrorAlarm, ErrorWatch, Policy

POLICY = Policy(
    error={"delta": 0.002}, features={"delta": 1e-6}, cool_down_rows=1000, warm_up_rows=200, persisting_margin=None
)
PERSIST = replace(POLICY, persisting_margin=0.05)


def errors(*stretches: tuple[int, float], seed: int = 0) -> list[float]:
    """Stretches of (rows, rate of errors)."""
    rng = np.random.default_rng(seed)
    return [float(rng.random() < rate) for rows, rate in stretches for _ in range(rows)]


def alarms(
    policy: Policy, rows: Iterable[float], versions: Iterable[int] | None = None
) -> list[tuple[int, ErrorAlarm]]:
    """All alarms with their row; every version serves what it answers."""
    watch = ErrorWatch(policy)
    rows = list(rows)
    serving = list(versions) if versions is not None else [1] * len(rows)
    found = (
        (row, watch.update(error, version, version, 1000 * row))
        for row, (error, version) in enumerate(zip(rows, serving, strict=True))
    )
    return [(row, alarm) for row, alarm in found if alarm is not None]


def test_a_rise_is_an_alarm_with_its_evidence() -> None:
    """It dates the rise: ``since_time_ms`` is the event time of the first row after the cut."""
    (row, alarm), *others = alarms(POLICY, errors((3000, 0.1), (500, 0.4)))

    assert not others
    assert 3000 < row < 3150
    assert (row + 1 - alarm.change.after_rows) * 1000 == alarm.since_time_ms
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

    assert not [error for error in good if watch.update(error, 1, 1, 0)]
    assert not [error for error in bad if watch.update(error, 1, 2, 0)]
    assert not [error for error in good if watch.update(error, 2, 2, 0)]


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
