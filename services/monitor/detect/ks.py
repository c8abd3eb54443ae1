"""Kolmogorov-Smirnov: the greatest distance of two distribution functions."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from services.monitor.detect.tables import counted
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind, effective_rows, finite

POINTS = 128  # a shift is underestimated by at most 1/128 there, and a window is remembered in 1 kB


class KolmogorovSmirnov(Counted):
    """The two-sample Kolmogorov-Smirnov test, for numbers.

    The statistic is the greatest difference of the two empirical distribution functions, 0 to 1, over ``POINTS``
    quantiles of the reference (over all its values if it has fewer). It sees any change of a distribution, best those
    near the middle, worst those far out.

    The p-value is that of Kolmogorov's limit for ``n m / (n + m)`` rows. It assumes independent rows of any continuous
    distribution. With ties, few rows or few points it is too large, never too small.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> found = KolmogorovSmirnov(rng.normal(size=2000)).judge(rng.normal(0.3, size=500))
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.155, 0.097, 9e-09)

    References:
        N. Smirnov: Table for Estimating the Goodness of Fit of Empirical Distributions. Annals of Mathematical
        Statistics 19 (2), 1948, pp. 279-281.
        F. Wei, R. M. Dudley: Two-sample Dvoretzky-Kiefer-Wolfowitz inequalities. Statistics & Probability Letters
        82 (3), 2012, pp. 636-644.
    """

    name: ClassVar[str] = "ks"
    kind: ClassVar[Kind] = "numbers"

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        self._level = level
        known = finite(reference)
        shares = np.arange(1, POINTS + 1) / (POINTS + 1)
        self._edges = np.unique(np.quantile(known, shares, method="inverted_cdf")) if len(known) else np.empty(0)
        self.reference = self.count(known)

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
        p_values: Floats = special.kolmogorov(np.sqrt(rows) * self._distances(counts))
        return p_values

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        reference, window = int(self.reference.sum()), int(counts.sum())
        rows = effective_rows(reference, window)
        threshold = float(special.kolmogi(self._level)) / math.sqrt(rows) if rows else 1.0
        return Comparison(
            statistic=float(self._distances(counts[None])[0]),
            threshold=min(threshold, 1.0),
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=reference,
            window_rows=window,
        )

    def _distances(self, counts: Ints) -> Floats:
        rows = counts.sum(axis=1, keepdims=True)
        before = self.reference.cumsum() / max(self.reference.sum(), 1)
        distances: Floats = np.abs(counts.cumsum(axis=1) / np.maximum(rows, 1) - before).max(axis=1)
        return np.where((rows[:, 0] > 0) & (self.reference.sum() > 0), distances, 0.0)
