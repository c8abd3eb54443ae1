"""Features over windows of rows or of event time, of all entities of a partition, a run of rows at a time.

Of each entity the newest rows are kept, with their times: as many as the longest window of rows needs, and as far back
as the longest span may still look (see ``feature_spec.py``). A run is laid out as for ``Memory``: per entity the kept
rows and then the new ones. As long as an entity's times do not fall, a window over time is a range of places, found by
halving, and all windows are aggregated at once. Where the times of an entity fall somewhere, the rows of each of its
windows are first copied out, one window after the other, which costs as much as they have rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import SPAN_ROWS_MAX, OfWindow
from millrace.features.aggregate import Ranges
from millrace.features.frames import Arrays, ragged
from millrace.features.run import Run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CELLS_MAX = 1 << 20  # rows of windows copied out at once
_TIME = 0  # the row of a block that holds the times; the fields follow


class Windows:
    """The kept rows. ``specs`` are the features over windows, each with its column."""

    def __init__(self, specs: Sequence[tuple[int, OfWindow]]) -> None:
        self._specs = specs
        self.fields = tuple(dict.fromkeys(spec.field for _, spec in specs))
        self._rows = max((spec.rows - 1 for _, spec in specs if spec.rows), default=0)
        self._span_ms = max((spec.span_s * 1000 for _, spec in specs if spec.span_s), default=0.0)
        self._kept: list[Floats] = []

    def advance(self, run: Run, times: Floats, newest: Floats, values: Mapping[str, Floats], columns: Floats) -> None:
        """Take in the events of a run, sorted as it is, and fill the columns of the features."""
        lane = run.events
        has = lane.after > lane.before
        codes, before = run.codes[has].tolist(), lane.before[has]
        if not codes:
            return
        nothing = np.empty((1 + len(self.fields), 0))
        self._kept += [nothing] * (max(codes) + 1 - len(self._kept))
        new = np.stack([times, *(values[field] for field in self.fields)])
        laid = _Laid([self._kept[code] for code in codes], new, before)
        widths = {(spec.rows, spec.span_s) for _, spec in self._specs}
        for rows, span_s in widths:
            specs = [one for one in self._specs if (one[1].rows, one[1].span_s) == (rows, span_s)]
            if rows is not None:
                self._fill(laid.newest_rows(rows), specs, columns)
            elif span_s is not None:
                after = np.maximum(times - span_s * 1000, newest - 2 * span_s * 1000)
                for view in laid.spans(after, times):
                    self._fill(view, specs, columns)
        self._keep(codes, laid, newest)

    def _fill(self, view: "_View", specs: Sequence[tuple[int, OfWindow]], columns: Floats) -> None:
        for place, field in enumerate(self.fields):
            of_field = [one for one in specs if one[1].field == field]
            if of_field:
                ranges = Ranges(view.flat[1 + place], view.first, view.last)
                for column, spec in of_field:
                    columns[column, view.events] = ranges.aggregate(spec)

    def _keep(self, codes: Sequence[int], laid: "_Laid", newest: Floats) -> None:
        """Keep what a later row may look at."""
        rows_max = max(self._rows, SPAN_ROWS_MAX - 1 if self._span_ms else 0)
        for code, start, stop, event in zip(codes, laid.starts, laid.stops, laid.last_events, strict=True):
            begin = stop - self._rows
            if self._span_ms:
                in_reach = laid.flat[_TIME, start:stop] > newest[event] - 2 * self._span_ms
                begin = min(begin, start + int(in_reach.argmax()) if in_reach.any() else stop)
            self._kept[code] = laid.flat[:, max(start, stop - rows_max, begin) : stop].copy()

    def forget(self, codes: Ints) -> None:
        """Free the rows of these entities."""
        nothing = np.empty((1 + len(self.fields), 0))
        for code in codes.tolist():
            if code < len(self._kept):
                self._kept[code] = nothing

    def parts(self, codes: Ints) -> Arrays:
        """What is to be saved of these entities."""
        nothing = np.empty((1 + len(self.fields), 0))
        kept = [self._kept[code] if code < len(self._kept) else nothing for code in codes.tolist()]
        lengths = np.array([block.shape[1] for block in kept], np.int64)
        return {"window_rows": lengths, "windows": np.concatenate([nothing, *kept], axis=1)}

    def put(self, arrays: Arrays) -> None:
        """Take what was saved, for the codes from 0 on."""
        self._kept = [block.copy() for block in ragged(arrays["windows"], arrays["window_rows"])]


@dataclass(frozen=True, slots=True)
class _View:
    """The windows of some events: each from its ``first`` to its ``last`` place in ``flat``."""

    events: Ints | slice
    flat: Floats
    first: Ints
    last: Ints


class _Laid:
    """Blocks of kept and new rows, one entity after the other, in ``flat``.

    For each entity ``starts`` and ``stops``, and ``last_events``, the number of its last event.
    """

    def __init__(self, kept: Sequence[Floats], new: Floats, before: Ints) -> None:
        events = new.shape[1]
        borders = [*before.tolist(), events]
        pieces: list[Floats] = []
        for number, block in enumerate(kept):
            pieces += [block, new[:, borders[number] : borders[number + 1]]]
        self.flat: Floats = np.concatenate(pieces, axis=1)
        counts = np.diff(np.array(borders))
        lengths = np.array([block.shape[1] for block in kept])
        stops = np.cumsum(lengths + counts)
        starts = stops - lengths - counts
        self.starts, self.stops = starts.tolist(), stops.tolist()
        self.last_events = (before + counts - 1).tolist()
        self._start: Ints = np.repeat(starts, counts)  # of each event that of its block, and its own place
        self._last: Ints = np.arange(events) + np.repeat(starts + lengths - before, counts)
        times = self.flat[_TIME]
        fall = np.zeros(len(times) + 1, np.bool_)
        np.less(times[1:], times[:-1], out=fall[1:-1])
        fall[starts] = False
        falls = np.logical_or.reduceat(fall[:-1], starts)
        self._falls = np.repeat(falls, counts)
        self._highest = times.copy() if falls.any() else times  # at each place the highest time up to it
        for number in np.flatnonzero(falls).tolist():
            part = self._highest[self.starts[number] : self.stops[number]]
            np.maximum.accumulate(part, out=part)

    def newest_rows(self, rows: int) -> _View:
        """The newest rows of each event."""
        return _View(slice(None), self.flat, np.maximum(self._start, self._last - rows + 1), self._last)

    def spans(self, after: Floats, until: Floats) -> Iterator[_View]:
        """For each event the rows seen so far whose time is later than ``after`` and not later than ``until``."""
        first, last = self._first_after(after), self._last
        yield _View(slice(None), self.flat, np.where(self._falls, last + 1, first), last)
        late = np.flatnonzero(self._falls)
        if not len(late):
            return
        groups = np.cumsum(last[late] + 1 - first[late]) // CELLS_MAX
        for events in np.split(late, np.flatnonzero(np.diff(groups)) + 1):
            lengths = last[events] + 1 - first[events]
            ends = np.cumsum(lengths)
            places = np.repeat(first[events] - (ends - lengths), lengths) + np.arange(ends[-1])
            times = self.flat[_TIME][places]
            inside = (times > np.repeat(after[events], lengths)) & (times <= np.repeat(until[events], lengths))
            counted = np.zeros(len(inside) + 1, np.int64)
            np.cumsum(inside, out=counted[1:])
            yield _View(events, self.flat[:, places[inside]], counted[ends - lengths], counted[ends] - 1)

    def _first_after(self, after: Floats) -> Ints:
        """For each event the first place of its block from which on there may be a later time."""
        low, high = np.maximum(self._start, self._last + 1 - SPAN_ROWS_MAX), self._last + 1
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            right = (low < high) & (self._highest[np.minimum(middle, self._last)] <= after)
            low, high = np.where(right, middle + 1, low), np.where(right, high, middle)
        return low
