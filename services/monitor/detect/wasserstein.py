"""Wasserstein: how far the rows of one distribution have to be moved to make the other."""

import math
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.quantiles import POINTS, OfQuantiles
from services.monitor.detect.window import LEVEL, Floats

CUT = 0.01  # share of the reference rows beyond each end


class Wasserstein(OfQuantiles):
    """The first Wasserstein (earth mover's) distance, for numbers.

    The statistic is the area between the two distribution functions, in standard deviations of the reference. A shift
    of the mean by 0.2 deviations gives 0.2. It says how much a feature moved, in a unit that people know. The outermost
    ``CUT`` of the reference at each end is cut to the rest, and rows beyond with it, so that one broken row is no
    drift, and the functions are looked at at ``POINTS`` quantiles. Of a constant it says nothing: it has no unit.

    The p-value is an upper bound. Without a change the difference of the functions, times ``sqrt(n m / (n + m))``, is a
    Gaussian process in the limit, and the area is a norm of it. Its mean is known, the integral of
    ``sqrt(2 / pi * F * (1 - F))``, and no norm of a Gaussian process is above its mean by ``x`` with a probability of
    more than ``exp(-x**2 / (2 * s**2))``, where ``s`` is the largest deviation of what the norm is the supremum of,
    here at most that of the feature itself. It assumes independent rows, and enough of them for the limit.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> found = Wasserstein(rng.normal(size=2000)).judge(rng.normal(0.3, size=500))
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.345, 0.246, 9e-08)

    References:
        E. del Barrio, E. Giné, C. Matrán: Central Limit Theorems for the Wasserstein Distance Between the Empirical and
        the True Distributions. Annals of Probability 27 (2), 1999, pp. 1009-1071.
        C. Borell: The Brunn-Minkowski Inequality in Gauss Space. Inventiones Mathematicae 30, 1975, pp. 207-216.
        B. S. Tsirelson, I. A. Ibragimov, V. N. Sudakov: Norms of Gaussian Sample Functions. Lecture Notes in
        Mathematics 550, 1976, pp. 20-41.
    """

    name: ClassVar[str] = "wasserstein"
    _most: ClassVar[float] = math.inf

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        super().__init__(reference, np.linspace(CUT, 1 - CUT, POINTS), level)
        self._widths = np.diff(self._edges)
        mean, self._deviation = self._norm()
        self._mean = mean / self._deviation

    def _distance(self, apart: Floats) -> Floats:
        """The area between the functions, by the trapezium rule, in deviations."""
        inner = apart[:, :-1]
        areas: Floats = np.abs((inner[:, 1:] + inner[:, :-1]) / 2) @ self._widths / self._deviation
        return areas

    def _survival(self, scaled: Floats) -> Floats:
        p_values: Floats = np.exp(-0.5 * np.maximum(scaled - self._mean, 0.0) ** 2)
        return p_values

    def _scaled_threshold(self) -> float:
        return self._mean + math.sqrt(-2 * math.log(self._level))

    def _norm(self) -> tuple[float, float]:
        """Mean of the norm in the limit, and the largest deviation that it is the supremum of."""
        total = self.reference.sum()
        if len(self._edges) < 2 or not total:
            return 0.0, 1.0
        below = (self.reference.cumsum() / total)[:-1]
        low, high = below[:-1], below[1:]
        variance = (low * (1 - low) + high * (1 - high) + 2 * low * (1 - high)) / 4
        mean = math.sqrt(2 / math.pi) * float(np.sqrt(np.maximum(variance, 0)) @ self._widths)
        steps = (np.append(self._widths, 0) + np.append(0, self._widths)) / 2
        levels = np.append(0, steps.cumsum())
        shares = self.reference / total
        spread = float(shares @ levels**2 - (shares @ levels) ** 2)
        return mean, math.sqrt(spread) if spread > 0 else 1.0
