"""What a search gives back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from services.trainer.train.task import Choice, FitTask

TrialState = Literal["complete", "pruned", "failed"]
Value = int | float | str | bool | None


class Trial(NamedTuple):
    """One candidate that was tried.

    ``fold_values`` has the metric on each stretch that was reached, the newest stretch first; ``value`` is their mean,
    None unless all were reached. ``reason`` says why a trial failed or was ended early.
    """

    number: int
    family: str
    params: Mapping[str, Value]
    window: str
    value: float | None
    fold_values: tuple[float, ...]
    state: TrialState
    seconds: float
    reason: str = ""


class Step(NamedTuple):
    """One point of the training history: log loss of a classifier, root mean squared error of a regression.

    ``step`` counts trees, epochs or rows learned, whichever the estimator has.
    """

    step: int
    train_loss: float
    validation_loss: float


@dataclass(frozen=True, slots=True)
class Found:
    """The choice, the estimator fitted with it, every trial in order of its number, and the history of the fit."""

    choice: Choice
    estimator: Any
    trials: tuple[Trial, ...]
    history: tuple[Step, ...]

    def to_onnx(self, task: FitTask) -> bytes | None:
        """The ONNX file of an estimator that writes its own, as river models do; None: skl2onnx can do it."""
        write = getattr(self.estimator, "to_onnx", None)
        if write is None:
            return None
        content: bytes = write(task)
        return content
