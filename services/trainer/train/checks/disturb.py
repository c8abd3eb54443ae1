"""What the robustness checks share: rows to disturb, how far a feature spreads, and the verdict on the drop."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import Candidate
from services.trainer.train.checks.drops import drop
from services.trainer.train.judge import measure
from services.trainer.train.score import Scores
from services.trainer.train.task import Features, FitTask, Labels

ROWS_MAX = 500
"""Hold-out rows that are disturbed, spread evenly over all: more would cost time and say little more."""


class Sample(NamedTuple):
    """Some of the hold-out rows with the candidate's scores."""

    x: Features
    y: Labels
    scores: Scores


def sample(task: FitTask, candidate: Candidate, rows: int = ROWS_MAX) -> Sample:
    """At most so many of the hold-out rows, evenly spread."""
    at = evenly(len(task.holdout.y), rows)
    scores = Scores(candidate.scores.values[at], candidate.scores.probabilities[at])
    return Sample(task.holdout.x[at], task.holdout.y[at], scores)


def evenly(rows: int, most: int) -> NDArray[np.int64]:
    """At most so many places in so many rows, the first and the last among them.

    >>> evenly(3, 5).tolist(), evenly(9, 3).tolist()
    ([0, 1, 2], [0, 4, 8])
    """
    return np.linspace(0, rows - 1, min(rows, most)).round().astype(np.int64)


def generator(task: FitTask, stream: int) -> np.random.Generator:
    """A generator of this task's seed, another one for each ``stream``."""
    return np.random.default_rng([task.seed % 2**32, stream])


def spread(task: FitTask) -> NDArray[np.float64]:
    """The standard deviation of each feature's known values in the training rows (the hold-out's if there are none)."""
    x = (task.train.x if len(task.train.x) else task.holdout.x).astype(np.float64)
    known = np.isfinite(x)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, x, 0.0).sum(axis=0) / count
    found: NDArray[np.float64] = np.sqrt(np.square(np.where(known, x - mean, 0.0)).sum(axis=0) / count)
    return found


def verdict(
    task: FitTask, name: str, limit: float, before: Sample, after: Scores, how: str, advice: str
) -> CheckResult:
    """The check's result: by how much the metric dropped when the rows were disturbed in the way that ``how`` tells."""
    metric = task.gates.metric
    was, now = measure(before.scores, before.y)[metric], measure(after, before.y)[metric]
    lost = drop(task, now, was)
    message = (
        f"{metric} {was:.4g} becomes {now:.4g} on {len(before.y)} rows {how}: worse by {lost:.3g}, allowed {limit:g}"
    )
    if lost > limit:
        message += f"; {advice}"
    return CheckResult(name=name, passed=lost <= limit, value=lost, limit=limit, message=message)
