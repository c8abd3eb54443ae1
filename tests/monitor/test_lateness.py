"""When labels are late."""

import json
from dataclasses import replace

import numpy as np
import pytest

from services.monitor.lateness import Lateness
from services.monitor.policy import Policy

LATENESS = Lateness.of(Policy(label_delay_ms=1_000, warm_up_rows=10))
NONE = np.empty(0, np.int64)


@pytest.mark.parametrize(("newest_ms", "younger", "late"), [
    (2_000, 10, False), (2_001, 10, True), (2_001, 9, False), (9_000, 9, False),
])  # fmt: skip
def test_both_time_and_rows_must_have_passed(newest_ms: int, younger: int, *, late: bool) -> None:
    """More than two delays of event time, and as many events as a version needs to warm up."""
    lateness = LATENESS.after(np.array([0, newest_ms]), np.array([0]))
    times = np.array([0, *[newest_ms] * younger])

    assert late == lateness.late(times, 2_000)


def test_before_the_first_label_the_first_event_counts() -> None:
    """And before the first event nothing is late."""
    times = np.arange(0, 3_000, 100)

    assert not LATENESS.late(NONE, 2_000)
    assert LATENESS.after(times, NONE).late(times, 2_000)
    assert not LATENESS.after(times, np.array([2_500])).late(times, 2_000)


def test_an_older_label_does_not_set_it_back() -> None:
    """Labels come in any order; the newest event that has one counts."""
    known = LATENESS.after(np.array([0, 5_000]), np.array([4_000]))

    assert 4_000 == known.after(NONE, np.array([1_000])).labelled_ms


def test_an_event_from_the_future_does_not_stand_for_the_newest() -> None:
    """Neither one that has a label, which would make labels never late, nor one that has none."""
    times = np.arange(0, 30_000, 100)
    wild = np.append(times[:20], 10**15)

    assert LATENESS.after(times, times[:20]).late(times, 2_000)
    assert LATENESS.after(times, wild).late(times, 2_000)
    assert not LATENESS.after(np.append(times, 10**15), times).late(times, 2_000)


@pytest.mark.parametrize(("every", "expected"), [(1, False), (60, False), (190, False), (500, True)])
def test_few_labels_that_come_in_time_are_not_late(every: int, *, expected: bool) -> None:
    """One event in so many has a label, at once: late only if more than two delays, 200 events, lie between them."""
    lateness, times = LATENESS, np.arange(0, 3_000) * 10
    late = 0
    for begin in range(0, len(times), 50):
        labels = times[begin : begin + 50][times[begin : begin + 50] % (10 * every) == 0]
        lateness = lateness.after(times[begin : begin + 50], labels)
        late += lateness.late(times[: begin + 50], 2_000)

    assert expected == (late > 0)


def test_a_first_event_from_the_future_does_not_hide_that_no_label_comes() -> None:
    """Before the first label the middle one of the first events counts."""
    times = np.append(10**15, np.arange(0, 30_000, 100))

    assert LATENESS.after(times, NONE).late(times, 2_000)


def test_cuts_make_no_difference() -> None:
    """One at a time or all at once, saved and restored in between: the same."""
    times, labels = np.random.default_rng(1).integers(0, 10**6, (2, 3_000))
    known = LATENESS
    for time, label in zip(times, labels, strict=True):
        known = LATENESS.restored(json.loads(json.dumps(known.after(np.array([time]), np.array([label])).saved())))

    assert LATENESS.after(times, labels).saved() == known.saved()


def test_no_more_rows_are_asked_for_than_are_kept() -> None:
    """A warm-up longer than what is kept would never be reached else."""
    times = np.arange(0, 5_000, 100)
    lateness = replace(LATENESS, rows=10_000).after(times, NONE)

    assert lateness.late(times, len(times) - 4)  # the middle one of the first seven is the fourth
    assert not lateness.late(times, 2_000)
    assert lateness.saved() == LATENESS.restored(lateness.saved()).saved()
