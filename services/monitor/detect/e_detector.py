"""E-detector: bets that the loss has changed, against a bookmaker who learns from every row."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.base import Change, Detector, Takes
from services.monitor.detect.bets import Bets, in_all
from services.monitor.detect.by_river import whole

ROWS_AT_ONCE = 2_048  # of a long array: stays in the cache, and bounds what is in vain when a change ends a stretch

Floats = npt.NDArray[np.float64]


class EDetector(Detector):
    """A mixture of Shiryaev-Roberts e-detectors for losses in [0, 1], with a known rate of false alarms.

    Each bet ``c`` multiplies its capital by ``(1 + c x) / (1 + c m)`` at a loss of ``x``, where ``m`` is the mean of
    all rows before. That is ``1 + lambda (x - m)`` with ``lambda = c / (1 + c m)``, a fair game as long as the mean of
    the losses stays what it was; for losses of 0 and 1 it is the likelihood ratio of odds ``1 + c`` times as high.
    A new player begins at every row with a stake of one and keeps playing, ``R_t = (R_{t-1} + 1) * gain_t``: the sum
    over all places where a change may have begun. The mean of the ``R_t`` of all bets, weighted, is the e-value; it is
    an alarm when that reaches ``false_alarm_rows``.

    Why that is the average run length: without a change the e-value grows by one a row on average, and no more, whoever
    looks and how often. The mean that it is compared with is itself only estimated. It is the prediction of
    Krichevsky and Trofimov, ``(sum + 1/2) / (rows + 1)``, so that the game is fair on average over stable streams
    of 0 and 1 at all rates of errors (Jeffreys' prior). That is no proof for a single rate, nor for losses in between;
    there, simulations give 0.64 to 0.93 false alarms in ``false_alarm_rows`` rows. The mean takes in the rows after a
    change too: a place where a change may have begun is judged by all rows before it against all rows since, so slow
    drift cannot move the baseline along with it, and a short baseline is not believed more than it deserves. Assumes
    losses that are independent while nothing changes; correlated ones give more alarms.

    The evidence is where the most successful player began: the rows since then against all before. A change of less
    than ``tolerance`` is no alarm: the bets begin anew, the rows before are kept, so that several such steps add up.

    Parameters:
        false_alarm_rows: rows of a stable stream between two false alarms, on average, at least. The default keeps
            a promise of one in 1,000,000 with a factor of four to spare.
        tolerance: smallest change of the mean loss that is reported; 0.01 is one row in a hundred.
        baseline_rows: rows before the first bet.

    >>> import numpy as np
    >>> errors = np.random.default_rng(7).random(2000) < np.repeat([0.1, 0.3], 1000)  # from 10 % to 30 %
    >>> [(place, round(change.before, 2), round(change.after, 2)) for place, change in EDetector().feed(errors)]
    [(1042, 0.1, 0.49)]

    References:
        J. Shin, A. Ramdas, A. Rinaldo: E-detectors: A Nonparametric Framework for Sequential Change Detection. The New
        England Journal of Statistics in Data Science 2 (2), 2024, pp. 229-260.
        I. Waudby-Smith, A. Ramdas: Estimating Means of Bounded Random Variables by Betting. Journal of the Royal
        Statistical Society B 86 (1), 2024, pp. 1-27.
        R. E. Krichevsky, V. K. Trofimov: The Performance of Universal Encoding. IEEE Transactions on Information
        Theory 27 (2), 1981, pp. 199-207.
        A. Podkopaev, A. Ramdas: Tracking the Risk of a Deployed Model and Detecting Harmful Distribution Shifts.
        International Conference on Learning Representations, 2022.
    """

    name: ClassVar[str] = "EDetector"
    takes: ClassVar[Takes] = "shares"

    def __init__(self, false_alarm_rows: float = 4_000_000, tolerance: float = 0.01, baseline_rows: int = 100) -> None:
        if not false_alarm_rows > 1:
            raise ValueError(f"false_alarm_rows is a number of rows above 1, not {false_alarm_rows:g}")
        self._parameters = {
            "false_alarm_rows": false_alarm_rows,
            "tolerance": tolerance,
            "baseline_rows": whole("baseline_rows", baseline_rows),
        }
        self.reset()

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return self._parameters

    @property
    def mean(self) -> float:
        """Mean of all rows since the detector began."""
        return (self._earlier_total + self._bets.total) / self.rows if self.rows else 0.0

    @property
    def rows(self) -> int:
        """Rows since the detector began."""
        return self._earlier_rows + self._bets.rows

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the e-value now; an alarm at that of ``false_alarm_rows``. -inf before the first bet."""
        total = float(in_all(self._bets.now()[0]))
        return math.log(total) if total > 0 else -math.inf

    def reset(self) -> None:
        """Begin anew, without rows and without bets."""
        self._earlier_rows, self._earlier_total = 0, 0.0
        self._begin_bets()

    def update(self, value: float) -> Change | None:
        """Take the next number; many at once are a hundred times faster. Returns the evidence if it shows a change."""
        return next((change for _, change in self.changes(np.array([value]))), None)

    def changes(self, values: npt.NDArray[Any]) -> Iterator[tuple[int, Change]]:
        """Take many numbers, at 0.4 µs each."""
        numbers = np.asarray(values, float)
        places = np.flatnonzero(np.isfinite(numbers))
        kept = numbers[places]
        _refuse(kept)
        begin = 0
        while begin < len(kept):
            rows = self._bets.rows
            reached = self._bets.play(kept[begin : begin + ROWS_AT_ONCE], self._parameters["false_alarm_rows"])
            begin += self._bets.rows - rows
            change = self._change() if reached else None
            if change is not None:
                yield int(places[begin - 1]), change

    def saved(self) -> dict[str, Any]:
        """All that it knows, as plain numbers and lists."""
        return {
            "earlier": [self._earlier_rows, self._earlier_total],
            "bets": self._bets.saved(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on as the detector that said ``saved``, whose parameters were the same."""
        self._earlier_rows, self._earlier_total = int(saved["earlier"][0]), float(saved["earlier"][1])
        self._bets.restore(saved["bets"])

    def _begin_bets(self) -> None:
        self._bets = Bets(int(self._parameters["baseline_rows"]))

    def _change(self) -> Change | None:
        """What to say of a limit that was reached; the bets begin anew in any case."""
        capital, began_rows, began_total = self._bets.now()
        total = self._bets.total
        after_rows, after_total = self._bets.rows - began_rows, total - began_total
        before_rows, before_total = self.rows - after_rows, self._earlier_total + began_total
        e_value = float(in_all(capital))
        if after_rows and before_rows:  # else nothing moved, and what was won is the stakes alone
            change = Change(
                before_total / before_rows,
                after_total / after_rows,
                before_rows,
                after_rows,
                statistic=e_value,
                threshold=self._parameters["false_alarm_rows"],
                log_e_value=math.log(e_value),
            )
            if abs(change.after - change.before) >= self._parameters["tolerance"]:
                self.reset()
                return change
        self._earlier_rows, self._earlier_total = self.rows, self._earlier_total + total
        self._begin_bets()
        return None


def _refuse(losses: Floats) -> None:
    """Raise for the first number that is no loss in [0, 1]."""
    fits = (losses >= 0) & (losses <= 1)
    if not fits.all():
        raise ValueError(
            f"EDetector takes only numbers from 0 to 1, not {losses[~fits][0]:g}; divide losses by the largest that "
            "counts, or watch other numbers by adwin, page_hinkley or kswin"
        )
