"""One training run from rows to judgement: fit, export, score the exported file, compare, measure, check.

All metrics are of the ONNX file, because it is what will serve; the estimator itself is only asked whether it agrees.
The same task gives the same bytes, provided that the pipeline takes its randomness from the seed it is given. Threads
do not matter to histogram gradient boosting (tried with 1 and 2); where they do, their number has to be kept.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor

from services.trainer.train.export import export
from services.trainer.train.judge import check, differing, measure, require_metric
from services.trainer.train.score import score
from services.trainer.train.task import FitError, FitResult, FitTask, Labels

Build = Callable[[int], Any]


def train(task: FitTask, build: Build) -> FitResult:
    """Run the task with the estimator that ``build(seed)`` returns.

    Raises:
        FitError: the rows or the estimator do not fit the project.
        Exception: whatever the owner's pipeline raises.
    """
    require_metric(task)
    _require_classes(task)
    estimator = build(task.seed)
    _require_kind(estimator, task)
    try:
        estimator.fit(task.train.x, _target(task.train.y, task))
    except ValueError as error:
        _blame_the_empty(task, error)
        raise
    artifact = export(estimator, task)
    classes = len(task.label.classes)
    scores = score(artifact, task.holdout.x, classes)
    metrics = measure(scores, task.holdout.y)
    return FitResult(
        artifact=artifact,
        metrics=metrics,
        champion_metrics=_champion_metrics(task),
        checks=check(task, scores, differing(estimator, scores, task.holdout.x), metrics),
    )


def _blame_the_empty(task: FitTask, error: ValueError) -> None:
    """Some estimators take a feature without a single value, others end with words that name nothing."""
    names = [name for name, column in zip(task.feature_names, task.train.x.T, strict=True) if np.isnan(column).all()]
    if names:
        raise FitError(
            f"{error}; {', '.join(names)} is missing in all {len(task.train.x)} training rows, which this estimator "
            "may not take: leave it out, or train on more rows"
        ) from error


def _champion_metrics(task: FitTask) -> dict[str, float]:
    """The champion on the very same rows; empty without a champion."""
    if task.champion is None:
        return {}
    try:
        scores = score(task.champion, task.holdout.x, len(task.label.classes))
    except Exception as error:  # no common base in onnxruntime; a comparison that fails must not pass for none
        raise FitError(f"the champion cannot be scored on the hold-out rows: {error}") from error
    return measure(scores, task.holdout.y)


def _target(y: Labels, task: FitTask) -> Any:
    return y.astype(np.int64) if task.label.task == "classification" else y


def _require_classes(task: FitTask) -> None:
    missing = [name for index, name in enumerate(task.label.classes) if index not in set(task.train.y.tolist())]
    if missing:
        raise FitError(f"none of the {len(task.train.y)} training rows has the label {', '.join(map(repr, missing))}")


def _require_kind(estimator: Any, task: FitTask) -> None:
    if task.label.task == "regression":
        if not is_regressor(estimator):
            raise FitError(f"{task.pipeline.function} builds {type(estimator).__name__}, a regressor is needed")
    elif not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        raise FitError(
            f"{task.pipeline.function} builds {type(estimator).__name__}, a classifier with predict_proba is needed"
        )
