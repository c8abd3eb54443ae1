"""E-detector: bets that the loss has changed, against a bookmaker who learns from every row."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from services.monitor.detect.base import Change, Detector, Takes
from services.monitor.detect.by_river import whole

RISES = 0.15 * 1.5 ** np.arange(10)  # of the log-odds of the loss: from 2 % to 2.3 % up to 87 %
FALLS = np.array([-0.3, -0.8, -2.0])
FALLS_SHARE = 0.1  # of the stakes: a fall asks for nothing, it only lets the detector begin anew
ROWS_AT_ONCE = 1_024  # of a long array: stays in the cache, and bounds what is in vain when a change ends a stretch
SPELL_ROWS = 64  # settled in one formula; no product of so many gains leaves the range of floats

STAKES = np.concatenate(
    [np.full(len(RISES), (1 - FALLS_SHARE) / len(RISES)), np.full(len(FALLS), FALLS_SHARE / len(FALLS))]
)
BETS = np.expm1(np.concatenate([RISES, FALLS]))

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
        return (self._earlier_total + self._total) / self.rows if self.rows else 0.0

    @property
    def rows(self) -> int:
        """Rows since the detector began."""
        return self._earlier_rows + self._played

    @property
    def log_e_value(self) -> float:
        """Natural logarithm of the e-value now; an alarm at that of ``false_alarm_rows``. -inf before the first bet."""
        total = float(self._capital.sum())
        return math.log(total) if total > 0 else -math.inf

    def reset(self) -> None:
        """Begin anew, without rows and without bets."""
        self._earlier_rows, self._earlier_total = 0, 0.0
        self._begin_bets()

    def update(self, value: float) -> Change | None:
        """Take the next number; many at once are a hundred times faster. Returns the evidence if it shows a change."""
        changes = self.feed(np.array([value]))
        return changes[0][1] if changes else None

    def feed(self, values: npt.NDArray[Any]) -> list[tuple[int, Change]]:
        """Take many numbers, at 1 µs each."""
        numbers = np.asarray(values, float)
        places = np.flatnonzero(np.isfinite(numbers))
        kept = numbers[places]
        _refuse(kept)
        changes: list[tuple[int, Change]] = []
        begin = 0
        while begin < len(kept):
            played = self._played
            reached = self._play(kept[begin : begin + ROWS_AT_ONCE])
            begin += self._played - played
            change = self._change() if reached else None
            if change is not None:
                changes.append((int(places[begin - 1]), change))
        return changes

    def saved(self) -> dict[str, Any]:
        """All that it knows, as plain numbers and lists."""
        return {
            "earlier": [self._earlier_rows, self._earlier_total],
            "played": self._played,
            "total": self._total,
            "spell": self._spell,
            "capital": self._capital.tolist(),
            "bank": self._bank.tolist(),
            "gained": self._gained.tolist(),
            "lowest": self._lowest.tolist(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on as the detector that said ``saved``, whose parameters were the same."""
        self._earlier_rows, self._earlier_total = int(saved["earlier"][0]), float(saved["earlier"][1])
        self._played, self._total, self._spell = int(saved["played"]), float(saved["total"]), int(saved["spell"])
        self._capital = np.array(saved["capital"], np.float64)
        self._bank = np.array(saved["bank"], np.float64)
        self._gained = np.array(saved["gained"], np.float64)
        self._lowest = np.array(saved["lowest"], np.float64)

    def _begin_bets(self) -> None:
        bets = len(BETS)
        self._played, self._total = 0, 0.0  # rows since the bets began, and their sum
        self._spell = 0  # rows settled since the last spell ended
        self._capital = np.zeros(bets)
        self._bank = np.stack([np.zeros(bets), np.ones(bets), np.zeros(bets)])  # see _settle
        self._gained = np.zeros(bets)  # logarithm of what one player would have gained, for each bet
        self._lowest = np.zeros((3, bets))  # where that was lowest: its value, and rows and total there

    def _play(self, losses: Floats) -> bool:
        """Settle the bets up to the row that reaches the limit, or to the last one. Returns whether one did.

        Nothing depends on how many rows come at once: sums and products run from left to right, all else is by row.
        """
        total = np.add.accumulate(np.concatenate(([self._total], losses)))
        rows = self._played + np.arange(len(losses) + 1)
        bets = BETS[:, np.newaxis]  # a line for each bet: columns would be a third slower
        gains = (1 + bets * losses) / (1 + bets * ((total[:-1] + 0.5) / (rows[:-1] + 1)))
        first = int(np.searchsorted(rows[:-1], self._parameters["baseline_rows"]))
        end, reached = self._settle(gains, first)
        self._remember(gains[:, first:end], rows[first:], total[first:])
        self._played, self._total = int(rows[end]), float(total[end])
        return reached

    def _settle(self, gains: Floats, at: int) -> tuple[int, bool]:
        """The recursion of the capitals. Returns up to where it went, and whether the limit was reached there.

        Within a spell ``R_t = P_t (R_0 + sum of 1 / P_k, k < t)`` for each stake, where ``P_t`` is the product of the
        gains. The bank holds ``R_0``, ``P_t`` and that sum.
        """
        end = gains.shape[1]
        while at < end:
            whole_spells = 0 if self._spell else (end - at) // SPELL_ROWS
            rows = whole_spells * SPELL_ROWS or min(SPELL_ROWS - self._spell, end - at)
            spells = gains[:, at : at + rows].reshape(len(BETS), whole_spells or 1, -1)
            reached = self._settle_spells(spells)
            if reached is not None:
                return at + reached, True
            at += rows
        return end, False

    def _settle_spells(self, spells: Floats) -> int | None:
        """Whole spells, or a part of one. Returns how many rows it took to reach the limit, if it was reached."""
        begun, product, paid = self._bank
        bets, count, rows = spells.shape  # more than one, and the bank begins a spell: its product is 1, its sum 0
        products = np.multiply.accumulate(_after(product, spells), axis=2)
        sums = np.add.accumulate(_after(paid, 1 / products[:, :, :-1]), axis=2)
        banks = np.empty((bets, count))
        with np.errstate(over="ignore", invalid="ignore"):  # far behind the row that reaches the limit, in vain
            for spell in range(count):  # each begins with what the one before ends with
                banks[:, spell] = begun
                begun = products[:, spell, -1] * (begun + STAKES * sums[:, spell, -1])
            own = banks[:, :, np.newaxis] + STAKES[:, np.newaxis, np.newaxis] * sums[:, :, 1:]
            capitals = (products[:, :, 1:] * own).reshape(bets, -1)
        reached = np.flatnonzero(capitals.sum(axis=0) >= self._parameters["false_alarm_rows"])
        if len(reached):
            self._capital = capitals[:, reached[0]].copy()
            return int(reached[0]) + 1
        self._capital = capitals[:, -1].copy()
        self._spell = (self._spell + rows) % SPELL_ROWS
        self._bank = np.stack([banks[:, -1], products[:, -1, -1], sums[:, -1, -1]])
        if not self._spell:
            self._bank = np.stack([self._capital, np.ones(bets), np.zeros(bets)])
        return None

    def _remember(self, gains: Floats, rows: npt.NDArray[np.int64], total: Floats) -> None:
        """Where a player of each bet would best have begun: at the newest lowest point of the gains."""
        count = gains.shape[1]
        if not count:
            return
        gained = np.add.accumulate(np.concatenate((self._gained[:, np.newaxis], np.log(gains)), axis=1), axis=1)
        at = count - np.argmin(gained[:, ::-1], axis=1)
        lowest = np.stack([gained[np.arange(len(BETS)), at], rows[at], total[at]])
        self._lowest = np.where(lowest[0] <= self._lowest[0], lowest, self._lowest)
        self._gained = gained[:, -1].copy()

    def _change(self) -> Change | None:
        """What to say of a limit that was reached; the bets begin anew in any case."""
        best = int(np.argmax(self._gained - self._lowest[0] + np.log(STAKES)))
        after_rows = self._played - int(self._lowest[1, best])
        after_total = self._total - float(self._lowest[2, best])
        before_rows = self.rows - after_rows
        before_total = self._earlier_total + float(self._lowest[2, best])
        change = Change(
            before_total / before_rows,
            after_total / after_rows,
            before_rows,
            after_rows,
            statistic=float(self._capital.sum()),
            threshold=self._parameters["false_alarm_rows"],
            log_e_value=self.log_e_value,
        )
        if abs(change.after - change.before) >= self._parameters["tolerance"]:
            self.reset()
            return change
        self._earlier_rows, self._earlier_total = self.rows, self._earlier_total + self._total
        self._begin_bets()
        return None


def _after(first: Floats, spells: Floats) -> Floats:
    """Each spell with a row before it."""
    bets, count, rows = spells.shape
    held = np.empty((bets, count, rows + 1))
    held[:, :, 0], held[:, :, 1:] = first[:, np.newaxis], spells
    return held


def _refuse(losses: Floats) -> None:
    """Raise for the first number that is no loss in [0, 1]."""
    fits = (losses >= 0) & (losses <= 1)
    if not fits.all():
        raise ValueError(
            f"EDetector takes only numbers from 0 to 1, not {losses[~fits][0]:g}; divide losses by the largest that "
            "counts, or watch other numbers by adwin, page_hinkley or kswin"
        )
