"""Kolmogorov-Smirnov: the greatest distance of two distribution functions."""

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from services.monitor.detect.quantiles import POINTS, OfQuantiles
from services.monitor.detect.window import LEVEL, Floats


class KolmogorovSmirnov(OfQuantiles):
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
    _most: ClassVar[float] = 1.0

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        super().__init__(reference, np.arange(1, POINTS + 1) / (POINTS + 1), level)

    def _distance(self, apart: Floats) -> Floats:
        distances: Floats = np.abs(apart).max(axis=1)
        return distances

    def _survival(self, scaled: Floats) -> Floats:
        return np.asarray(special.kolmogorov(scaled), np.float64)

    def _scaled_threshold(self) -> float:
        return float(special.kolmogi(self._level))
