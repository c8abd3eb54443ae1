"""The rows that are kept of a window: spread over it, chosen by their numbers alone, however frames are cut."""

import itertools
import json

import numpy as np
import numpy.typing as npt
import pytest

from services.monitor.detect.chi_square import ChiSquare
from services.monitor.detect.ks import KolmogorovSmirnov
from services.monitor.window_sample import ROWS_KEPT, Sample, chosen

ROWS = 50_000


def numbers_kept(rows: int, cuts: list[int]) -> npt.NDArray[np.float64]:
    """Which of so many rows are kept, where they come in these parts, every second row of the columns being theirs."""
    sample, column = Sample(1), np.repeat(np.arange(float(rows)), 2)
    for begin, end in itertools.pairwise([0, *cuts, rows]):
        sample.take([column], np.arange(2 * begin, 2 * end, 2))
    return sample.column(0)


def test_all_rows_of_a_short_window_are_kept() -> None:
    """As long as there is room."""
    assert numbers_kept(ROWS_KEPT - 1, []).tolist() == list(range(ROWS_KEPT - 1))


@pytest.mark.parametrize("rows", [ROWS_KEPT, ROWS_KEPT + 1, 10_000, ROWS])
def test_of_a_long_window_one_row_of_each_block_is_kept(rows: int) -> None:
    """Blocks of 2, 4, 8 ... rows, so that at least half of the room is used."""
    kept = numbers_kept(rows, [])
    block = next(size for size in (2, 4, 8, 16) if rows // size < ROWS_KEPT)

    assert ROWS_KEPT // 2 <= len(kept) < ROWS_KEPT
    assert np.unique(kept // block).tolist() == (kept // block).tolist()
    assert len(kept) >= rows // block


@pytest.mark.parametrize("seed", range(4))
def test_cuts_make_no_difference(seed: int) -> None:
    """Any cuts give the rows that the rule says."""
    cuts = sorted(np.random.default_rng(seed).integers(0, ROWS, 40).tolist())
    kept = numbers_kept(ROWS, cuts)

    assert kept.tolist() == np.flatnonzero(chosen(np.arange(ROWS), 4)).tolist()


@pytest.mark.parametrize("at", [0, 1, ROWS_KEPT - 1, ROWS_KEPT, 12_345])
def test_a_restored_sample_goes_on_as_the_one_that_saved_it(at: int) -> None:
    """Through JSON, with NaN and with a column that some frames lack."""
    table = np.random.default_rng(1).normal(size=(2, ROWS))
    table[0, ::3] = np.nan
    running, restored = Sample(2), Sample(2)
    running.take([table[0], None if at % 2 else table[1]], np.arange(at))

    restored.restore(json.loads(json.dumps(running.saved())))
    for sample in (running, restored):
        sample.take(list(table), np.arange(at, ROWS))

    assert json.dumps(running.saved()) == json.dumps(restored.saved())
    assert np.array_equal(running.table([1, 0]), restored.table([1, 0]), equal_nan=True)


def test_a_column_that_is_not_there_is_nothing_a_missing_value_is_missing() -> None:
    """The one has fewer rows, the other NaN among them; side by side both are NaN."""
    sample = Sample(2)
    sample.take([np.array([1.0, np.nan]), None], np.arange(2))
    sample.take([np.array([3.0]), np.array([4.0])], np.arange(1))

    assert (len(sample.column(0)), sample.column(1).tolist()) == (3, [4.0])
    assert np.isnan(sample.table([0, 1])).tolist() == [[False, True], [True, True], [False, False]]


@pytest.mark.parametrize("period", [2, 3, 4, 7, 8, 16, 24, 32])
def test_sources_that_take_turns_are_all_seen(period: int) -> None:
    """No period of the stream is in step with the rows kept, as it would be with every 16th row."""
    at = np.arange(ROWS)
    detector = ChiSquare((np.arange(2_000) % period).astype(float))
    even, kept = at[::16] % period, at[chosen(at, 4)] % period

    assert detector.judge(kept).p_value > 0.001
    if period % 16 == 0 or 16 % period == 0:
        assert detector.judge(even).p_value < 1e-9, "the fault that the hash is for"


def test_p_values_of_kept_rows_are_valid() -> None:
    """Without a change at most a share u of them is at most u, as of all rows."""
    trials, at = 200, np.flatnonzero(chosen(np.arange(ROWS), 4))
    found = []
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        found.append(KolmogorovSmirnov(rng.normal(size=2_000)).judge(rng.normal(size=ROWS)[at]).p_value)

    for share in (0.5, 0.1, 0.05):
        assert np.mean(np.array(found) <= share) <= share + 4 * np.sqrt(share * (1 - share) / trials)
