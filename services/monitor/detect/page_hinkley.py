"""Page-Hinkley: a cumulated sum of deviations from the mean."""

from typing import Any, ClassVar

from river import drift

from services.monitor.detect.by_river import ByRiver, whole

PAGE_HINKLEY: Any = drift.PageHinkley  # river's own annotations are incomplete


class PageHinkley(ByRiver):
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
        super().__init__(
            {
                "min_instances": whole("min_instances", min_instances),
                "delta": delta,
                "threshold": threshold,
                "alpha": alpha,
            }
        )

    def _new(self) -> Any:
        return PAGE_HINKLEY(mode="both", **self._parameters)
