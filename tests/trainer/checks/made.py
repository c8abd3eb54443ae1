"""Tasks and candidates for the tests of the checks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression

from millrace.contracts.events import CheckResult
from millrace.contracts.gates_policy import Gates
from millrace.contracts.sections import Label
from services.trainer.train.checks import Candidate, check
from services.trainer.train.export import export
from services.trainer.train.judge import measure
from services.trainer.train.score import Scores, score
from services.trainer.train.task import FitTask, PipelineSource, Rows

NAMES = ("a", "b", "c")
CLASSES = Label(classes=("no", "yes"), delay_s=0)
NUMBERS = Label(task="regression", delay_s=0)


class Step(NamedTuple):
    """A point of a fit's history."""

    step: int
    train_loss: float | None
    validation_loss: float | None


def rows(count: int, label: Label = CLASSES, seed: int = 7) -> Rows:
    """The truth is in the first feature, with a little noise; the second helps a little, the third is noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, len(NAMES))).astype(np.float32)
    value = 3.0 * x[:, 0] + 0.5 * x[:, 1] + 0.5 * rng.normal(size=count)
    return Rows(x, (value > 0).astype(np.float64) if label.classes else value.astype(np.float64))


def task(label: Label = CLASSES, holdout: int = 400, changes: dict[str, Any] | None = None, **gates: Any) -> FitTask:
    """A task with these gates."""
    rule = {"metric": "accuracy" if label.classes else "mae", "first": 0.5, **gates}
    fields: dict[str, Any] = {
        "model": "tiny",
        "feature_set": "set",
        "feature_names": NAMES,
        "label": label,
        "gates": Gates.model_validate(rule),
        "seed": 3,
        "pipeline": PipelineSource("pipeline.py", "build", b""),
        "train": rows(600, label),
        "holdout": rows(holdout, label, seed=8),
        "champion": None,
        "rows_min": 100,
        "timeout_s": 30.0,
    }
    return FitTask(**{**fields, **(changes or {})})


def fitted(one: FitTask) -> Any:
    """A linear model of the task's training rows."""
    model = LogisticRegression() if one.label.classes else LinearRegression()
    y = one.train.y.astype(np.int64) if one.label.classes else one.train.y
    return model.fit(one.train.x, y)


def candidate(one: FitTask, model: Any = None, champion: Scores | None = None, **changes: Any) -> Candidate:
    """A model as ``train`` hands it to the checks; the linear one if none is given."""
    model = fitted(one) if model is None else model
    artifact = export(model, one)
    scores = changes.pop("scores", None) or score(artifact, one.holdout.x, len(one.label.classes))
    fields: dict[str, Any] = {
        "estimator": model,
        "artifact": artifact,
        "scores": scores,
        "champion_scores": champion,
        "metrics": measure(scores, one.holdout.y),
        "champion_metrics": {} if champion is None else measure(champion, one.holdout.y),
    }
    return Candidate(**{**fields, **changes})


def right_but(one: FitTask, wrong: Sequence[int]) -> Scores:
    """Scores that are certain, and right on all hold-out rows but these."""
    y = one.holdout.y.copy()
    y[list(wrong)] = 1 - y[list(wrong)]
    sure = np.where(y == 1, 0.9, 0.1)
    return Scores(y, np.stack([1 - sure, sure], axis=1))


def result(one: FitTask, made: Candidate, name: str) -> CheckResult:
    """The named result among all."""
    return next(found for found in check(one, made) if found.name == name)


def names(one: FitTask, made: Candidate) -> set[str]:
    """Names of all results."""
    return {found.name for found in check(one, made)}
