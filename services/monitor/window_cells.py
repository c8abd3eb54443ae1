"""The histograms that a person sees as evidence: at most 20 cells for reference and windows."""

from typing import Any

import numpy as np

from services.monitor.detect.tables import counted, values_of
from services.monitor.detect.window import Floats, Ints, finite

CELLS = 20
OUTER = 0.01  # share of the reference rows in each of the outermost cells


class Cells:
    """Cells of one subject, from its reference rows: its values where they are few, else equal widths.

    Numbers have cells of equal width between the ``OUTER`` quantiles; what lies beyond is in two more, whose far edges
    are as far as any row. Values have a cell each, and the last one is for all others; of 20 values it has the largest.
    """

    def __init__(self, reference: Floats) -> None:
        self._values = values_of(reference)
        known = finite(reference)
        if self._values is not None:
            self._values = self._values[: CELLS - 1]
        elif len(known):
            low, high = np.quantile(known, [OUTER, 1 - OUTER])
            self._inner = np.unique(np.linspace(low, high, CELLS - 1))
        else:
            self._inner = np.empty(0)
        self.reference = self.count(reference)
        self._ends = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)

    def count(self, values: Floats) -> Ints:
        """Rows in each cell."""
        if self._values is None:
            return counted(self._inner, values)
        known = finite(values)
        places = np.searchsorted(self._values, known)
        held = np.append(self._values, np.nan)[places] == known
        return np.bincount(np.where(held, places, len(self._values)), minlength=len(self._values) + 1)

    @property
    def categories(self) -> tuple[str, ...]:
        """What each cell stands for where the subject has few values; empty where it has edges."""
        return () if self._values is None else (*(f"{value:g}" for value in self._values), "other")

    def edges(self, low: float, high: float) -> tuple[float, ...]:
        """Edges of the cells, so that rows from ``low`` to ``high`` lie within; empty where there are categories."""
        if self._values is not None:
            return ()
        if not len(self._inner):
            return (low, high if high > low else low + 1.0)
        width = float(self._inner[-1] - self._inner[0]) / (CELLS - 2) or 1.0
        first = min(low, self._ends[0], float(self._inner[0]) - width)
        last = max(high, self._ends[1], float(self._inner[-1]) + width)
        return (first, *self._inner.tolist(), last)


def whole_numbers(counts: Any) -> tuple[int, ...]:
    """Counts as plain integers."""
    return tuple(int(count) for count in counts)
