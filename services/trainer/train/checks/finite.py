"""Every score is a number."""

from collections.abc import Iterator

import numpy as np

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (About("finite-scores", (), "answers that are no numbers"),)


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:  # noqa: ARG001  # all checks are called alike
    """Hold-out rows with a value or a probability that is no finite number; none is allowed."""
    scores = candidate.scores
    bad = ~np.isfinite(scores.values) | ~np.isfinite(scores.probabilities).all(axis=1)
    count = float(bad.sum())
    message = f"{count:.0f} of {len(bad)} rows have a score that is no number"
    yield CheckResult(name="finite-scores", passed=not count, value=count, limit=0.0, message=message)
