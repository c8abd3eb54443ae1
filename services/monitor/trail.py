"""The newest rows of a stream: what dates a change, and gives the rows before and after it."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.monitor.detect import Change
from services.monitor.frames import Floats, Ints

Only = tuple[str, int]  # rows that have this number in this column


class Trail:
    """The newest rows, with their event times and samples offsets.

    What it answers about a row depends on the ``size`` rows up to it only, not on how rows came in.

    Args:
        size: rows that are kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self.clear()

    def clear(self) -> None:
        """Begin anew."""
        self._extra = 0  # rows at the end that came with the newest ``extend``
        self._offsets: Ints = np.empty(0, np.int64)
        self._times: Ints = np.empty(0, np.int64)
        self._columns: dict[str, Floats] = {}

    def extend(self, offsets: Ints, times_ms: Ints, columns: Mapping[str, Floats]) -> int:
        """Take the next rows. Returns how many stand before them.

        Rows of a column that was not there before, or is no longer, are NaN.
        """
        keep = slice(max(0, len(self._offsets) - self._size), None)
        known, self._extra = len(self._offsets[keep]), len(offsets)
        self._offsets = np.concatenate([self._offsets[keep], offsets])
        self._times = np.concatenate([self._times[keep], times_ms])
        names = dict.fromkeys([*self._columns, *columns])
        old, new = np.full(known, np.nan), np.full(len(offsets), np.nan)
        self._columns = {
            name: np.concatenate([self._columns[name][keep] if name in self._columns else old, columns.get(name, new)])
            for name in names
        }
        return known

    def windows(self, ends: Ints, rows: int) -> tuple[Ints, Ints, dict[str, Floats]]:
        """Offsets, event times and columns of windows with so many rows, as (windows, rows).

        ``ends`` are counted from the first row that is kept, as ``extend`` counts.
        """
        at = ends[:, np.newaxis] + np.arange(-rows, 0)
        return self._offsets[at], self._times[at], {name: column[at] for name, column in self._columns.items()}

    def times_ms(self, place: int) -> Ints:
        """Event times of the newest rows up to the one at ``place`` among those that came last."""
        return self._times[self._until(place)]

    def newest(self, place: int, rows: int) -> dict[str, Floats]:
        """The columns of the newest ``rows`` rows up to ``place``."""
        return {name: column[self._until(place)][-rows:] for name, column in self._columns.items()}

    def parts(self, place: int, name: str, change: Change, only: Only | None = None) -> tuple[Floats, Floats]:
        """The numbers of the column before the cut and after it, as far as they are kept."""
        numbers = self._columns[name][self._until(place)][self._counted(place, name, only)]
        after = numbers[max(0, len(numbers) - change.after_rows) :]
        before = numbers[: len(numbers) - len(after)]
        return before[max(0, len(before) - change.before_rows) :], after

    def since(self, place: int, name: str, rows: int, only: Only | None = None) -> tuple[int, int]:
        """Event time and offset of the first of the newest ``rows`` numbers; of the oldest if so many are not kept."""
        until, counted = self._until(place), self._counted(place, name, only)
        first = int(counted[max(0, len(counted) - rows)])
        return int(self._times[until][first]), int(self._offsets[until][first])

    def _counted(self, place: int, name: str, only: Only | None) -> Ints:
        """Which of the rows up to ``place`` have a number, and are in the part."""
        until = self._until(place)
        there = np.isfinite(self._columns[name][until])
        return np.flatnonzero(there if only is None else there & (self._columns[only[0]][until] == only[1]))

    def _until(self, place: int) -> slice:
        end = len(self._offsets) - self._extra + place + 1
        return slice(max(0, end - self._size), end)

    def saved(self) -> dict[str, Any]:
        """The rows that are kept."""
        keep = slice(max(0, len(self._offsets) - self._size), None)
        columns = {name: packed(column[keep]) for name, column in self._columns.items()}
        return {"offsets": packed(self._offsets[keep]), "times": packed(self._times[keep]), "columns": columns}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._extra = 0
        self._offsets, self._times = unpacked(saved["offsets"]), unpacked(saved["times"])
        self._columns = {name: unpacked(column) for name, column in saved["columns"].items()}


def packed(array: npt.NDArray[Any]) -> list[Any]:
    """An array as plain data, to the last bit.

    >>> unpacked(packed(np.array([[0.5], [float("nan")]]))).tolist()
    [[0.5], [nan]]
    """
    return [array.dtype.str, list(array.shape), base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()]


def unpacked(saved: Sequence[Any]) -> npt.NDArray[Any]:
    """The array, which may be written to."""
    kind, shape, content = saved
    return np.frombuffer(base64.b64decode(content), np.dtype(kind)).reshape(shape).copy()
