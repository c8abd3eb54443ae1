"""The fit had come to its end, and did not go past it.

- ``converged``: the training loss fell, and its end is flat. Flat is measured against the whole fall, so that neither
  the unit of the loss nor its sign matters, and between the means of the last two tenths of the steps, so that noise
  does not. A loss that falls in a straight line to the end has 0.1.
- ``validation-loss``: over the last tenth it is not far above its lowest value; if it is, the fit learned its rows by
  heart.

A model that learned row by row (river) is not judged so: each point of its history is about other rows, so that it
shows how hard these were.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from millrace.contracts.events import CheckResult
from millrace.contracts.gates_policy import TINY
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (
    About("converged", ("convergence.flat_max",), "a fit that was cut short, or whose training loss never fell"),
    About("validation-loss", ("convergence.rise_max",), "a fit that learned its rows by heart"),
)
STEPS_MIN = 10  # of fewer no tenth can be taken


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """Both, where the fit has a history of at least ten steps."""
    limits, history = task.gates.convergence, () if _by_rows(candidate.estimator) else candidate.history
    training = _known([step.train_loss for step in history])
    validation = _known([step.validation_loss for step in history])
    if limits.flat_max is not None and len(training) >= STEPS_MIN:
        yield _converged(training, limits.flat_max)
    if limits.rise_max is not None and len(validation) >= STEPS_MIN:
        yield _overfit(validation, limits.rise_max)


def _by_rows(estimator: Any) -> bool:
    return hasattr(estimator[-1] if isinstance(estimator, Pipeline) else estimator, "prequential_")


def _known(losses: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([loss for loss in losses if loss is not None], dtype=np.float64)


def _converged(losses: NDArray[np.float64], limit: float) -> CheckResult:
    tenth = len(losses) // 10
    first, before, end = losses[0], losses[-2 * tenth : -tenth].mean(), losses[-tenth:].mean()
    said = f"training loss {first:.4g} at first, {end:.4g} at the end of {len(losses)} steps"
    if not np.isfinite(losses).all() or not first > end:
        message = f"{said}: it did not fall; look at the labels, the features and the learning rate"
        return CheckResult(name="converged", passed=False, value=1.0, limit=limit, message=message)
    share = float(abs(before - end) / (first - end))
    message = f"{said}; the last tenth of the steps has {share:.3g} of the fall, allowed {limit:g}"
    if share > limit:
        message += "; take more steps or a higher learning rate"
    return CheckResult(name="converged", passed=share <= limit, value=share, limit=limit, message=message)


def _overfit(losses: NDArray[np.float64], limit: float) -> CheckResult:
    lowest, end = losses.min(), losses[-(len(losses) // 10) :].mean()
    finite = bool(np.isfinite(losses).all())
    rise = float((end - lowest) / max(abs(lowest), TINY)) if finite else 1.0
    at = int(np.argmin(losses)) + 1
    message = f"validation loss {end:.4g} at the end, lowest {lowest:.4g} at step {at} of {len(losses)}: "
    message += f"up by {rise:.3g} of it, allowed {limit:g}"
    if rise > limit or not finite:
        message += "; stop earlier, or make the model smaller"
    return CheckResult(
        name="validation-loss", passed=finite and rise <= limit, value=rise, limit=limit, message=message
    )
