"""Page-Hinkley: a cumulated sum of deviations from the mean."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from river import drift

from services.monitor.detect.base import Change, Detector
from services.monitor.detect.split import History

PAGE_HINKLEY: Any = drift.PageHinkley  # river's own annotations are incomplete
PART_ROWS_MIN = 5  # as ADWIN's min_window_length


class PageHinkley(Detector):
    """The Page-Hinkley test, by river, for rises and falls.

    Sums up by how much each row lies above (or below) the mean so far, less a tolerance, and reports a change when
    that sum is further from its lowest (or highest) point than a threshold. Cheaper to understand than ADWIN, but its
    threshold is in the unit of the rows: it must be chosen for each subject, and it gives no false-alarm rate.

    The evidence is the best cut of all rows since the detector began: see ``split.History``.

    Parameters:
        min_instances: rows before the first check.
        delta: tolerated deviation of one row from the mean, in the unit of the rows.
        threshold: how far the sum may go, in the unit of the rows; the default suits rates of errors.
        alpha: share of the sum that is kept from row to row.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.3], 1000)  # from 10 % to 30 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in PageHinkley().feed(errors)]
    [(1199, 0.1, 0.31)]

    References:
        E. S. Page: Continuous Inspection Schemes. Biometrika 41 (1/2), 1954, pp. 100-115.
    """

    name: ClassVar[str] = "Page-Hinkley"

    def __init__(
        self, min_instances: int = 30, delta: float = 0.05, threshold: float = 30.0, alpha: float = 0.9999
    ) -> None:
        self._parameters = {
            "min_instances": min_instances,
            "delta": delta,
            "threshold": threshold,
            "alpha": alpha,
        }
        self.reset()

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return self._parameters

    @property
    def mean(self) -> float:
        """Mean of all rows since the detector began."""
        return self._history.mean

    @property
    def rows(self) -> int:
        """Rows since the detector began."""
        return self._history.rows

    def reset(self) -> None:
        """Begin anew, with sums of zero."""
        self._test: Any = PAGE_HINKLEY(mode="both", **self._parameters)
        self._history = History()

    def update(self, value: float) -> Change | None:
        """Take the next number. Returns the evidence if it shows a change."""
        if not math.isfinite(value):
            return None
        self._test.update(value)
        self._history.add(value)
        return self._change() if self._test.drift_detected else None

    def _change(self) -> Change:
        change = self._history.split(PART_ROWS_MIN)
        self.reset()
        return change
