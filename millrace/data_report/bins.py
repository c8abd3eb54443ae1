"""Bins in which two samples of numbers are counted for their comparison. Pure.

The bins are made from the reference alone, so that the same reference is cut the same way in every report.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
BINS = 10  # deciles: what PSI's customary limits were found with
DISTINCT_MAX = 20  # a number with no more different values than that is compared value by value


def edges_of(reference: Floats, bins: int = BINS) -> Floats:
    """The upper edges of all bins but the last, which has none; a bin includes its upper edge.

    Continuous numbers are cut at the quantiles of the reference, so that each bin has the same share of it. Numbers
    with few different values get one bin for each of them, and bins between for what was never seen. So a constant is
    told apart from everything else.

    Parameters:
        reference: finite numbers, in any order, at least one.
        bins: how many bins continuous numbers get; fewer where quantiles coincide.

    >>> edges_of(np.arange(100.0), bins=4)
    array([24., 49., 74.])
    >>> counts(np.array([5.0, 5.0, 7.0]), edges_of(np.array([5.0, 5.0])))  # below, equal, above
    array([0, 2, 1])
    """
    distinct = np.unique(reference)
    if len(distinct) <= DISTINCT_MAX:
        return np.unique(np.concatenate([np.nextafter(distinct, -np.inf), distinct]))
    levels = np.arange(1, bins) / bins
    return np.unique(np.quantile(reference, levels, method="inverted_cdf"))


def counts(values: Floats, edges: Floats) -> NDArray[np.int64]:
    """How many of the finite numbers are in each bin; one bin more than there are edges."""
    return np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
