"""The population stability index: how far the shares of some bins moved."""

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
MOVED, MOVED_FAR = 0.1, 0.25
"""The customary limits (Lewis; Siddiqi): below the first nothing worth a look, from the second on act."""
SMOOTHING = 0.5
"""Rows added to each bin. An empty bin would make the index infinite; half a row is Jeffreys' prior."""
NORMAL_QUANTILE = 3.719
"""Of a chance of 1 in 10,000. A report makes hundreds of comparisons, and should not cry wolf in one of a hundred."""


def psi(counts: Counts, reference: Counts) -> float:
    """The sum over the bins of (p - q) ln(p / q), with p the shares now and q those of the reference.

    It is symmetric, 0 for equal shares, and has no upper bound. Bins that are empty in both are left out. The customary
    limits were found with ten bins of equal shares of the reference (``bins.py``).

    Parameters:
        counts: rows in each bin now.
        reference: rows in each bin of what it is compared with.

    >>> round(psi(np.array([300, 700]), np.array([500, 500])), 3)
    0.169

    References:
        E. M. Lewis: An Introduction to Credit Scoring. Fair, Isaac and Co., 1994.
        N. Siddiqi: Credit Risk Scorecards. Wiley, 2006, pp. 136-139.
        The symmetrised divergence itself: H. Jeffreys: An Invariant Form for the Prior Probability in Estimation
        Problems. Proceedings of the Royal Society A 186, 1946, pp. 453-461.
    """
    used = (counts > 0) | (reference > 0)
    now, then = counts[used] + SMOOTHING, reference[used] + SMOOTHING
    p, q = now / now.sum(), then / then.sum()
    return float(((p - q) * np.log(p / q)).sum())


def noise(counts: Counts, reference: Counts) -> float:
    """What the index does not exceed, but for one time in 10,000, if nothing moved and rows are independent.

    Then it is distributed as (1/n + 1/m) times chi-square with one degree of freedom less than there are bins; the
    quantile of chi-square is Wilson and Hilferty's. With few rows this is above the customary limits, which say nothing
    about the number of rows; so a report calls moved what exceeds both. Rows that depend on one another, as those of a
    time series do, move further than this by chance.

    >>> few, many = np.array([10] * 10), np.array([1000] * 10)
    >>> round(noise(few, few), 2), round(noise(many, many), 4)
    (0.68, 0.0068)

    References:
        B. Yurdakul, J. Naranjo: Statistical Properties of the Population Stability Index. Journal of Risk Model
        Validation 14(4), 2020, pp. 89-100.
        E. B. Wilson, M. M. Hilferty: The Distribution of Chi-square. Proceedings of the National Academy of Sciences
        17, 1931, pp. 684-688.
    """
    free = int(((counts > 0) | (reference > 0)).sum()) - 1
    n, m = int(counts.sum()), int(reference.sum())
    if free < 1 or not n or not m:
        return 0.0
    spread = 2 / (9 * free)
    quantile = free * (1 - spread + NORMAL_QUANTILE * math.sqrt(spread)) ** 3
    return quantile * (1 / n + 1 / m)
