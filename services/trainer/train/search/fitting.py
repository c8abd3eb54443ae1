"""One candidate, from its name to its answers: build, fit on a window, score rows.

NumPy's global generator is seeded before each fit, as the trainer does once per run, so that a pipeline that forgets
``random_state`` gives the same model whether a search went before or not.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import is_classifier, is_regressor
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from services.trainer.train.judge import measure
from services.trainer.train.score import Scores
from services.trainer.train.search.cv import Fold
from services.trainer.train.search.windows import Part, part
from services.trainer.train.task import Choice, Features, FitError, FitTask, Labels

Build = Callable[..., Any]
"""Called with the seed and the hyperparameters by name; returns an estimator that is not fitted, or a river model."""
WEIGHT = "sample_weight"


def make(task: FitTask, builds: Mapping[str, Build], choice: Choice) -> Any:
    """The choice's estimator, not fitted, with scikit-learn's interface.

    Raises:
        FitError: there is no such family, or what it builds cannot do what the project asks for.
    """
    build = builds.get(choice.family)
    if build is None:
        raise FitError(f"there is no family {choice.family!r}; training.search.families has {sorted(builds)}")
    _seed(task)
    estimator = build(task.seed, **choice.params)
    if hasattr(estimator, "learn_one") and hasattr(estimator, "predict_one"):
        from services.trainer.train.search.river_learner import learner  # noqa: PLC0415  # river is slow to import

        return learner(estimator, task)
    _require_kind(estimator, task, choice.family)
    return estimator


def fit_choice(task: FitTask, builds: Mapping[str, Build], choice: Choice) -> Any:
    """The estimator of the choice, fitted on all training rows that its window holds."""
    rows = len(task.train.y)
    return fit(make(task, builds, choice), task, part(choice.window, rows, rows))


def fit(estimator: Any, task: FitTask, chosen: Part) -> Any:
    """Fit on a part of the training rows and return the estimator.

    Raises:
        FitError: a feature is missing in every row and the estimator does not take that; the part has weights and the
            estimator takes none.
        Exception: whatever the estimator raises.
    """
    x, y = task.train.x[chosen.start : chosen.stop], target(task, task.train.y[chosen.start : chosen.stop])
    _seed(task)
    try:
        estimator.fit(x, y, **_weights(estimator, chosen))
    except ValueError as error:
        _blame_the_empty(task, x, error)
        raise
    return estimator


def score_rows(estimator: Any, x: Features, task: FitTask) -> Scores:
    """The estimator's answers; a class that it did not meet in its training rows has probability 0."""
    values = np.asarray(estimator.predict(x), dtype=np.float64).reshape(len(x))
    if task.label.task == "regression":
        return Scores(values, np.empty((len(x), 0)))
    probabilities = np.zeros((len(x), len(task.label.classes)))
    probabilities[:, np.asarray(estimator.classes_, dtype=np.int64)] = estimator.predict_proba(x)
    return Scores(values, probabilities)


def fold_value(estimator: Any, task: FitTask, fold: Fold, window: str) -> float:
    """The project's metric on a fold's stretch, after a fit on its window.

    Raises:
        FitError: the metric is no finite number, or a river model cannot be served.
    """
    fit(estimator, task, part(window, len(task.train.y), fold.until))
    if hasattr(estimator, "require_servable"):
        estimator.require_servable()
    scores = score_rows(estimator, task.train.x[fold.start : fold.stop], task)
    value = measure(scores, task.train.y[fold.start : fold.stop])[task.gates.metric]
    if not np.isfinite(value):
        raise FitError(f"{task.gates.metric} on the rows {fold.start} to {fold.stop} is {value}, which is no number")
    return value


def target(task: FitTask, y: Labels) -> Any:
    """Labels as estimators take them: whole numbers for classes."""
    return y.astype(np.int64) if task.label.task == "classification" else y


def weight_parameter(estimator: Any) -> str | None:
    """The name under which ``fit`` takes a weight for each row, None if it takes none.

    >>> from sklearn.linear_model import Ridge
    >>> weight_parameter(Pipeline([("ridge", Ridge())]))
    'ridge__sample_weight'
    """
    if isinstance(estimator, Pipeline):
        name, last = estimator.steps[-1]
        inner = weight_parameter(last)
        return None if inner is None else f"{name}__{inner}"
    return WEIGHT if hasattr(estimator, "fit") and has_fit_parameter(estimator, WEIGHT) else None


def _seed(task: FitTask) -> None:
    np.random.seed(task.seed % 2**32)  # noqa: NPY002  # it is this one that careless pipelines use


def _weights(estimator: Any, chosen: Part) -> dict[str, Any]:
    if chosen.weights is None:
        return {}
    name = weight_parameter(estimator)
    if name is None:
        raise FitError(f"{type(estimator).__name__} takes no sample_weight, so a window with decay is not for it")
    return {name: chosen.weights}


def _blame_the_empty(task: FitTask, x: Features, error: ValueError) -> None:
    """Some estimators take a feature without a single value, others end with words that name nothing."""
    names = [name for name, column in zip(task.feature_names, x.T, strict=True) if np.isnan(column).all()]
    if names:
        raise FitError(
            f"{error}; {', '.join(names)} is missing in all {len(x)} training rows, which this estimator "
            "may not take: leave it out, or train on more rows"
        ) from error


def _require_kind(estimator: Any, task: FitTask, family: str) -> None:
    source = task.families.get(family, task.pipeline)
    built = f"{source.function} builds {type(estimator).__name__}"
    if task.label.task == "regression":
        if not is_regressor(estimator):
            raise FitError(f"{built}, a regressor is needed")
    elif not is_classifier(estimator) or not hasattr(estimator, "predict_proba"):
        raise FitError(f"{built}, a classifier with predict_proba is needed")
