"""Where a change happened: what a detector's evidence is computed from."""

from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from services.monitor.detect.base import Change

HISTORY_ROWS = 10_000  # places where the change is looked for: the newest rows; 80 to 160 kB a detector


class History:
    """The rows since a detector began anew: their number, their sum, and the newest of them.

    A detector says *that* the mean has changed, and late. :meth:`split` says *where*: it cuts the rows in two so that
    ``n0 * n1 / (n0 + n1) * (mean1 - mean0)**2`` is greatest, which is the most likely place of a single step under
    noise of equal variance. No other cut explains more of the rows' scatter.

    References:
        D. V. Hinkley: Inference about the Change-Point in a Sequence of Random Variables. Biometrika 57 (1), 1970.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.total = 0.0
        self._newest = array("d")

    @property
    def mean(self) -> float:
        """Mean of all rows; 0 if there are none."""
        return self.total / self.rows if self.rows else 0.0

    def add(self, value: float) -> None:
        """Take one row."""
        self.rows += 1
        self.total += value
        self._newest.append(value)
        self._trim()

    def extend(self, values: Iterable[float]) -> None:
        """Take many rows. Added from left to right like one by one: the same sum, to the last bit."""
        numbers = np.fromiter(values, np.float64)
        self.rows += len(numbers)
        self.total = float(np.add.accumulate(np.concatenate(([self.total], numbers)))[-1])
        self._newest.frombytes(numbers.tobytes())
        self._trim()

    def saved(self) -> dict[str, Any]:
        """Number, sum and the newest rows, as plain data."""
        return {"rows": self.rows, "total": self.total, "newest": self._newest[-HISTORY_ROWS:].tolist()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self.rows, self.total = int(saved["rows"]), float(saved["total"])
        self._newest = array("d", saved["newest"])

    def split(self, part_min: int) -> Change:
        """The best cut with at least ``part_min`` rows on each side, and not more than ``HISTORY_ROWS`` on the later.

        >>> history = History()
        >>> history.extend([0.0] * 50 + [1.0] * 10)
        >>> history.split(5) == Change(before=0.0, after=1.0, before_rows=50, after_rows=10)
        True
        """
        newest = np.array(self._newest[-HISTORY_ROWS:])
        after_rows = np.arange(len(newest), 0, -1)
        after_total = np.add.accumulate(newest[::-1])[::-1]
        before_rows = self.rows - after_rows
        allowed = np.flatnonzero((before_rows >= part_min) & (after_rows >= part_min))
        if not len(allowed):
            return Change(self.mean, self.mean, 0, self.rows)
        n0, n1, total1 = before_rows[allowed], after_rows[allowed], after_total[allowed]
        step = total1 / n1 - (self.total - total1) / n0
        best = int(np.argmax(n0 * n1 / self.rows * step**2))
        after = float(total1[best])
        return Change((self.total - after) / int(n0[best]), after / int(n1[best]), int(n0[best]), int(n1[best]))

    def _trim(self) -> None:
        """Drop what ``split`` never looks at, seldom enough to cost nothing."""
        if len(self._newest) > 2 * HISTORY_ROWS:
            del self._newest[:-HISTORY_ROWS]
