"""Chi-square: the shares of a discrete feature's values."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special

from services.monitor.detect.tables import homogeneity, merged, pearson
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind, finite


class ChiSquare(Counted):
    """Pearson's chi-square test of homogeneity, for categories.

    The statistic is the sum over the values of the squared difference of observed and expected rows over the expected,
    in both samples. Values with less than 5 expected rows in the smaller sample, and values that the reference has
    not, are put together.

    The p-value is that of the chi-square limit, and never below that of the likelihood ratio, which stays right where
    Pearson's is much too small: see ``tables.homogeneity``. It assumes independent rows.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> before, after = rng.choice(3, 2000, p=[0.5, 0.3, 0.2]), rng.choice(3, 500, p=[0.4, 0.3, 0.3])
    >>> found = ChiSquare(before).judge(after)
    >>> round(found.statistic, 1), round(found.threshold, 1), float(f"{found.p_value:.0e}")
    (41.2, 13.8, 3e-09)

    References:
        K. Pearson: On the Criterion that a Given System of Deviations ... Can Be Reasonably Supposed to Have Arisen
        from Random Sampling. Philosophical Magazine 50, 1900, pp. 157-175.
    """

    name: ClassVar[str] = "chi_square"
    kind: ClassVar[Kind] = "categories"

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        self._level = level
        self._values = np.unique(finite(reference))
        self.reference = self.count(np.asarray(reference, float))

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level, "cells": len(self._values) + 1}

    def count(self, values: Floats) -> Ints:
        """Rows of each value of the reference, and last of all others."""
        known = finite(values)
        places = np.searchsorted(self._values, known)
        held = np.append(self._values, np.nan)[places] == known
        return np.bincount(np.where(held, places, len(self._values)), minlength=len(self._values) + 1)

    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""
        return homogeneity(self.reference, counts)

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        statistic, freedom = pearson(*merged(self.reference, counts[None]))
        return Comparison(
            statistic=float(statistic[0]),
            threshold=float(special.chdtri(max(int(freedom[0]), 1), self._level)),
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=int(self.reference.sum()),
            window_rows=int(counts.sum()),
        )
