"""Jensen-Shannon: how well a row tells which of two samples it is from."""

import math
from typing import ClassVar

import numpy as np

from services.monitor.detect.binned import Binned
from services.monitor.detect.window import Floats


class JensenShannon(Binned):
    """The Jensen-Shannon divergence, for numbers and categories.

    The statistic is the mean Kullback-Leibler divergence of both samples' shares from their average, in bits: 0 for
    equal shares, 1 for samples that have no cell in common. It is how much a row's cell tells of which sample it is
    from, if both are equally likely. Half a row is added to each cell.

    The p-value: without a change ``8 * ln(2) * n m / (n + m)`` times the divergence is chi-square in the limit, as its
    second-order expansion is an eighth of the squared differences over their average. It assumes independent rows.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> found = JensenShannon(rng.normal(size=2000)).judge(rng.normal(0.3, size=500))
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.023, 0.013, 8e-08)

    References:
        J. Lin: Divergence Measures Based on the Shannon Entropy. IEEE Transactions on Information Theory 37 (1), 1991,
        pp. 145-151.
        I. Grosse, P. Bernaola-Galván, P. Carpena, R. Román-Roldán, J. Oliver, H. E. Stanley: Analysis of Symbolic
        Sequences Using the Jensen-Shannon Divergence. Physical Review E 65, 2002, 041905.
    """

    name: ClassVar[str] = "jensen_shannon"
    _scale: ClassVar[float] = 8 * math.log(2)

    @staticmethod
    def _divergence(before: Floats, after: Floats) -> Floats:
        middle = (before + after) / 2
        bits: Floats = (before * np.log2(before / middle) + after * np.log2(after / middle)).sum(axis=-1) / 2
        return np.maximum(bits, 0.0)
