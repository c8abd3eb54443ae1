"""How the loss fell while the model learned, on rows that it learned from and on rows that it did not.

The second are the hold-out rows: they choose nothing here, and so the history is that of the very model that will
serve, without a fit on fewer rows. Which points there are depends on the estimator, the cheapest way first:

- one that learned row by row (river) has kept its own: each row is scored before it is learned;
- boosting is asked again tree by tree;
- what is fitted in epochs (SGD, MLP) is fitted once more, epoch by epoch;
- anything else is fitted on an eighth, a quarter and half of its rows: a learning curve. Together these cost less than
  the fit itself.

At most ``SAMPLE`` rows of each kind are scored, and at most ``POINTS`` points kept.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from millrace.contracts.events import RunProgress
from services.trainer.train.judge import measure
from services.trainer.train.search.fitting import Build, fit, make, score_rows, target
from services.trainer.train.search.found import Step
from services.trainer.train.search.windows import Part, part
from services.trainer.train.task import Choice, FitTask, Report, Rows

SAMPLE = 500
POINTS = 100
EPOCHS = 20
SHARES = (8, 4, 2)


def history(
    task: FitTask, builds: Mapping[str, Build], choice: Choice, estimator: Any, report: Report
) -> tuple[Step, ...]:
    """The history of a fitted estimator; empty, with a word in the run's progress, if it cannot be had."""
    rows = len(task.train.y)
    chosen = part(choice.window, rows, rows)
    try:
        with warnings.catch_warnings():  # an epoch and a part of the rows do not converge, and need not
            warnings.simplefilter("ignore", ConvergenceWarning)
            return tuple(_told(_steps(task, builds, choice, estimator, chosen), report))
    except Exception as error:  # noqa: BLE001  # the model stands without its history, whatever is raised here
        words = f"no history of the fit: {type(error).__name__}: {error}"
        report(RunProgress(stage="fitting", step=1, steps=1, message=words, values={}))
        return ()


def _told(steps: Iterator[Step], report: Report) -> Iterator[Step]:
    """The steps, each told as it comes: so the losses can be followed live."""
    for step in steps:
        values = {"train_loss": step.train_loss, "validation_loss": step.validation_loss}
        words = f"step {step.step}: loss {step.train_loss:.4g}, on the hold-out {step.validation_loss:.4g}"
        report(RunProgress(stage="fitting", step=step.step, steps=0, message=words, values=values))
        yield step


def loss_of(estimator: Any, rows: Rows, task: FitTask) -> float:
    """Log loss of a classifier, root mean squared error of a regression."""
    name = "log_loss" if task.label.task == "classification" else "rmse"
    return measure(score_rows(estimator, rows.x, task), rows.y)[name]


def _steps(task: FitTask, builds: Mapping[str, Build], choice: Choice, estimator: Any, chosen: Part) -> Iterator[Step]:
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    learned, held = _sample(task.train, chosen.start, chosen.stop), _sample(task.holdout, 0, len(task.holdout.y))
    if hasattr(last, "prequential_"):
        yield from (Step(*point) for point in last.prequential_)
    elif hasattr(last, "staged_predict"):
        yield from _stages(task, estimator, last, learned, held)
    elif hasattr(last, "partial_fit") and hasattr(last, "n_iter_") and not getattr(last, "early_stopping", False):
        yield from _epochs(task, make(task, builds, choice), chosen, learned, held, last.n_iter_)
    else:
        yield from _curve(task, builds, choice, chosen, held)
        yield Step(chosen.stop - chosen.start, loss_of(estimator, learned, task), loss_of(estimator, held, task))


def _sample(rows: Rows, start: int, stop: int) -> Rows:
    """Rows spread evenly over a part."""
    at = np.unique(np.linspace(start, stop - 1, min(SAMPLE, stop - start)).astype(np.int64))
    return Rows(rows.x[at], rows.y[at])


class _Stage:
    """One stage of a boosting estimator, as ``score_rows`` asks it."""

    def __init__(self, classes: Any, answer: Any) -> None:
        self.classes_ = classes
        self._answer = answer

    def predict(self, _: Any) -> Any:
        """Labels, or values."""
        return self._answer if self.classes_ is None else self.classes_[self._answer.argmax(axis=1)]

    def predict_proba(self, _: Any) -> Any:
        """Probabilities of the classes."""
        return self._answer


def _stages(task: FitTask, estimator: Any, last: Any, learned: Rows, held: Rows) -> Iterator[Step]:
    before = estimator[:-1] if isinstance(estimator, Pipeline) and len(estimator) > 1 else None
    classes = getattr(last, "classes_", None)
    staged = last.staged_predict if classes is None else last.staged_predict_proba
    both = np.concatenate([learned.x, held.x])
    answers = list(enumerate(staged(both if before is None else before.transform(both)), start=1))
    for number, answer in answers[:: -(-len(answers) // POINTS)]:
        cut = len(learned.y)
        yield Step(
            number,
            loss_of(_Stage(classes, answer[:cut]), learned, task),
            loss_of(_Stage(classes, answer[cut:]), held, task),
        )


def _epochs(task: FitTask, fresh: Any, chosen: Part, learned: Rows, held: Rows, epochs: int) -> Iterator[Step]:
    x, y = task.train.x[chosen.start : chosen.stop], target(task, task.train.y[chosen.start : chosen.stop])
    last = fresh
    if isinstance(fresh, Pipeline):
        last = fresh[-1]
        if len(fresh) > 1:
            before = fresh[:-1].fit(x, y)
            x, learned, held = before.transform(x), _changed(before, learned), _changed(before, held)
    extra = {"classes": np.unique(y)} if task.label.task == "classification" else {}
    for number in range(1, min(int(epochs), EPOCHS) + 1):
        last.partial_fit(x, y, **extra)
        yield Step(number, loss_of(last, learned, task), loss_of(last, held, task))


def _changed(before: Any, rows: Rows) -> Rows:
    return Rows(before.transform(rows.x), rows.y)


def _curve(task: FitTask, builds: Mapping[str, Build], choice: Choice, chosen: Part, held: Rows) -> Iterator[Step]:
    rows = chosen.stop - chosen.start
    for share in SHARES:
        smaller = Part(
            chosen.stop - rows // share,
            chosen.stop,
            None if chosen.weights is None else chosen.weights[rows - rows // share :],
        )
        estimator = fit(make(task, builds, choice), task, smaller)
        learned = _sample(task.train, smaller.start, smaller.stop)
        yield Step(rows // share, loss_of(estimator, learned, task), loss_of(estimator, held, task))
