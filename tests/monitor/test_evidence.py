"""Trails, histograms and what stands beside an alarm."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.monitor.detect import Change
from services.monitor.evidence import BINS, Drift, Recent, picture
from services.monitor.trail import Trail

DRIFT = Drift(1, "error", "ADWIN", "ALARM", 77, "e9", 5000, Change(0.1, 0.3, 900, 90), {}, 4000)


def test_bins_are_few_and_hold_every_row() -> None:
    """Also those far outside, which do not hide the rest."""
    rng = np.random.default_rng(1)
    before, after = np.append(rng.normal(size=1000), 1e9), rng.normal(size=300) + 1
    shown = picture(before, after)

    assert len(shown.bins) == BINS + 1
    assert sorted(shown.bins) == list(shown.bins)
    assert (1001, 300) == (sum(shown.before_counts), sum(shown.after_counts))
    assert max(shown.before_counts) < 300


def test_few_values_are_counted_by_themselves() -> None:
    """A class index, or a flag; nothing before gives zeros."""
    shown = picture(np.empty(0), np.array([1.0, 1.0, 3.5]))

    assert (("1", "3.5"), (0, 0), (2, 1)) == (shown.categories, shown.before_counts, shown.after_counts)


def test_nearly_constant_rows_have_a_picture() -> None:
    """Almost all rows on one number leave few bins, and no error."""
    rows = np.concatenate([np.zeros(5000), np.arange(20.0)])
    shown = picture(rows, rows)

    assert sum(shown.before_counts) == len(rows)
    assert len(shown.bins) == len(shown.before_counts) + 1


def test_what_is_beside_is_of_the_version_and_since_the_change() -> None:
    """The newest of them, a bounded number."""
    recent = Recent(3)
    others = [replace(DRIFT, subject=f"feature:{at}", offset=at, time_ms=3990 + at) for at in range(20)]
    for drift in [*others, replace(DRIFT, version=2, offset=30)]:
        recent.add(drift)

    assert [18, 19] == [key.offset for key in recent.beside(DRIFT)]
    assert not recent.beside(replace(DRIFT, since_time_ms=4_010))
    again = Recent(3)
    again.restore(json.loads(json.dumps(recent.saved())))
    assert recent.beside(DRIFT) == again.beside(DRIFT)


@given(cuts=st.lists(st.integers(1, 99), max_size=8, unique=True), place=st.integers(0, 99))
def test_a_trail_answers_the_same_however_rows_come(cuts: list[int], place: int) -> None:
    """Only the newest rows up to a place count, missing numbers left out."""
    rng = np.random.default_rng(2)
    values = np.where(rng.random(100) < 0.2, np.nan, rng.random(100))
    parts = np.arange(100.0) % 3

    def answers(ends: list[int]) -> object:
        trail = Trail(30)
        for begin, end in itertools.pairwise([0, *ends]):
            trail.extend(
                np.arange(begin, end), 10 * np.arange(begin, end), {"x": values[begin:end], "part": parts[begin:end]}
            )
            if begin <= place < end:
                here, change = place - begin, Change(0, 1, 10, 5)
                return (
                    [part.tolist() for part in trail.parts(here, "x", change)],
                    [part.tolist() for part in trail.parts(here, "x", change, ("part", 1))],
                    trail.times_ms(here).tolist(),
                    trail.since(here, "part", 4),
                )
        raise AssertionError

    assert answers([100]) == answers([*sorted(cuts), 100])


def test_a_trail_dates_a_cut_by_the_numbers_after_it() -> None:
    """Rows without a number are not counted; beyond what is kept, the oldest row stands for it."""
    trail = Trail(10)
    trail.extend(np.arange(20), 10 * np.arange(20), {"x": np.where(np.arange(20) % 2, 1.0, np.nan)})

    assert (150, 15) == trail.since(19, "x", 3)
    assert (110, 11) == trail.since(19, "x", 400)
    assert [[1.0, 1.0], [1.0]] == [part.tolist() for part in trail.parts(19, "x", Change(0, 1, 2, 1))]


def test_a_column_that_comes_late_was_not_there_before() -> None:
    """A feature set that changes with the model."""
    trail = Trail(10)
    trail.extend(np.arange(3), np.arange(3), {"x": np.ones(3)})
    trail.extend(np.arange(2), np.arange(2), {"y": np.ones(2)})

    assert {"x": 3, "y": 2} == {name: int(np.isfinite(each).sum()) for name, each in trail.newest(1, 10).items()}


def test_keys_tell_detectors_of_one_subject_apart() -> None:
    """Those of the main detectors are as they always were."""
    watched = replace(DRIFT, origin="watch-1", slice="x = 1")

    assert ("error", 77, "") == DRIFT.key
    assert ("error", 77, "watch-1/ADWIN/x = 1") == watched.key
    with pytest.raises(AttributeError):
        DRIFT.version = 3  # type: ignore[misc]  # frozen
