"""Cross-validation in order of time, with a gap.

A candidate is fitted on old rows and judged on a stretch of newer ones, never the other way round. Between the two lies
a gap as long as labels take to arrive: without it the rows before the stretch would carry labels that were not known
yet when its first row had to be scored, and features made of labels would leak.

The stretches are the newest rows, side by side, each a tenth of all (less if there are more than five), so that every
fit has at least half of the rows, less the gap: a training window can only be judged on fits that are about as long as
the last one will be. The newest stretch comes first: after a drift it is the one that tells, and a hopeless candidate
is ended after it.

References:
    V. Cerqueira, L. Torgo, I. Mozetič: Evaluating time series forecasting models, Machine Learning 109, 2020.
"""

from typing import NamedTuple

from services.trainer.train.task import FitError

STRETCH_SHARE = 10  # a stretch is one in so many rows, or one in twice the folds if that is more
TRAIN_ROWS_MIN = 20  # of a fold; no more than the smallest hold-out a project may ask for


class Fold(NamedTuple):
    """Fitted on the rows before ``until``, judged on those from ``start`` up to ``stop``."""

    until: int
    start: int
    stop: int


def folds(rows: int, count: int, gap: int) -> tuple[Fold, ...]:
    """Split so many rows, the newest stretch first.

    Raises:
        FitError: the first fold would be left with next to nothing to be fitted on.

    >>> folds(100, 3, 5)
    (Fold(until=85, start=90, stop=100), Fold(until=75, start=80, stop=90), Fold(until=65, start=70, stop=80))
    """
    size = rows // max(STRETCH_SHARE, 2 * count)
    until = rows - count * size - gap
    if size < 1 or until < TRAIN_ROWS_MIN:
        raise FitError(
            f"{rows} training rows are too few for {count} folds with a gap of {gap} rows: the oldest fold would be "
            f"fitted on {max(0, until)} rows, {TRAIN_ROWS_MIN} are needed; raise training.window_rows, or lower "
            "training.search.folds or gap_rows"
        )
    starts = [rows - (at + 1) * size for at in range(count)]
    return tuple(Fold(start - gap, start, start + size) for start in starts)
