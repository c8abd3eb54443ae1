"""New categories: values that were never seen."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.shares import least_share, more
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind, finite


class NewCategories(Counted):
    """The share of rows whose value the reference has not, for categories.

    That some value was not seen before is no change by itself: where categories are many, each sample has some that
    another has not. How often that happens is measured in the reference: its rows are divided at random, one half says
    which values are known, and the other half, like the window, has rows of other values. Without a change a row has
    the same chance of that in both, so that Fisher's test of the two shares is exact, for any number of rows and any
    distribution. It assumes independent rows.

    The statistic is the share of rows whose value the whole reference has not; if it is 0, so is the finding.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold stands for, 0 to 1.
        seed: of the division.

    >>> import numpy as np
    >>> before, after = np.arange(2000) % 3, np.where(np.arange(500) % 50, 0, 9)  # 2 % are new
    >>> found = NewCategories(before).judge(after)
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.02, 0.014, 2e-05)

    References:
        R. A. Fisher: Statistical Methods for Research Workers, 5th edition. Oliver and Boyd, 1934, section 21.02.
        I. J. Good: The Population Frequencies of Species and the Estimation of Population Parameters. Biometrika
        40 (3/4), 1953, pp. 237-264.
    """

    name: ClassVar[str] = "new_categories"
    kind: ClassVar[Kind] = "categories"

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL, seed: int = 7) -> None:
        self._level, self._seed = level, seed
        known = finite(reference)
        dealt = np.random.default_rng(seed).permutation(len(known))
        learned, kept = known[dealt[: len(known) // 2]], known[dealt[len(known) // 2 :]]
        self._learned, self._all = np.unique(learned), np.unique(known)
        self.reference = self.count(kept)

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level, "seed": self._seed}

    def count(self, values: Floats) -> Ints:
        """Rows of values that one half knows, that only the other half knows, and that neither knows."""
        known = finite(values)
        learned, held = int(np.isin(known, self._learned).sum()), int(np.isin(known, self._all).sum())
        return np.array([learned, held - learned, len(known) - held])

    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""
        return np.array([self._p_value(*line) for line in counts.tolist()])

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        reference, window = int(self.reference.sum()), int(counts.sum())
        return Comparison(
            statistic=int(counts[2]) / window if window else 0.0,
            threshold=least_share(self._level, window, int(self.reference[1:].sum()), reference),
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=reference,
            window_rows=window,
        )

    def _p_value(self, learned: int, held: int, new: int) -> float:
        reference = int(self.reference.sum())
        if not new or not reference:
            return 1.0
        return more(held + new, learned + held + new, int(self.reference[1:].sum()), reference)
