"""EDDM: the distance between errors against its greatest."""

from typing import Any, ClassVar

from river import drift

from services.monitor.detect.base import Takes
from services.monitor.detect.by_river import ByRiver, whole

EDDM: Any = drift.binary.EDDM  # river's own annotations are incomplete


class Eddm(ByRiver):
    """Early drift detection method, by river: errors of a classifier, 0 (right) or 1 (wrong); rises only.

    Keeps mean and standard deviation of the number of rows from one error to the next, and the greatest value of mean
    plus two deviations so far. A change is a value below ``beta`` of that greatest. Meant for slow changes of low error
    rates. It has no notion of chance: the greatest of few distances is large by luck, and every later value is measured
    by it. In simulations of stable streams with 10 % errors it cries wolf 1.5 times in 1,000 rows; do not let it decide
    alone.

    Takes 0 and 1 only and refuses other numbers. The evidence is the best cut of all rows since the detector began:
    see ``split.History``.

    Parameters:
        warm_start: errors before the first check; 30 is the authors'.
        alpha: share of the greatest value for river's warning, which is not used here.
        beta: share of the greatest value below which it is a change; 0.9 is the authors'.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.3], 1000)  # from 10 % to 30 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in Eddm().feed(errors)][:2]
    [(1007, 0.1, 0.6), (1255, 0.75, 0.29)]

    References:
        M. Baena-García, J. del Campo-Ávila, R. Fidalgo, A. Bifet, R. Gavaldà, R. Morales-Bueno: Early Drift Detection
        Method. 4th International Workshop on Knowledge Discovery from Data Streams, 2006.
    """

    name: ClassVar[str] = "EDDM"
    takes: ClassVar[Takes] = "bits"

    def __init__(self, warm_start: int = 30, alpha: float = 0.95, beta: float = 0.9) -> None:
        super().__init__({"warm_start": whole("warm_start", warm_start), "alpha": alpha, "beta": beta})

    def _new(self) -> Any:
        return EDDM(**self._parameters)
