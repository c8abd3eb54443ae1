"""Prequential metrics: each prediction was made before its label was known, so each one is a test.

For every version, over the newest ``window_rows`` labelled predictions: classification has ``accuracy`` and, where the
model gives scores, ``log_loss``; regression has ``mae`` and ``rmse``. They equal scikit-learn's on the same rows.

An event counts for every version that scored it, whether its answer was published or not: the metrics say how good a
version is, not how good the service was, and a version that is tried out unseen has metrics before it answers anything.
So while two versions score every event, both are measured on the same ones; where an event is scored by its own variant
alone, each is measured on its part of the traffic.

Sums are exactly rounded (``math.fsum``), so that no cutting of rows into frames changes a digit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.monitor.frames import Floats, Ints
from services.monitor.join import Joined

Task = Literal["classification", "regression"]

MEASURES_PER_WINDOW = 5  # a window of 500 rows is measured every 100: neighbours share four fifths, a chart is smooth
VERSIONS_KEPT = 64  # windows in memory; labels come late for the newest few versions at most
SMALLEST_SCORE = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss: no infinite loss


@dataclass(frozen=True, slots=True)
class Measured:
    """Metrics of one version over the window that the label at ``offset`` closed."""

    version: int
    offset: int
    window_rows: int
    total_rows: int
    until_time_ms: int
    metrics: Mapping[str, float]


class _Window:
    """The newest rows of one version: one column of times, one for each metric's loss."""

    def __init__(self) -> None:
        self.total = 0
        self.times: Ints = np.empty(0, np.int64)
        self.losses: dict[str, Floats] = {}


class Prequential:
    """The metrics of one partition's predictions.

    Args:
        task: decides which metrics there are.
        window_rows: labelled predictions of one version in a window; a fifth of it lies between two measurements.
    """

    def __init__(self, task: Task, window_rows: int) -> None:
        self._task = task
        self._window_rows = window_rows
        self._step = max(1, window_rows // MEASURES_PER_WINDOW)
        self._windows: dict[int, _Window] = {}

    def take(self, joined: Joined) -> list[Measured]:
        """Add labelled predictions. Returns what is due, in the order of the labels."""
        measured = []
        for version in np.unique([joined.versions, joined.other_versions]).tolist():
            own, values, scores = joined.said_by(version)
            if len(own):
                window = self._windows.setdefault(version, _Window())
                losses = losses_of(self._task, values, scores, joined.labels[own])
                measured += self._extend(version, window, joined, own, losses)
        while len(self._windows) > VERSIONS_KEPT:
            del self._windows[min(self._windows)]
        return sorted(measured, key=lambda each: each.offset)

    def _extend(
        self, version: int, window: _Window, joined: Joined, own: Ints, losses: Mapping[str, Floats]
    ) -> list[Measured]:
        """Append the version's own rows; measure wherever its total reaches a multiple of the step."""
        known = len(window.times)
        times = np.concatenate([window.times, joined.times_ms[own]])
        columns = {
            name: np.concatenate([window.losses.get(name, np.full(known, np.nan)), loss])
            for name, loss in losses.items()
        }
        measured = []
        first = self._step - window.total % self._step
        for count in range(first, len(own) + 1, self._step):
            end = known + count
            begin = max(0, end - self._window_rows)
            measured.append(
                Measured(
                    version=version,
                    offset=int(joined.offsets[own[count - 1]]),
                    window_rows=end - begin,
                    total_rows=window.total + count,
                    until_time_ms=int(times[begin:end].max()),
                    metrics=_means({name: column[begin:end] for name, column in columns.items()}),
                )
            )
        window.total += len(own)
        window.times = times[-self._window_rows :]
        window.losses = {name: column[-self._window_rows :] for name, column in columns.items()}
        return measured


def errors(task: Task, values: Floats, labels: Floats) -> Floats:
    """The error of each labelled prediction: 1 for a wrong class, else 0; the absolute error for a number."""
    if task == "classification":
        return np.asarray(values != labels, np.float64)
    return np.asarray(np.abs(values - labels), np.float64)


def losses_of(task: Task, values: Floats, scores: Floats, labels: Floats) -> dict[str, Floats]:
    """What each labelled prediction adds to each metric: ``accuracy`` 1 if it is right, ``rmse`` its squared error."""
    error = errors(task, values, labels)
    if task == "regression":
        return {"mae": error, "rmse": error**2}
    losses = {"accuracy": 1.0 - error}
    classes = scores.shape[1]
    if classes:
        label = np.where((labels >= 0) & (labels < classes), labels, 0).astype(np.int64)
        score = scores[np.arange(len(labels)), label]
        losses["log_loss"] = -np.log(np.clip(score, SMALLEST_SCORE, 1.0 - SMALLEST_SCORE))
    return losses


def _means(columns: Mapping[str, Floats]) -> dict[str, float]:
    """The metric of each column that has a number in every row."""
    means = {name: math.fsum(column.tolist()) / len(column) for name, column in columns.items()}
    if "rmse" in means:
        means["rmse"] = math.sqrt(means["rmse"])
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}
