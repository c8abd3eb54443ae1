"""What is said with 70 % certainty is true in about 70 % of the rows."""

from collections.abc import Iterator

import numpy as np

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.score import Scores
from services.trainer.train.task import FitTask, Labels

ABOUT = (About("calibration", ("calibration_max", "calibration_bins"), "probabilities that do not mean what they say"),)
ROWS_MIN = 50  # of a bin; with fewer the frequency is noise, so fewer bins are made


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The expected calibration error on the hold-out rows, of a classification."""
    limit, bins = task.gates.calibration_max, task.gates.calibration_bins
    if limit is None or task.label.task != "classification":
        return
    rows = len(task.holdout.y)
    bins = max(1, min(bins, rows // ROWS_MIN))
    error = expected_error(candidate.scores, task.holdout.y, bins)
    message = f"probabilities are off by {error:.3g} on average, in {bins} bins of {rows} rows"
    message += f", allowed {limit:g}"
    if not error <= limit:
        message += "; wrap the estimator in CalibratedClassifierCV, or train on rows that are more alike"
    value = error if np.isfinite(error) else 1.0
    yield CheckResult(name="calibration", passed=error <= limit, value=value, limit=limit, message=message)


def expected_error(scores: Scores, y: Labels, bins: int) -> float:
    """The mean distance, over bins with equally many rows, between what was said and how often it was so.

    Of two classes it is the second's probability, of more that of the class that was answered. A model without fault
    has about ``0.8 * sqrt(p * (1 - p) / rows in a bin)``: 0.04 for bins of 50 rows.

    >>> half = Scores(np.ones(4), np.full((4, 2), 0.5))
    >>> expected_error(half, np.array([0.0, 1.0, 1.0, 1.0]), 1)
    0.25
    """
    rows = np.arange(len(y))
    if scores.probabilities.shape[1] == 2:
        said, true = scores.probabilities[:, 1], y == 1
    else:
        said, true = scores.probabilities[rows, scores.values.astype(np.int64)], y == scores.values
    order = np.argsort(said, kind="stable")
    parts = np.array_split(order, bins)
    return float(sum(abs(said[part].mean() - true[part].mean()) * len(part) for part in parts) / len(y))
