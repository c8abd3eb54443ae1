"""PSI: the population stability index."""

from typing import ClassVar

import numpy as np

from services.monitor.detect.binned import Binned
from services.monitor.detect.window import Floats


class Psi(Binned):
    """The population stability index, for numbers and categories.

    The statistic is the sum over cells of ``(a - b) * ln(a / b)``, where ``a`` and ``b`` are the shares of the window's
    and of the reference rows: both Kullback-Leibler divergences together. Half a row is added to each cell.

    The usual rule (0.1 is some drift, 0.25 is much) says nothing of chance: a window of 100 rows passes 0.1 without any
    change in one case of four. The p-value does: without a change ``n m / (n + m)`` times the index is chi-square in
    the limit. It assumes independent rows.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> found = Psi(rng.normal(size=2000)).judge(rng.normal(0.3, size=500))
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.128, 0.07, 6e-08)

    References:
        B. Yurdakul, J. Naranjo: Statistical Properties of the Population Stability Index. Journal of Risk Model
        Validation 14 (4), 2020, pp. 89-100.
    """

    name: ClassVar[str] = "psi"
    _scale: ClassVar[float] = 1.0

    @staticmethod
    def _divergence(before: Floats, after: Floats) -> Floats:
        index: Floats = ((after - before) * np.log(after / before)).sum(axis=-1)
        return index
