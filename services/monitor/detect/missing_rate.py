"""Missing rate: the share of rows without a number."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.shares import least_share, more
from services.monitor.detect.window import LEVEL, Comparison, Counted, Floats, Ints, Kind

SIDES = 2


class MissingRate(Counted):
    """The share of rows that have no finite number, against that of the reference; rises and falls.

    The statistic is the share in the window, 0 to 1. The p-value is Fisher's, exact for any number of rows: twice the
    smaller of both sides' probabilities that so many (or so few) of all missing rows are in the window if they were
    dealt out blindly. It assumes independent rows; sources that fail for a while make them dependent, which is a change
    that is worth telling.

    Parameters:
        reference: the feature in the reference rows.
        level: p-value that the threshold, which is for a rise, stands for, 0 to 1.

    >>> import numpy as np
    >>> before, after = np.zeros(2000), np.where(np.arange(500) % 50, 0, np.nan)  # 2 % are missing
    >>> found = MissingRate(before).judge(after)
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.02, 0.01, 2e-07)

    References:
        R. A. Fisher: Statistical Methods for Research Workers, 5th edition. Oliver and Boyd, 1934, section 21.02.
    """

    name: ClassVar[str] = "missing_rate"
    kind: ClassVar[Kind] = "both"

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL) -> None:
        self._level = level
        self.reference = self.count(np.asarray(reference, float))

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level}

    def count(self, values: Floats) -> Ints:
        """Rows with a number, and rows without one."""
        present = int(np.isfinite(values).sum())
        return np.array([present, len(values) - present])

    def p_values(self, counts: Ints) -> Floats:
        """The p-value of each line of a table of counts."""
        return np.array([self._p_value(present, missing) for present, missing in counts.tolist()])

    def compare(self, counts: Ints) -> Comparison:
        """Compare rows that were counted with the reference."""
        reference, window = int(self.reference.sum()), int(counts.sum())
        return Comparison(
            statistic=int(counts[1]) / window if window else 0.0,
            threshold=least_share(self._level / SIDES, window, int(self.reference[1]), reference),
            p_value=float(self.p_values(counts[None])[0]),
            reference_rows=reference,
            window_rows=window,
        )

    def _p_value(self, present: int, missing: int) -> float:
        held, lost = self.reference.tolist()
        window, reference = present + missing, held + lost
        if not window or not reference or not missing + lost:
            return 1.0
        rise, fall = more(missing, window, lost, reference), more(present, window, held, reference)
        return min(1.0, SIDES * min(rise, fall))
