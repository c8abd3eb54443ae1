"""FHDDM: the accuracy of a sliding window against its best."""

from typing import Any, ClassVar

from river import drift

from services.monitor.detect.base import Takes
from services.monitor.detect.by_river import ByRiver, whole

FHDDM: Any = drift.binary.FHDDM  # river's own annotations are incomplete


class Fhddm(ByRiver):
    """Fast Hoeffding drift detection method, by river: errors of a classifier, 0 (right) or 1 (wrong); rises only.

    Keeps the newest ``sliding_window_size`` rows and the best accuracy that such a window ever had. A change is an
    accuracy below that best by more than Hoeffding's bound allows a mean of so many independent rows. The bound is for
    one window against a known mean; the best of many windows is better than the mean by luck, so that false
    alarms come with time: in simulations none in 1,000,000 stable rows with 10 % errors, 119 with 30 %.

    The paper and river's code count right answers as 1, while river's docstring says the opposite. Here 1 is an error,
    as in every detector of this package, and is turned round on the way to river.

    Takes 0 and 1 only and refuses other numbers. The evidence is the best cut of all rows since the detector began:
    see ``split.History``.

    Parameters:
        sliding_window_size: rows in the sliding window; no check before it is full. 100 is river's default.
        confidence_level: probability in Hoeffding's bound; 1e-6 is the authors'.
        short_window_size: rows of a second, shorter window (the stacking version); 0 means none.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.4], 1000)  # from 10 % to 40 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in Fhddm().feed(errors)]
    [(1046, 0.1, 0.58)]

    References:
        A. Pesaranghader, H. L. Viktor: Fast Hoeffding Drift Detection Method for Evolving Data Streams. ECML PKDD 2016,
        pp. 96-111.
    """

    name: ClassVar[str] = "FHDDM"
    takes: ClassVar[Takes] = "bits"

    def __init__(
        self, sliding_window_size: int = 100, confidence_level: float = 1e-6, short_window_size: int = 0
    ) -> None:
        super().__init__(
            {
                "sliding_window_size": whole("sliding_window_size", sliding_window_size),
                "confidence_level": confidence_level,
                "short_window_size": whole("short_window_size", short_window_size),
            }
        )

    def _new(self) -> Any:
        return FHDDM(**(self._parameters | {"short_window_size": self._parameters["short_window_size"] or None}))

    def _given(self, value: float) -> float:
        """1 for a right answer."""
        return 1.0 - value
