"""Metrics of a candidate on the hold-out rows, and the named checks that it has to pass.

Whether the metric is good enough (``gates.first``, ``gates.margin``) is for the registry to decide. The checks here ask
whether the metric means anything: the file scores as the estimator did, every score is a number, there were enough
rows to learn from, the hold-out can tell good from bad, and the model beats the best constant answer.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from millrace.contracts.events import CheckResult
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


def check(task: FitTask, scores: Scores, differing_rows: int, metrics: Mapping[str, float]) -> tuple[CheckResult, ...]:
    """Every named check with its outcome, passed or not."""
    results = [_parity(task, differing_rows), _finite(scores), _enough(task)]
    if task.label.task == "classification":
        results.append(_both_classes(task))
    return (*results, _beats_constant(task, metrics))


def require_metric(task: FitTask) -> None:
    """Refuse a gate on a metric that this kind of model does not have."""
    accepted = METRICS[task.label.task]
    if task.gates.metric not in accepted:
        raise FitError(f"gates.metric is {task.gates.metric!r}, but {task.label.task} has {' and '.join(accepted)}")


def _parity(task: FitTask, differing_rows: int) -> CheckResult:
    rows = len(task.holdout.y)
    share, limit = differing_rows / rows, task.gates.parity_share
    message = f"{differing_rows} of {rows} rows differ between scikit-learn and ONNX"
    return CheckResult(name="onnx-parity", passed=share <= limit, value=share, limit=limit, message=message)


def _finite(scores: Scores) -> CheckResult:
    bad = ~np.isfinite(scores.values) | ~np.isfinite(scores.probabilities).all(axis=1)
    count = float(bad.sum())
    message = f"{count:.0f} of {len(bad)} rows have a score that is no number"
    return CheckResult(name="finite-scores", passed=not count, value=count, limit=0.0, message=message)


def _enough(task: FitTask) -> CheckResult:
    rows = len(task.train.y) + len(task.holdout.y)
    message = f"{rows} labelled rows of the current feature set, the project asks for {task.rows_min}"
    return CheckResult(
        name="enough-rows", passed=rows >= task.rows_min, value=rows, limit=task.rows_min, message=message
    )


def _both_classes(task: FitTask) -> CheckResult:
    seen = len(np.unique(task.holdout.y))
    message = f"{seen} classes occur in the hold-out; with fewer than 2 its metrics tell nothing"
    return CheckResult(name="both-classes", passed=seen >= 2, value=seen, limit=2.0, message=message)


def _beats_constant(task: FitTask, metrics: Mapping[str, float]) -> CheckResult:
    """At least as good as the constant, not better: on a one-sided stretch the constant can be hard to beat."""
    metric = task.gates.metric
    baseline = measure(constant(task), task.holdout.y)[metric]
    name = "beats-majority" if task.label.task == "classification" else "beats-constant"
    message = f"{metric} {metrics[metric]:.4g}; the best constant answer of the training rows has {baseline:.4g}"
    passed = task.gates.gain(metrics[metric], baseline) >= 0
    return CheckResult(name=name, passed=passed, value=metrics[metric], limit=baseline, message=message)
