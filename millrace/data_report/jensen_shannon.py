"""The Jensen-Shannon distance between two sets of shares."""

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]


def distance(counts: Counts, reference: Counts) -> float:
    """The square root of the Jensen-Shannon divergence in bits: 0 for equal shares, 1 for shares that never meet.

    The divergence is the mean of the two relative entropies to the middle of both; its root is a metric. Unlike the
    stability index it is bounded and needs no smoothing, so fields can be compared with one another. 0 if either side
    has no rows: nothing is known then.

    Parameters:
        counts: rows in each bin now.
        reference: rows in each bin of what it is compared with.

    >>> distance(np.array([5, 0]), np.array([0, 3])), distance(np.array([2, 4]), np.array([1, 2]))
    (1.0, 0.0)

    References:
        J. Lin: Divergence Measures Based on the Shannon Entropy. IEEE Transactions on Information Theory 37, 1991,
        pp. 145-151.
        D. M. Endres, J. E. Schindelin: A New Metric for Probability Distributions. IEEE Transactions on Information
        Theory 49, 2003, pp. 1858-1860.
    """
    if not counts.sum() or not reference.sum():
        return 0.0
    p, q = counts / counts.sum(), reference / reference.sum()
    middle = (p + q) / 2
    divergence = (_entropy(p, middle) + _entropy(q, middle)) / 2
    return float(np.sqrt(np.clip(divergence, 0, 1)))


def _entropy(shares: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Relative to the other shares, in bits; what has no share adds nothing."""
    used = shares > 0
    return float((shares[used] * np.log2(shares[used] / other[used])).sum())
