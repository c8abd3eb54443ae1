"""What every model has to be compared with: answers that need no model, or the plainest one.

- ``majority`` (``median`` or ``mean`` for numbers): the best answer that looks at nothing.
- ``last-label``: the label of the row before, with the probabilities that one label followed another in the training
  rows. Where labels come late this answer may not be available when it is needed; it is a yardstick, not a rival.
- ``linear``: logistic or ridge regression on imputed and standardised features.
"""

import warnings
from collections.abc import Mapping

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from services.trainer.train.judge import constant, measure
from services.trainer.train.score import Scores
from services.trainer.train.search.fitting import score_rows, target
from services.trainer.train.task import FitTask

ITERATIONS_MAX = 500  # of logistic regression; on standardised features it needs a few dozen


def baselines(task: FitTask) -> Mapping[str, Mapping[str, float]]:
    """Metrics of each baseline on the hold-out rows, by its name."""
    scores = {_constant_name(task): constant(task), "last-label": _last_label(task), "linear": _linear(task)}
    return {name: measure(one, task.holdout.y) for name, one in scores.items()}


def _constant_name(task: FitTask) -> str:
    if task.label.task == "classification":
        return "majority"
    return "median" if task.gates.metric == "mae" else "mean"


def _last_label(task: FitTask) -> Scores:
    """The first hold-out row follows the last training row."""
    before = np.concatenate([task.train.y[-1:], task.holdout.y[:-1]])
    classes = len(task.label.classes)
    if not classes:
        return Scores(before, np.empty((len(before), 0)))
    followed = np.ones((classes, classes))  # one of each, so that what never happened is not impossible
    np.add.at(followed, (task.train.y[:-1].astype(np.int64), task.train.y[1:].astype(np.int64)), 1.0)
    shares = followed / followed.sum(axis=1, keepdims=True)
    return Scores(before, shares[before.astype(np.int64)])


def _linear(task: FitTask) -> Scores:
    last = LogisticRegression(max_iter=ITERATIONS_MAX) if task.label.classes else Ridge()
    model = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler(), last)
    with warnings.catch_warnings():  # a yardstick that is not quite at its best is a yardstick still
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(task.train.x, target(task, task.train.y))
    return score_rows(model, task.holdout.x, task)
