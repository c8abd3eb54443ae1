"""The training window as part of the search: which of the rows a candidate is fitted on, and with what weights.

A window is named by kind and rows, so that the name alone repeats it on the same rows:

- ``last``: all rows; ``last:<rows>``: the newest so many.
- ``since_drift:<rows>``: the rows since the drift that caused the run, so many at the time of the run. A fold that ends
  before the drift, or too soon after it, is fitted on all its rows, as if the drift had not been seen yet: there this
  window is neither better nor worse than ``last``.
- ``decay:<half_life_rows>``: all rows; a row so many rows older than another weighs half as much.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.training_policy import Search
from services.trainer.train.task import FitError, FitTask

SHARES = (1, 2, 4)  # the newest 1/1, 1/2, 1/4 of the rows: a coarse scale, since neighbours differ by less than noise
ROWS_MIN = 50  # of a window shorter than all rows; what training.window_rows asks for at least


class Part(NamedTuple):
    """The rows from ``start`` up to ``stop``, oldest first, and their weights (None: all the same)."""

    start: int
    stop: int
    weights: NDArray[np.float64] | None


def offered(task: FitTask, search: Search, *, weighted: bool) -> tuple[str, ...]:
    """The windows that a family may be fitted on, never none; ``decay`` only for one that takes weights.

    A window that lacks one of the classes is not offered: its model could not answer with it.
    """
    names = list(dict.fromkeys(_names(task, search, weighted=weighted)))
    rows = len(task.train.y)
    return tuple(name for name in names if _has_classes(task, part(name, rows, rows))) or (f"last:{rows}",)


def part(window: str, rows: int, until: int) -> Part:
    """The rows before ``until``, of all so many ``rows``, that the window holds.

    Raises:
        FitError: the window's name is none of those above.
    """
    kind, _, digits = window.partition(":")
    number = int(digits) if digits.isdecimal() else 0
    if window == "last" or (kind == "last" and number):
        return Part(max(0, until - (number or until)), until, None)
    if kind == "since_drift" and number:
        start = max(0, rows - number)
        return Part(start if until == rows or until - start >= ROWS_MIN else 0, until, None)
    if kind == "decay" and number:
        age = np.arange(until - 1, -1, -1, dtype=np.float64)
        return Part(0, until, np.exp2(-age / number))
    raise FitError(
        f"window {window!r} is unknown; last, last:<rows>, since_drift:<rows> and decay:<half_life_rows> are known"
    )


def _names(task: FitTask, search: Search, *, weighted: bool) -> Iterator[str]:
    rows = len(task.train.y)
    for kind in search.windows:
        if kind == "last":
            yield from (f"last:{rows // share}" for share in SHARES if share == 1 or rows // share >= ROWS_MIN)
        elif kind == "since_drift":
            since = 0 if task.since_drift is None else rows - task.since_drift
            if ROWS_MIN <= since <= rows:
                yield f"since_drift:{since}"
        elif weighted:
            yield f"decay:{search.half_life_rows}"


def _has_classes(task: FitTask, chosen: Part) -> bool:
    labels: Any = task.train.y[chosen.start : chosen.stop]
    return set(range(len(task.label.classes))) <= {int(label) for label in np.unique(labels)}
