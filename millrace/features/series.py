"""One series of values, laid out for a run, and the features that look at it."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import (
    Difference,
    FeatureSpec,
    LabelLag,
    LabelMean,
    LabelShare,
    Lag,
    Ratio,
    RollingMean,
    RollingShare,
    Value,
)
from millrace.features.definitions import NAN

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]
Counts = NDArray[np.int32]

FEW_ROWS = 64  # up to here one accumulate over all windows is cheaper than an addition per place (measured)


class Scratch:
    """Arrays that every run uses again: fresh memory costs more than the work done in it (page faults; measured)."""

    def __init__(self) -> None:
        self.floats = [np.empty(0), np.empty(0)]
        self.counts = [np.zeros(1, np.int32), np.zeros(1, np.int32)]

    def make_room(self, cells: int) -> None:
        """At least so many cells in each array; the counts one more, a zero in front."""
        if cells > len(self.floats[0]):
            cells += cells // 4
            self.floats = [np.empty(cells), np.empty(cells)]
            self.counts = [np.zeros(cells + 1, np.int32), np.zeros(cells + 1, np.int32)]


class Series:
    """One series, laid out for a run, as its events see it.

    Parameters:
        flat: the kept and then the new values of each entity.
        newest: for each event the place of the newest value known to it.
        reach: how many places of the entity there are up to that one at the least. Where an entity has more values,
            no feature looks at them.
        scratch: arrays to work in.
    """

    def __init__(self, flat: Floats, newest: Ints, reach: int, scratch: Scratch) -> None:
        self._flat = flat
        self._newest = newest
        self._reach = reach
        self._scratch = scratch
        self._end = newest + 1
        self._sums: dict[int, Floats] = {}
        self._cumulated_present: Counts | None = None
        self._present: dict[int, Counts] = {}

    def count(self, mean_widths: Sequence[int]) -> None:
        """Prepare what means and shares need."""
        missing, values = np.isnan(self._flat), self._flat
        if missing.any():  # else, as is usual after a while, a window's length is its count
            self._cumulated_present = self._cumulate(~missing, 0)
            if mean_widths:
                values = self._scratch.floats[1][: len(self._flat)]
                np.copyto(values, self._flat)
                np.copyto(values, 0.0, where=missing)
        if mean_widths:
            self._sums = _sums(values, self._newest, mean_widths, self._reach)

    def ago(self, rows: int) -> Floats:
        """The value ``rows`` before the newest one."""
        if rows >= self._reach:
            return np.full(len(self._newest), NAN)
        return self._flat[self._newest - rows]

    def difference(self, rows: int) -> Floats:
        """The newest value minus the one ``rows`` before it."""
        return self.ago(0) - self.ago(rows)

    def ratio(self, rows: int) -> Floats:
        """The newest value over the one ``rows`` before it; NaN over zero."""
        value, by = self.ago(0), self.ago(rows)
        found: Floats = np.where(by == 0, NAN, value / by)
        return found

    def mean(self, rows: int) -> Floats:
        """Mean of the newest ``rows`` values, of these the present ones."""
        return self._sums[rows] / self._present_among(rows)

    def share(self, rows: int, test: Callable[[Floats], Mask]) -> Floats:
        """Share of those that pass the test, among the newest ``rows`` values, of these the present ones."""
        return self._among(self._cumulate(test(self._flat), 1), rows) / self._present_among(rows)

    def _present_among(self, rows: int) -> Counts | int:
        if self._cumulated_present is None:
            return min(rows, self._reach)
        found = self._present.get(rows)
        if found is None:
            found = self._present[rows] = self._among(self._cumulated_present, rows)
        return found

    def _among(self, cumulated: Counts, rows: int) -> Counts:
        return cumulated[self._end] - cumulated[self._end - min(rows, self._reach)]

    def _cumulate(self, mask: Mask, which: int) -> Counts:
        """How many are true before each place, and in all."""
        counts = self._scratch.counts[which][: len(mask) + 1]
        np.add.accumulate(mask, dtype=np.int32, out=counts[1:])
        return counts


def _sums(values: Floats, newest: Ints, widths: Sequence[int], reach: int) -> dict[int, Floats]:
    """For each width the sum of the newest values, added one by one from the newest to the oldest."""
    widest = min(widths[-1], reach)
    oldest = newest - (widest - 1)
    if len(oldest) <= FEW_ROWS:
        running = np.add.accumulate(windows(values, widest)[oldest, ::-1], axis=1)
        return {rows: running[:, min(rows, widest) - 1] + 0.0 for rows in widths}  # from -0.0 to 0.0
    sums, total, term = {}, np.zeros(len(oldest)), np.empty(len(oldest))
    for back in range(widest):
        values[widest - 1 - back :].take(oldest, out=term, mode="clip")  # none is out of range; "clip" skips a copy
        total += term
        if back + 1 in widths:
            sums[back + 1] = total.copy()
    return {rows: sums.get(rows, total) for rows in widths}


def windows(flat: Floats, width: int) -> Floats:
    """A view of all windows of a flat array; cheaper to make than numpy's sliding_window_view (measured)."""
    return np.ndarray((len(flat) - width + 1, width), np.float64, flat, 0, (8, 8))


def feature(spec: FeatureSpec) -> Callable[[Series], Floats]:
    """How a feature is read off its series; the same table as ``EntityFeatures`` has for one row."""
    match spec:
        case Value():
            read = partial(Series.ago, rows=0)
        case Lag(rows=rows):
            read = partial(Series.ago, rows=rows)
        case Difference(rows=rows):
            read = partial(Series.difference, rows=rows)
        case Ratio(rows=int(rows)):
            read = partial(Series.ratio, rows=rows)
        case RollingMean(rows=int(rows)) | LabelMean(rows=rows):
            read = partial(Series.mean, rows=rows)
        case RollingShare(rows=int(rows), above=above):
            read = partial(Series.share, rows=rows, test=partial(np.less, above))
        case LabelLag(rows=rows):
            read = partial(Series.ago, rows=rows - 1)
        case LabelShare(rows=rows, equals=equals):
            read = partial(Series.share, rows=rows, test=partial(np.equal, equals))
        case _:
            raise TypeError(f"{spec} is not read off a series")
    return read
