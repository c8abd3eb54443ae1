"""DDM: the error rate against its lowest level."""

from typing import Any, ClassVar

from river import drift

from services.monitor.detect.base import Takes
from services.monitor.detect.by_river import ByRiver, whole

DDM: Any = drift.binary.DDM  # river's own annotations are incomplete


class Ddm(ByRiver):
    """Drift detection method, by river: errors of a classifier, 0 (right) or 1 (wrong); rises only.

    Keeps the rate p of errors since it began and its standard error s, and the lowest p + s so far. A change is a
    p + s above that lowest p by ``drift_threshold`` of its s. The rate counts all rows since the detector began, so
    that a change after a long stable time is found late.

    Three standard errors would be 0.1 % for one look; it looks at each row, and p + s is lowest by chance when the
    first rows are few. In simulations of 20,000 stable rows with 10 % errors every second stream or more has a false
    alarm (43 in 1,000,000 rows), early ones above all.

    Takes 0 and 1 only and refuses other numbers. The evidence is the best cut of all rows since the detector began:
    see ``split.History``.

    Parameters:
        warm_start: rows before the first check; 30 is river's default.
        warning_threshold: standard errors above the lowest level for river's warning, which is not used here.
        drift_threshold: standard errors above the lowest level for a change; 3 is the authors'.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.3], 1000)  # from 10 % to 30 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in Ddm().feed(errors)]
    [(1039, 0.1, 0.44)]

    References:
        J. Gama, P. Medas, G. Castillo, P. Rodrigues: Learning with Drift Detection. SBIA 2004, pp. 286-295.
    """

    name: ClassVar[str] = "DDM"
    takes: ClassVar[Takes] = "bits"

    def __init__(self, warm_start: int = 30, warning_threshold: float = 2.0, drift_threshold: float = 3.0) -> None:
        super().__init__(
            {
                "warm_start": whole("warm_start", warm_start),
                "warning_threshold": warning_threshold,
                "drift_threshold": drift_threshold,
            }
        )

    def _new(self) -> Any:
        return DDM(**self._parameters)
