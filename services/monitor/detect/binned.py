"""What the divergences of binned rows share: cells, and p-values by their chi-square limit."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from services.monitor.detect.tables import counted, edges_of, homogeneity
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind, effective_rows

HALF = 0.5  # rows added to each cell, so that an empty one has a logarithm


class Binned(Counted):
    """A divergence of the shares of rows in cells: ten of equal reference shares, or one for each of few values.

    ``_scale`` times ``n m / (n + m)`` times the divergence is chi-square in the limit, with one degree of freedom less
    than there are cells. The p-value is never below that of the likelihood ratio: see ``tables.homogeneity``.
    """

    kind: ClassVar[Kind] = "both"
    _scale: ClassVar[float]

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        self._level = level
        self._edges = edges_of(np.asarray(reference, float))
        self.reference = self.count(np.asarray(reference, float))

    @staticmethod
    @abstractmethod
    def _divergence(before: Floats, after: Floats) -> Floats:
        """Of shares that are all positive, along the last axis."""

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level, "cells": len(self._edges) + 1}

    def count(self, values: Floats) -> Ints:
        """Rows in each cell."""
        return counted(self._edges, values)

    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""
        rows = effective_rows(int(self.reference.sum()), counts.sum(axis=1))
        return homogeneity(self.reference, counts, self._scale * rows * self._statistics(counts), len(self._edges))

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        reference, window = int(self.reference.sum()), int(counts.sum())
        rows = effective_rows(reference, window)
        least = float(special.chdtri(max(len(self._edges), 1), self._level))
        return Comparison(
            statistic=float(self._statistics(counts[None])[0]),
            threshold=float(least / (self._scale * rows)) if rows else np.inf,
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=reference,
            window_rows=window,
        )

    def _statistics(self, counts: Ints) -> Floats:
        before = (self.reference + HALF) / (self.reference + HALF).sum()
        after = (counts + HALF) / (counts + HALF).sum(axis=1, keepdims=True)
        some = (counts.sum(axis=1) > 0) & (self.reference.sum() > 0)
        return np.where(some, self._divergence(before, after), 0.0)
