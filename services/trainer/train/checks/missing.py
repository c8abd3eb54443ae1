"""A value that is missing now and then does little harm."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.disturb import Sample, generator, sample, verdict
from services.trainer.train.score import Scores, score
from services.trainer.train.task import FitTask

ABOUT = (
    About(
        "robust-missing", ("robustness.missing", "robustness.missing_drop_max"), "a model that fails where values do"
    ),
)
STREAM = 2


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The drop of the metric when a share of the values is taken away.

    A model may be unable to score a row with a missing value. Where values really are missing in the task's rows that
    counts against it; where none is, these rows are left out, and the message says so.
    """
    rule = task.gates.robustness
    limit = rule.missing_drop_max
    if limit is None or not rule.missing:
        return
    rows = sample(task, candidate)
    taken = generator(task, STREAM).random(rows.x.shape) < rule.missing
    after = score(candidate.artifact, np.where(taken, np.float32(np.nan), rows.x), len(task.label.classes))
    how = f"with {rule.missing:.3g} of the values missing"
    able = np.isfinite(after.values) & np.isfinite(after.probabilities).all(axis=1)
    advice = "impute missing values in the pipeline, or raise gates.robustness.missing_drop_max"
    if not able.all():
        how += f" (of {int((~able).sum())} rows there is no score)"
        if _occurs(task):  # no score is a wrong answer; of a number there is none, so the metric is no number either
            said = np.where(able, after.values, -1.0) if task.label.classes else after.values
            after = Scores(said, np.where(able[:, None], after.probabilities, 0.0))
        else:
            rows, after = _only(rows, able), _scores(after, able)
            how += ", these left out because no value is missing in the task's rows"
    if not len(rows.y):
        message = f"no row has a score {how}; impute missing values in the pipeline to be safe"
        yield CheckResult(name="robust-missing", passed=True, value=0.0, limit=limit, message=message)
        return
    yield verdict(task, "robust-missing", limit, rows, after, how, advice)


def _occurs(task: FitTask) -> bool:
    return bool(np.isnan(task.train.x).any() or np.isnan(task.holdout.x).any())


def _only(rows: Sample, which: NDArray[np.bool_]) -> Sample:
    return Sample(rows.x[which], rows.y[which], _scores(rows.scores, which))


def _scores(scores: Scores, which: NDArray[np.bool_]) -> Scores:
    return Scores(scores.values[which], scores.probabilities[which])
