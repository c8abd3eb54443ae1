"""What each row costs: the metrics of ``judge.measure`` before the mean is taken."""

import numpy as np
from numpy.typing import NDArray

from services.trainer.train.judge import LEAST_PROBABILITY
from services.trainer.train.score import Scores
from services.trainer.train.task import Labels

Floats = NDArray[np.float64]


def row_losses(scores: Scores, y: Labels, metric: str) -> Floats:
    """The loss of each row whose mean is the metric (accuracy: its complement; rmse: its square).

    >>> scores = Scores(np.array([1.0, 0.0]), np.array([[0.2, 0.8], [0.5, 0.5]]))
    >>> row_losses(scores, np.array([1.0, 1.0]), "accuracy").tolist()
    [0.0, 1.0]
    """
    if metric == "accuracy":
        return np.asarray(scores.values != y, dtype=np.float64)
    if metric == "log_loss":
        truth = scores.probabilities[np.arange(len(y)), y.astype(np.int64)]
        return np.asarray(-np.log(np.clip(truth, LEAST_PROBABILITY, 1.0)), dtype=np.float64)
    error = scores.values - y
    return np.abs(error) if metric == "mae" else np.square(error)


def smooth_losses(scores: Scores, y: Labels, metric: str) -> Floats:
    """The same, but for accuracy the log loss: it moves before the answer does."""
    return row_losses(scores, y, "log_loss" if metric == "accuracy" else metric)
