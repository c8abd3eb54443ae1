"""ADWIN: an adaptive window over the newest rows."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from river import drift

from services.monitor.detect.base import Change
from services.monitor.detect.by_river import ByRiver, whole

ADWIN: Any = drift.ADWIN  # river's own annotations are incomplete


class Adwin(ByRiver):
    """Adaptive windowing, by river.

    Keeps a window of the newest rows as long as no cut of it into an older and a newer part shows two means that
    differ by more than chance allows (a Hoeffding bound with the window's variance). When one does, the older part is
    dropped: that is the change. Assumes rows that are independent within each part; seasonal or correlated rows give
    more changes than ``delta`` says.

    The evidence is the best cut of all rows since the detector began: see ``split.History``. What ADWIN itself drops is
    no evidence: it stops dropping as soon as the rest is not *provably* of two kinds, so that, in the example below, it
    keeps many of the 1000 old rows and the mean of what it keeps is 0.13. After a change river's ADWIN forgets the
    kept part too and begins anew.

    Parameters:
        delta: probability of a false cut, for one check of one window; 0.002 is river's default.
        clock: rows between two checks. The change may be noticed that much later.
        min_window_length: smallest part that is compared, in rows.
        grace_period: rows before the first check.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.3], 1000)  # from 10 % to 30 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in Adwin().feed(errors)]
    [(1087, 0.1, 0.33)]

    References:
        A. Bifet, R. Gavaldà: Learning from Time-Changing Data with Adaptive Windowing. SIAM International Conference
        on Data Mining, 2007, pp. 443-448.
    """

    name: ClassVar[str] = "ADWIN"

    def __init__(
        self, delta: float = 0.002, clock: int = 32, min_window_length: int = 5, grace_period: int = 10
    ) -> None:
        super().__init__(
            {
                "delta": delta,
                "clock": whole("clock", clock),
                "min_window_length": whole("min_window_length", min_window_length),
                "grace_period": whole("grace_period", grace_period),
            }
        )

    def _new(self) -> Any:
        return ADWIN(**self._parameters)

    @property
    def mean(self) -> float:
        """Mean of the adaptive window."""
        return float(self._river.estimation)

    @property
    def rows(self) -> int:
        """Rows in the adaptive window."""
        return int(self._river.width)

    def changes(self, values: npt.NDArray[Any]) -> Iterator[tuple[int, Change]]:
        """Take many numbers, at 0.2 µs each; the history is brought up to date once for each stretch."""
        numbers = np.asarray(values, float)
        places = np.flatnonzero(np.isfinite(numbers))
        kept = numbers[places].tolist()
        begin, adwin = 0, self._river
        for at, value in enumerate(kept):
            adwin.update(value)
            if adwin.drift_detected:
                self._history.extend(kept[begin : at + 1])
                change = self._change()
                begin, adwin = at + 1, self._river
                yield int(places[at]), change
        self._history.extend(kept[begin:])

    def _change(self) -> Change:
        change = self._history.split(int(self._parameters["min_window_length"]))
        self.reset()
        return change
