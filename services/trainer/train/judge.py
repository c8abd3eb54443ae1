"""Metrics of a candidate on the hold-out rows, and what its gates may ask for.

Whether the metric is good enough (``gates.first``, ``gates.margin``) is for the registry to decide. Whether it means
anything, and what else a model must show, is in ``checks``, one file for each.
"""

from typing import Any

import numpy as np

from services.trainer.train.score import Scores
from services.trainer.train.task import Features, FitError, FitTask, Labels

TOLERANCE = 1e-4  # of a probability, or of a regression value relative to its size; float32 rounding is below 1e-6
LEAST_PROBABILITY = 1e-7  # float32 rounds what is closer to 0 or 1; a wrong certainty costs 16, not infinity
METRICS = {"classification": ("accuracy", "log_loss"), "regression": ("mae", "rmse")}


def measure(scores: Scores, y: Labels) -> dict[str, float]:
    """Accuracy and log loss of a classifier, mean absolute and root mean squared error of a regression; and the rows.

    >>> scores = Scores(np.array([1.0, 0.0]), np.array([[0.2, 0.8], [0.5, 0.5]]))
    >>> measure(scores, np.array([1.0, 1.0]))
    {'accuracy': 0.5, 'log_loss': 0.458145..., 'rows': 2.0}
    """
    rows = float(len(y))
    if scores.probabilities.shape[1]:
        truth = scores.probabilities[np.arange(len(y)), y.astype(np.int64)]
        loss = -np.log(np.clip(truth, LEAST_PROBABILITY, 1.0))
        return {"accuracy": float(np.mean(scores.values == y)), "log_loss": float(loss.mean()), "rows": rows}
    error = scores.values - y
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt(np.square(error).mean())), "rows": rows}


def constant(task: FitTask) -> Scores:
    """The best answer that looks at no feature: class frequencies of the training rows; their median, or mean."""
    rows, classes = len(task.holdout.y), len(task.label.classes)
    if classes:
        shares = np.bincount(task.train.y.astype(np.int64), minlength=classes) / len(task.train.y)
        return Scores(np.full(rows, float(shares.argmax())), np.tile(shares, (rows, 1)))
    middle = np.median(task.train.y) if task.gates.metric == "mae" else task.train.y.mean()
    return Scores(np.full(rows, float(middle)), np.empty((rows, 0)))


def differing(estimator: Any, scores: Scores, x: Features) -> int:
    """Rows on which the ONNX file and the estimator that it was made from disagree."""
    values = np.asarray(estimator.predict(x), dtype=np.float64).reshape(len(x))
    if not scores.probabilities.shape[1]:
        size = np.maximum(np.abs(values), np.abs(values).mean())
        return int(np.sum(~(np.abs(scores.values - values) <= TOLERANCE * size)))
    probabilities = np.asarray(estimator.predict_proba(x), dtype=np.float64)
    apart = ~(np.abs(scores.probabilities - probabilities) <= TOLERANCE)  # NaN is apart from everything
    return int(np.sum((scores.values != values) | apart.any(axis=1)))


def require_metric(task: FitTask) -> None:
    """Refuse gates that this model cannot have: on another kind's metric, on features or classes that there are not."""
    accepted = METRICS[task.label.task]
    if task.gates.metric not in accepted:
        raise FitError(f"gates.metric is {task.gates.metric!r}, but {task.label.task} has {' and '.join(accepted)}")
    for part in task.gates.slices:
        if part.feature not in task.feature_names:
            raise FitError(f"gates.slices names {part.feature!r}; the features are {', '.join(task.feature_names)}")
    _require_fairness(task)


def _require_fairness(task: FitTask) -> None:
    rule, classes = task.gates.fairness, task.label.classes
    if rule is None:
        return
    if (rule.metric == "mean_error_difference") != (task.label.task == "regression"):
        raise FitError(
            f"gates.fairness.metric is {rule.metric!r} for a {task.label.task}; regression has mean_error_difference, "
            "classification the others"
        )
    if rule.positive is not None and rule.positive not in classes:
        raise FitError(f"gates.fairness.positive is {rule.positive!r}; label.classes are {', '.join(classes)}")
