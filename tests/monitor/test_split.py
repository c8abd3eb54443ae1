"""The place of a change: the cut that explains most, found among the newest rows."""

import numpy as np
import pytest

from services.monitor.detect.split import HISTORY_ROWS, History


def brute(rows: np.ndarray[tuple[int], np.dtype[np.float64]], part_min: int) -> int:
    """The best cut by trying each."""

    def gain(at: int) -> float:
        return float(at * (len(rows) - at) / len(rows) * (rows[at:].mean() - rows[:at].mean()) ** 2)

    return max(range(part_min, len(rows) - part_min + 1), key=gain)


@pytest.mark.parametrize("seed", range(20))
def test_the_cut_is_the_best_of_all(seed: int) -> None:
    """The same cut as by trying each, on random numbers with a step somewhere."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=300) + (np.arange(300) > rng.integers(20, 280))
    history = History()
    history.extend(rows)

    change = history.split(5)

    assert brute(rows, 5) == change.before_rows
    assert change.before == pytest.approx(rows[: change.before_rows].mean())
    assert change.after == pytest.approx(rows[change.before_rows :].mean())


def test_rows_before_the_newest_ones_count_in_the_mean() -> None:
    """A history longer than what is searched still adds up: no row is left out of the evidence."""
    rows = np.random.default_rng(1).random(3 * HISTORY_ROWS)
    rows[-50:] += 5
    history = History()
    for row in rows.tolist():
        history.add(row)

    change = history.split(5)

    assert (len(rows) - 50, 50) == (change.before_rows, change.after_rows)
    assert change.before == pytest.approx(rows[:-50].mean())


def test_too_few_rows_have_no_cut() -> None:
    """Then everything is after, and nothing before."""
    history = History()
    history.extend([1.0] * 9)

    assert (0, 9) == (history.split(5).before_rows, history.split(5).after_rows)
