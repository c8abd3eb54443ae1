"""Which rows of many are looked at: a sample that follows from the places of the rows alone. Pure.

A row is in the sample if a hash of its partition and offset is small enough. So a report of the same snapshot is the
same however its rows were read, in chunks or at once, from the log or from the lake; and no row is more likely than
another, whatever rhythm the stream has. Counts of rows, of missing values, of flags and of texts are not sampled.
"""

import numpy as np
from numpy.typing import NDArray

ROWS_MAX = 50_000
"""Rows of a window of which numbers are kept: 50 columns are 20 MB, and a share is off by at most 0.6 points (99 %)."""
SEED = 0x6D696C6C72616365
_WHOLE = float(2**64)


def rate_of(offsets: int, most: int = ROWS_MAX) -> float:
    """The share of rows to be taken of a window that spans so many offsets; there are no more rows than offsets."""
    return min(1.0, most / max(offsets, 1))


def chosen(partition: int, offsets: NDArray[np.int64], rate: float) -> NDArray[np.bool_]:
    """Which of the rows at these offsets are in the sample.

    The hash is the finaliser of SplitMix64.

    >>> int(chosen(0, np.arange(100_000), 0.1).sum())
    10090

    References:
        G. L. Steele, D. Lea, C. H. Flood: Fast Splittable Pseudorandom Number Generators. OOPSLA, 2014, pp. 453-472.
    """
    if rate >= 1:
        return np.ones(len(offsets), np.bool_)
    with np.errstate(over="ignore"):
        z = offsets.astype(np.uint64) + np.uint64(SEED) + np.uint64(partition) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return z < np.uint64(int(rate * _WHOLE))
