"""What the players of an e-detector have won: the capital of each bet, and where its best player began.

A new player begins at every row with the stake of the bet and keeps playing, ``R_t = (R_{t-1} + stake) * gain_t``.
Row by row that is slow, so it is settled by *spells* of ``SPELL_ROWS`` rows, within which

    ``R_t = P_t (R_0 + stake * (1 + 1/P_1 + ... + 1/P_{t-1}))``

where ``P_t`` is the product of the gains since the spell began. No row of a spell has more than the largest ``P_t``
times the last bracket: where that stays below the limit, as it nearly always does, no row needs to be looked at.

The rows of a spell that is not whole yet are kept and gone through again with the next ones. So each spell is always
computed in one way, and no cutting of rows changes a digit.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

RISES = 0.15 * 1.5 ** np.arange(10)  # of the log-odds of the loss: from 2 % to 2.3 % up to 87 %
FALLS = np.array([-0.3, -0.8, -2.0])
FALLS_SHARE = 0.1  # of the stakes: a fall asks for nothing, it only lets the detector begin anew
SPELL_ROWS = 64  # no product of so many gains leaves the range of floats

STAKES = np.concatenate(
    [np.full(len(RISES), (1 - FALLS_SHARE) / len(RISES)), np.full(len(FALLS), FALLS_SHARE / len(FALLS))]
)
BETS = np.expm1(np.concatenate([RISES, FALLS]))
EACH = np.arange(len(BETS))

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Bets:
    """All bets. What a player would have gained is remembered too: the best one began where that was lowest.

    Args:
        baseline_rows: before the first bet.
    """

    def __init__(self, baseline_rows: int = 0) -> None:
        bets = len(BETS)
        self._baseline_rows = baseline_rows
        self._rows, self._total = 0, 0.0  # before the newest spell
        self._losses = np.empty(0)  # of the rows in the newest spell
        self._capital = np.zeros(bets)  # at its begin
        self._gained = np.zeros(bets)  # logarithm of what one player had gained by then
        self._lowest = np.zeros((3, bets))  # where that was lowest: its value, and rows and total there

    @property
    def rows(self) -> int:
        """All rows, those before the first bet included."""
        return self._rows + len(self._losses)

    @property
    def total(self) -> float:
        """Their sum."""
        return float(_running_total(self._total, self._losses)[-1])

    def play(self, losses: Floats, limit: float) -> bool:
        """Settle the next rows, up to the one with which all capital together reaches the limit.

        Returns:
            Whether one did.
        """
        losses = self._after_baseline(losses)
        known = len(self._losses)
        losses = np.concatenate([self._losses, losses])
        total = _running_total(self._total, losses)
        products = np.multiply.accumulate(self._gains(losses, total), axis=0)
        paid = np.empty_like(products)
        paid[0] = 1
        np.divide(1, products[:-1], out=paid[1:])
        with np.errstate(over="ignore", invalid="ignore"):  # far behind the row that reaches the limit, in vain
            banks, staked = self._banks(products, paid)
            most = in_all((products.max(axis=0).T * (banks[:-1] + staked)).T).max(initial=0.0)
            if not most < limit and limit < math.inf:
                own = banks[:-1].T + STAKES[:, np.newaxis] * np.add.accumulate(paid, axis=0)
                capitals = in_all((products * own).swapaxes(0, 1)).T.ravel()  # by row
                reached = np.flatnonzero(capitals[known : len(losses)] >= limit)
                if len(reached):
                    return not self.play(losses[known : known + reached[0] + 1], math.inf)
        whole = len(losses) // SPELL_ROWS
        self._end_spells(products[:, :, :whole], total)
        self._capital, self._losses = banks[whole], losses[whole * SPELL_ROWS :]
        return False

    def now(self) -> tuple[Floats, int, float]:
        """The capital of each bet, and where the most successful player began: rows by then, and their sum."""
        total = _running_total(self._total, self._losses)
        products = np.multiply.accumulate(self._gains(self._losses, total)[:, :, 0], axis=0)[: len(self._losses)]
        gained, lowest, capital = self._gained, self._lowest, self._capital
        if len(products):
            paid = np.add.reduce(np.concatenate([np.ones((1, len(BETS))), 1 / products[:-1]]), axis=0)
            capital, gained = products[-1] * (capital + STAKES * paid), self._gained + np.log(products[-1])
            at = _newest_lowest(products)
            low = [self._gained + np.log(products[at, EACH]), self._rows + at + 1, total[at + 1]]
            lowest = _lower(np.stack(low), lowest)
        best = int(np.argmax(gained - lowest[0] + np.log(STAKES)))
        return capital, int(lowest[1, best]), float(lowest[2, best])

    def saved(self) -> dict[str, Any]:
        """All that is known, as plain data."""
        return {
            "rows": self._rows,
            "total": self._total,
            "losses": self._losses.tolist(),
            "capital": self._capital.tolist(),
            "gained": self._gained.tolist(),
            "lowest": self._lowest.tolist(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._rows, self._total = int(saved["rows"]), float(saved["total"])
        self._losses, self._capital = np.array(saved["losses"], np.float64), np.array(saved["capital"], np.float64)
        self._gained, self._lowest = np.array(saved["gained"], np.float64), np.array(saved["lowest"], np.float64)

    def _after_baseline(self, losses: Floats) -> Floats:
        """Count the rows before the first bet. Returns the others."""
        skipped = losses[: max(0, self._baseline_rows - self._rows)]
        if len(skipped):
            self._rows, self._total = self._rows + len(skipped), float(_running_total(self._total, skipped)[-1])
            self._lowest[1], self._lowest[2] = self._rows, self._total
        return losses[len(skipped) :]

    def _gains(self, losses: Floats, total: Floats) -> Floats:
        """What each bet gains at each row of each spell, of the shape (rows, bets, spells); 1 past the last row."""
        spells = len(losses) // SPELL_ROWS + 1
        of_rows = np.zeros((2, spells * SPELL_ROWS))  # the losses, and the means before them
        of_rows[:, : len(losses)] = losses, (total[:-1] + 0.5) / (self._rows + np.arange(1, len(losses) + 1))
        by_spell = np.ascontiguousarray(of_rows.reshape(2, spells, SPELL_ROWS).transpose(0, 2, 1))
        of_bets: Floats = by_spell[:, :, np.newaxis] * BETS[:, np.newaxis] + 1
        gains: Floats = of_bets[0] / of_bets[1]
        return gains

    def _banks(self, products: Floats, paid: Floats) -> tuple[Floats, Floats]:
        """The capitals with which the spells begin and the last one ends; and what players who begin in them stake."""
        ends, staked = np.ascontiguousarray(products[-1].T), np.add.reduce(paid, axis=0).T * STAKES
        banks = np.empty((len(ends) + 1, len(BETS)))
        banks[0] = self._capital
        for spell, (end, stakes) in enumerate(zip(ends, staked, strict=True)):
            banks[spell + 1] = end * (banks[spell] + stakes)
        return banks, staked

    def _end_spells(self, products: Floats, total: Floats) -> None:
        """Remember where whole spells are lowest, the newest place of all."""
        whole = products.shape[2]
        if not whole:
            return
        gained = np.add.accumulate(np.column_stack([self._gained, np.log(products[-1])]), axis=1)
        lows = gained[:, :-1] + np.log(products.min(axis=0))
        spell = _newest_lowest(lows.T)
        at = spell * SPELL_ROWS + _newest_lowest(products[:, EACH, spell]) + 1
        self._lowest = _lower(np.stack([lows[EACH, spell], self._rows + at, total[at]]), self._lowest)
        self._gained = gained[:, -1].copy()
        self._rows, self._total = self._rows + whole * SPELL_ROWS, float(total[whole * SPELL_ROWS])


def in_all(capitals: Floats) -> Floats:
    """The sum over the bets, a line each, from the first to the last: the same digits wherever the rows were cut."""
    return functools.reduce(np.add, capitals)


def _running_total(total: float, losses: Floats) -> Floats:
    """Before each row and after the last."""
    return np.add.accumulate(np.concatenate(([total], losses)))


def _newest_lowest(columns: Floats) -> Ints:
    """The last place of the lowest number of each column."""
    return np.asarray(len(columns) - 1 - np.argmin(columns[::-1], axis=0), np.int64)


def _lower(new: Floats, old: Floats) -> Floats:
    """The newer place of each bet, where it is as low as the older one."""
    return np.where(new[0] <= old[0], new, old)
