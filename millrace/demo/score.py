"""How right the loop and its baselines have been so far, for the live view. Pure, cheap enough for each second."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from millrace.demo.baseline import frozen, repeat_last
from millrace.demo.figures import rolling
from millrace.demo.ledger import MISSING, Columns, Floats

RECENT_ROWS = 500
SPARK_POINTS = 60
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Score:
    """Shares of right answers: over the newest rows, and of all three since the first row that counts."""

    recent: float | None = None
    loop: float | None = None
    frozen: float | None = None
    repeat_last: float | None = None
    spark: str = ""


class Scorer:
    """Scores a growing ledger. ``first_model`` is given once it is known."""

    def __init__(self, first_rows: int) -> None:
        self._first_rows = first_rows
        self._frozen: Floats = np.empty(0)
        self.first_model: bytes | None = None

    def frozen(self, columns: Columns) -> Floats:
        """What the first model says about every row; NaN while there is none. Each row is scored once."""
        if self.first_model is None:
            return np.full(len(columns), MISSING)
        new = frozen(self.first_model, columns.features[len(self._frozen) :])
        self._frozen = np.concatenate([self._frozen, new])
        return self._frozen

    def score(self, columns: Columns) -> Score:
        """The state of affairs."""
        answers = (columns.predicted, self.frozen(columns), repeat_last(columns))
        counted = (np.arange(len(columns)) >= self._first_rows) & ~np.isnan(columns.label)
        for answer in answers:
            counted &= ~np.isnan(answer)
        right = [(answer == columns.label)[counted].astype(np.float64) for answer in answers]
        if not len(right[0]):
            return Score()
        loop, old, last = (float(one.mean()) for one in right)
        return Score(float(right[0][-RECENT_ROWS:].mean()), loop, old, last, sparkline(right[0]))


def sparkline(right: Floats, window: int = RECENT_ROWS, points: int = SPARK_POINTS) -> str:
    """Rolling accuracy as a row of bars, lowest to highest.

    >>> sparkline(np.array([0.0, 0.0, 1.0, 1.0]), window=1, points=4)
    '▁▁██'
    """
    means = rolling(right, window)
    means = means[~np.isnan(means)]
    if not len(means):
        return ""
    picked = means[np.linspace(0, len(means) - 1, min(points, len(means))).round().astype(int)]
    low, high = float(picked.min()), float(picked.max())
    levels: Sequence[int] = ((picked - low) / ((high - low) or 1) * (len(BARS) - 1)).round().astype(int).tolist()
    return "".join(BARS[level] for level in levels)
