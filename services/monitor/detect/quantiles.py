"""What the distances of two distribution functions share: where they are looked at, and p-values by their limit."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.tables import counted
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind, effective_rows, finite

POINTS = 128  # a shift is underestimated by at most 1/128 there, and a window is remembered in 1 kB


class OfQuantiles(Counted):
    """A distance of the distribution functions of reference and window, looked at where the reference has quantiles.

    ``sqrt(n m / (n + m))`` times the distance has a limit, which gives the p-value.
    """

    kind: ClassVar[Kind] = "numbers"
    _most: ClassVar[float]  # that the distance can be

    def __init__(self, reference: npt.NDArray[Any], shares: Floats, level: float = LEVEL) -> None:
        self._level = level
        known = finite(reference)
        self._edges = np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else np.empty(0)
        self.reference = self.count(known)

    @abstractmethod
    def _distance(self, apart: Floats) -> Floats:
        """From the differences of the functions at the quantiles, a line for each window."""

    @abstractmethod
    def _survival(self, scaled: Floats) -> Floats:
        """How likely the limit is as large as that without a change, or larger."""

    @abstractmethod
    def _scaled_threshold(self) -> float:
        """Where that is ``level``."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level}

    def count(self, values: Floats) -> Ints:
        """Rows between neighbouring quantiles of the reference."""
        return counted(self._edges, values)

    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""
        rows = effective_rows(int(self.reference.sum()), counts.sum(axis=1))
        return self._survival(np.sqrt(rows) * self._distances(counts))

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        reference, window = int(self.reference.sum()), int(counts.sum())
        rows = effective_rows(reference, window)
        return Comparison(
            statistic=float(self._distances(counts[None])[0]),
            threshold=min(self._scaled_threshold() / math.sqrt(rows), self._most) if rows else self._most,
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=reference,
            window_rows=window,
        )

    def _distances(self, counts: Ints) -> Floats:
        rows = counts.sum(axis=1, keepdims=True)
        before = self.reference.cumsum() / max(self.reference.sum(), 1)
        distances = self._distance(counts.cumsum(axis=1) / np.maximum(rows, 1) - before)
        return np.where((rows[:, 0] > 0) & (self.reference.sum() > 0), distances, 0.0)
