"""Whether a correlation that was learned still holds."""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROWS_MIN = 100  # as in millrace/expectations/learn.py
WORTH_TELLING = 0.3  # a change by less than that is seldom seen in a scatter plot
NORMAL_QUANTILE = 3.719  # of a chance of 1 in 10,000, as in psi.py
ALMOST_ONE = 1 - 1e-9


def pearson(first: Floats, second: Floats) -> tuple[float, int] | None:
    """The correlation over the rows that have both, and how many these are; None where it cannot be told.

    >>> x = np.arange(200.0)
    >>> value, rows = pearson(x, -x)
    >>> round(value, 6), rows
    (-1.0, 200)
    """
    both = np.isfinite(first) & np.isfinite(second)
    rows = int(both.sum())
    if rows < ROWS_MIN:
        return None
    with np.errstate(all="ignore"):  # constants, and numbers near the largest float
        value = float(np.corrcoef(first[both], second[both])[0, 1])
    return (max(-1.0, min(1.0, value)), rows) if math.isfinite(value) else None


def broke(learned: float, learned_rows: int, seen: float, rows: int) -> bool:
    """Whether the two correlations differ by more than chance, and by enough to be worth telling.

    Fisher's transformation makes a correlation nearly normal, with a standard error of 1 / sqrt(rows - 3). Assumes
    rows that are independent of one another.

    >>> broke(0.8, 1000, 0.1, 500), broke(0.8, 1000, 0.75, 500)
    (True, False)

    References:
        R. A. Fisher: On the "Probable Error" of a Coefficient of Correlation Deduced from a Small Sample. Metron 1,
        1921, pp. 3-32.
    """
    if abs(learned - seen) < WORTH_TELLING or min(learned_rows, rows) <= 3:
        return False
    gap = abs(_z(learned) - _z(seen))
    return gap > NORMAL_QUANTILE * math.sqrt(1 / (learned_rows - 3) + 1 / (rows - 3))


def _z(correlation: float) -> float:
    return math.atanh(max(-ALMOST_ONE, min(ALMOST_ONE, correlation)))
