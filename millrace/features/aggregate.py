"""Aggregates of many windows of one array at once, each from its first to its last place.

Counts are differences of cumulative counts. A least value is the lesser of two overlapping halves whose lengths are a
power of two (Bender and Farach-Colton, "The LCA problem revisited", LATIN 2000). What is summed is added from the last
place to the first, one place at a time, over all windows that reach that far; see ``online.py`` for why. The few
windows that reach furthest are finished one by one.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import (
    OfWindow,
    RollingCount,
    RollingMax,
    RollingMean,
    RollingMin,
    RollingShare,
    RollingStd,
)
from millrace.features.definitions import NAN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FEW_WINDOWS = 8  # from here on a call for each window is cheaper than one for each place


class Ranges:
    """Windows of ``values``: those from ``first`` to ``last``, both included; empty where last is before first."""

    def __init__(self, values: Floats, first: Ints, last: Ints) -> None:
        self._values = values
        self._missing = np.isnan(values)
        self._last = last
        self._first = np.minimum(first, last + 1)
        self._lengths = last + 1 - self._first
        self._count: Ints | None = None
        self._mean: Floats | None = None

    def aggregate(self, spec: OfWindow) -> Floats:
        """What the feature is in each window."""
        match spec:
            case RollingMean():
                return self.mean()
            case RollingStd():
                return self.std()
            case RollingMin():
                return self._extreme(np.fmin)
            case RollingMax():
                return self._extreme(np.fmax)
            case RollingShare(above=above):
                return self._true(self._values > above) / self.count()
            case RollingCount():
                return self.count().astype(np.float64)

    def count(self) -> Ints:
        """How many values are present."""
        if self._count is None:
            self._count = self._true(~self._missing)
        return self._count

    def mean(self) -> Floats:
        """Mean of the present values; NaN if there are none."""
        if self._mean is None:
            plain = np.where(self._missing, 0.0, self._values)
            self._mean = self._sum(lambda places, _: plain[places]) / self.count()
        return self._mean

    def std(self) -> Floats:
        """Standard deviation of the present values, around their mean."""
        mean = self.mean()

        def squares(places: Ints | slice, windows: Ints | int) -> Floats:
            away = self._values[places] - mean[windows]
            away *= away
            away[self._missing[places]] = 0.0
            return away

        found: Floats = np.sqrt(self._sum(squares) / self.count())
        return found

    def _true(self, mask: Mask) -> Ints:
        until = np.zeros(len(mask) + 1, np.int64)
        np.cumsum(mask, out=until[1:])
        found: Ints = until[self._last + 1] - until[self._first]
        return found

    def _sum(self, terms: Callable[[Ints | slice, Ints | int], Floats]) -> Floats:
        """Sum of the terms of each window from its last place to its first; ``terms(places, windows)`` gives them."""
        longest_first = np.argsort(-self._lengths, kind="stable")
        last, totals = self._last[longest_first], np.zeros(len(self._last))
        # of each number of places how many windows have at least so many
        reach = np.cumsum(np.bincount(self._lengths, minlength=1)[::-1])[::-1]
        for back in range(len(reach) - 1):
            windows = int(reach[back + 1])
            if windows <= FEW_WINDOWS:
                for place in range(windows):
                    window = int(longest_first[place])
                    new = terms(slice(int(self._first[window]), int(last[place]) - back + 1), window)[::-1]
                    totals[place] = np.add.accumulate(np.concatenate((totals[place : place + 1], new)))[-1]
                break
            totals[:windows] += terms(last[:windows] - back, longest_first[:windows])
        found = np.empty_like(totals)
        found[longest_first] = totals
        return found

    def _extreme(self, lesser: Callable[[Floats, Floats], Floats]) -> Floats:
        """The least or greatest value."""
        found = np.full(len(self._last), NAN)
        level = self._values
        power = np.frexp(np.maximum(self._lengths, 1))[1] - 1  # of the greatest power of two that fits
        for exponent in range(int(power.max(initial=-1)) + 1):
            if exponent:
                half = 1 << (exponent - 1)
                level = lesser(level[half:], level[:-half])  # at each place: of so many places from here on
            at = np.flatnonzero((power == exponent) & (self._lengths > 0))
            found[at] = lesser(level[self._first[at]], level[self._last[at] + 1 - (1 << exponent)])
        return found + 0.0
