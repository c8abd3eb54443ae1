"""The rows of a window that are kept for its end: all of a short one, of a long one rows that are spread over it.

A busy stream so pays for a window at its end, not for each row. The rows kept are chosen by their number in the window
alone, never by what they hold: of a stream that did not change they are rows of the same distribution, independent of
each other where all rows are, and the p-values that are computed from them are valid as they are, for as many rows as
are kept. What is lost is power: a change so small that only all rows of the window would show it waits for a pool.

Of the rows of each block of ``2 ** level`` in a row, one is kept. When there is no room for more, ``level`` grows by
one and of each two neighbours kept, one goes. Which one a hash of the block's number says: if it were always the first,
a stream whose sources take turns would be seen as one of its sources. The rows kept depend on no cutting into frames.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.monitor.frames import Floats, Ints
from services.monitor.trail import packed, unpacked

ROWS_KEPT = (
    4_096  # at most, after it was full at least half; a profile has 2,000: more rows here would tell little more
)
_ODD = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)  # of SplitMix64


class Sample:
    """The rows kept of the open window.

    Args:
        width: number of columns.
    """

    def __init__(self, width: int) -> None:
        self._table = np.empty((width, ROWS_KEPT))
        self._given = np.empty((width, ROWS_KEPT), bool)
        self.begin()

    def begin(self) -> None:
        """Another window begins."""
        self._number = self._level = self._rows = 0

    def take(self, columns: Sequence[Floats | None], rows: Ints) -> None:
        """Take the next rows of the window, by their places in the columns. None is a column that is not there."""
        while len(rows):
            numbers = np.arange(self._number, self._number + len(rows))
            places = np.flatnonzero(chosen(numbers, self._level))[: ROWS_KEPT - self._rows]
            full = self._rows + len(places) == ROWS_KEPT
            end = int(places[-1]) + 1 if full else len(rows)
            self._keep(columns, rows[places])
            self._number += end
            rows = rows[end:]
            if full:
                self._thin()

    def column(self, place: int) -> Floats:
        """The kept rows of one column, without those of frames that had no such column."""
        kept: Floats = self._table[place, : self._rows][self._given[place, : self._rows]]
        return kept

    def table(self, places: Sequence[int]) -> Floats:
        """The kept rows with these columns; NaN where a frame had no such column."""
        held = np.where(self._given[places, : self._rows], self._table[places, : self._rows], np.nan)
        return np.ascontiguousarray(held.T)

    def saved(self) -> dict[str, Any]:
        """The rows kept, as plain data."""
        given = np.packbits(self._given[:, : self._rows], axis=1)
        kept = {"table": packed(self._table[:, : self._rows]), "given": packed(given)}
        return {"number": self._number, "level": self._level, "rows": self._rows, **kept}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._number, self._level, self._rows = int(saved["number"]), int(saved["level"]), int(saved["rows"])
        self._table[:, : self._rows] = unpacked(saved["table"])
        self._given[:, : self._rows] = np.unpackbits(unpacked(saved["given"]), axis=1, count=self._rows)

    def _keep(self, columns: Sequence[Floats | None], rows: Ints) -> None:
        new = slice(self._rows, self._rows + len(rows))
        for place, column in enumerate(columns):
            self._given[place, new] = column is not None
            if column is not None:
                self._table[place, new] = column[rows]
        self._rows += len(rows)

    def _thin(self) -> None:
        """Keep one of each two."""
        self._level += 1
        self._rows //= 2
        blocks = np.arange(self._rows)
        kept = 2 * blocks + _second(blocks, self._level)
        self._table[:, : self._rows] = self._table[:, kept]
        self._given[:, : self._rows] = self._given[:, kept]


def chosen(numbers: Ints, level: int) -> npt.NDArray[np.bool_]:
    """Which of the rows with these numbers are kept, one of each ``2 ** level``.

    >>> [np.flatnonzero(chosen(np.arange(16), level)).tolist() for level in (1, 2, 3)]
    [[1, 2, 5, 6, 9, 10, 13, 14], [1, 5, 10, 14], [1, 10]]
    """
    kept = np.ones(len(numbers), bool)
    for step in range(1, level + 1):
        kept &= (numbers >> (step - 1)) & 1 == _second(numbers >> step, step)
    return kept


def _second(blocks: Ints, level: int) -> Ints:
    """For each block whether the second half of it has the row that is kept: a bit of SplitMix64."""
    first, second, third = (np.uint64(odd) for odd in _ODD)
    mixed = (blocks.astype(np.uint64) * np.uint64(64) + np.uint64(level)) * first
    mixed = (mixed ^ (mixed >> np.uint64(30))) * second
    mixed = (mixed ^ (mixed >> np.uint64(27))) * third
    bits: Ints = (mixed >> np.uint64(63)).astype(np.int64)
    return bits
