"""A river model with scikit-learn's interface: it learns row by row, and is served as a snapshot.

Rules:

- Rows are learned in order of time, each once, each scored before it is learned (test, then train). The losses of
  these scores are the history of the fit: over all rows so far in place of the loss on learned rows, and over the
  newest stretch alone in place of the loss on rows that were not learned.
- A missing value is left out of the row that river gets. A linear model adds nothing for it, as if the feature were at
  its mean after a ``StandardScaler``; a tree goes the way that most of its rows went. The ONNX file does the same.
- Two classes are learned as False and True, more as 0, 1, 2: what river's models ask for.
- Nothing is carried over from run to run, since a learner's state is no ONNX file and nothing is unpickled here. Each
  run lets a new learner go over its window, so a version is a snapshot of the learner that met each of the window's
  labels once, in order. What river's models forget, they forget by themselves; weights that decay are not for them.
- Only what can be written as ONNX is accepted, and that is asked before the first row is learned.

References:
    A. P. Dawid: Statistical theory: the prequential approach, JRSS A 147, 1984. J. Montiel et al.: River: machine
    learning for streaming data in Python, JMLR 22, 2021.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import base, compose
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from services.trainer.train.judge import measure
from services.trainer.train.score import Scores
from services.trainer.train.search.river_graph import require_known, write
from services.trainer.train.task import Features, FitError, FitTask

POINTS = 20  # of the history

Floats = NDArray[np.float64]


def learner(model: Any, task: FitTask) -> "RiverLearner":
    """The river model as an estimator for the task.

    Raises:
        FitError: it is of the wrong kind, or of a class that cannot be written as ONNX.
    """
    last = model[-1] if isinstance(model, compose.Pipeline) else model
    wanted = base.Regressor if task.label.task == "regression" else base.Classifier
    if not isinstance(last, wanted):
        raise FitError(
            f"a family builds river's {type(last).__name__}, a {task.label.task} model is needed: a river "
            f"{wanted.__name__.lower()}"
        )
    require_known(model, len(task.label.classes))
    if task.label.task == "regression":
        return RiverRegressor(model, task.feature_names)
    return RiverClassifier(model, task.feature_names, len(task.label.classes))


class RiverLearner(BaseEstimator):  # type: ignore[misc]  # scikit-learn publishes no types
    """What a river classifier and a river regressor have in common.

    After ``fit``: ``model_`` is the river model, ``prequential_`` the history as (rows learned, loss over all of them,
    loss over the newest stretch), each row scored before it was learned.
    """

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        self.model = model
        self.names = names

    def fit(self, x: Features, y: NDArray[Any]) -> "RiverLearner":
        """Learn each row once, in order, with a new model."""
        self.model_ = self.model.clone()
        self.n_features_in_ = x.shape[1]
        self.prequential_: list[tuple[int, float, float]] = []
        rows, labels = self._rows(x), y.tolist()
        answers: list[Any] = []
        for stretch in np.array_split(np.arange(len(rows)), min(POINTS, len(rows))):
            first, stop = int(stretch[0]), int(stretch[-1]) + 1
            for row, label in zip(rows[first:stop], labels[first:stop], strict=True):
                answers.append(self._answer(row))
                self.model_.learn_one(row, self._label(label))
            self.prequential_.append((stop, self._loss(answers, y[:stop]), self._loss(answers[first:], y[first:stop])))
        return self

    def to_onnx(self, task: FitTask) -> bytes:
        """The snapshot as an ONNX file with the interface that the trainer's other files have."""
        check_is_fitted(self, "model_")
        return write(self.model_, self.names, task)

    def require_servable(self) -> None:
        """Raise ``FitError`` if what was learned cannot be written as ONNX."""
        require_known(self.model_, self._classes(), self.names)

    def _rows(self, x: Features) -> list[dict[str, float]]:
        return [
            {name: value for name, value in zip(self.names, row, strict=True) if value == value}  # noqa: PLR0124  # NaN
            for row in x.astype(np.float64).tolist()
        ]

    def _answers(self, x: Features) -> list[Any]:
        check_is_fitted(self, "model_")
        return [self._answer(row) for row in self._rows(x)]

    def _loss(self, answers: list[Any], y: NDArray[Any]) -> float:
        raise NotImplementedError

    def _answer(self, row: dict[str, float]) -> Any:
        raise NotImplementedError

    def _label(self, label: Any) -> Any:
        return label

    def _classes(self) -> int:
        return 0


class RiverRegressor(RegressorMixin, RiverLearner):  # type: ignore[misc]
    """A river regressor."""

    def predict(self, x: Features) -> Floats:
        """The value of each row."""
        return np.array(self._answers(x), dtype=np.float64)

    def _answer(self, row: dict[str, float]) -> float:
        return float(self.model_.predict_one(row))

    def _loss(self, answers: list[Any], y: NDArray[Any]) -> float:
        return measure(Scores(np.array(answers), np.empty((len(y), 0))), y)["rmse"]


class RiverClassifier(ClassifierMixin, RiverLearner):  # type: ignore[misc]
    """A river classifier. Of classes with equal probability the first is the answer; if all are 0, all are equal."""

    def __init__(self, model: Any, names: tuple[str, ...], classes: int) -> None:
        super().__init__(model, names)
        self.classes = classes

    def fit(self, x: Features, y: NDArray[Any]) -> "RiverClassifier":
        """Learn each row once, in order, with a new model."""
        self.classes_ = np.arange(self.classes)
        super().fit(x, y)
        return self

    def predict(self, x: Features) -> NDArray[np.int64]:
        """The index of each row's most probable class."""
        return np.asarray(self.predict_proba(x).argmax(axis=1), dtype=np.int64)

    def predict_proba(self, x: Features) -> Floats:
        """The probability of each class, shape (rows, classes)."""
        return np.array(self._answers(x), dtype=np.float64).reshape(len(x), self.classes)

    def _answer(self, row: dict[str, float]) -> list[float]:
        said = self.model_.predict_proba_one(row)  # False and True are the keys 0 and 1
        shares = [float(said.get(index, 0.0)) for index in range(self.classes)]
        total = sum(shares)
        return [share / total for share in shares] if total else [1.0 / self.classes] * self.classes

    def _label(self, label: Any) -> Any:
        return bool(label) if self.classes == 2 else label

    def _loss(self, answers: list[Any], y: NDArray[Any]) -> float:
        probabilities = np.array(answers)
        return measure(Scores(probabilities.argmax(axis=1).astype(np.float64), probabilities), y)["log_loss"]

    def _classes(self) -> int:
        return self.classes
