"""The Wasserstein distance between two samples of numbers: how far the values moved, in the values' own unit."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ROUNDING = 1e-12
"""A spread below this share of the values comes from rounding: what is computed from a constant is one."""


def distance(values: Floats, reference: Floats) -> float:
    """The area between the two empirical distribution functions: how far a row has to be carried on average.

    A shift of all values by d has the distance d, which neither the stability index nor Jensen and Shannon's distance
    can tell: they see that bins changed, not how far away the new ones are.

    Parameters:
        values: finite numbers now, at least one, in any order.
        reference: those that they are compared with, at least one.

    >>> distance(np.array([1.0, 2.0]), np.array([4.0, 5.0]))
    3.0

    References:
        L. N. Vaserstein: Markov Processes over Denumerable Products of Spaces. Problems of Information Transmission
        5(3), 1969, pp. 47-52.
        S. S. Vallender: Calculation of the Wasserstein Distance between Probability Distributions on the Line. Theory
        of Probability and its Applications 18, 1974, pp. 784-786.
    """
    ours, theirs = np.sort(values), np.sort(reference)
    everything = np.sort(np.concatenate([ours, theirs]))
    below = np.searchsorted(ours, everything[:-1], side="right") / len(ours)
    other = np.searchsorted(theirs, everything[:-1], side="right") / len(theirs)
    with np.errstate(over="ignore"):  # numbers near the largest float: the distance is then infinite
        return float((np.abs(below - other) * np.diff(everything)).sum())


def in_spreads(values: Floats, reference: Floats) -> float | None:
    """The distance in standard deviations of the reference; None where it is as good as constant, or beyond floats.

    >>> round(in_spreads(np.array([2.0, 4.0]), np.array([1.0, 3.0])), 2)
    1.0
    """
    with np.errstate(over="ignore", invalid="ignore"):
        spread = float(reference.std())
    if not np.isfinite(spread) or spread <= ROUNDING * float(np.abs(reference).max()):
        return None
    scaled = distance(values, reference) / spread
    return scaled if np.isfinite(scaled) else None
