"""There were rows enough to learn from, and the hold-out rows can tell good from bad."""

from collections.abc import Iterator

import numpy as np

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (
    About("enough-rows", (), "a model of too few rows (the limit is what the project trains on)"),
    About("both-classes", (), "a hold-out of one class, on which every metric is empty (classification)"),
)


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:  # noqa: ARG001  # all checks are called alike
    """Labelled rows against what the project asks for; of a classification the classes in the hold-out."""
    rows = len(task.train.y) + len(task.holdout.y)
    message = f"{rows} labelled rows of the current feature set, the project asks for {task.rows_min}"
    yield CheckResult(
        name="enough-rows", passed=rows >= task.rows_min, value=rows, limit=task.rows_min, message=message
    )
    if task.label.task == "classification":
        seen = len(np.unique(task.holdout.y))
        message = f"{seen} classes occur in the hold-out; with fewer than 2 its metrics tell nothing"
        yield CheckResult(name="both-classes", passed=seen >= 2, value=seen, limit=2.0, message=message)
