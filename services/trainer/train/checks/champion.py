"""How sure it is that the candidate is better than the champion, and was not lucky in its hold-out rows.

Whether the gain is large enough is the registry's rule (``gates.margin``). Here the question is whether it is there at
all: the two models answered the same rows, so that the differences of their losses, row by row, are tested for a mean
above 0, one-sided. The confidence is 1 less the p-value.

- The rows are a time series: a model that is wrong now is often wrong in the next row too, and so may the differences
  be. So the variance of their mean is Newey and West's, with Bartlett weights over the square root of n lags, and the
  mean is held against the normal distribution. Tried on two equally good models, 500 rows: of 1,000 pairs 19 % reach a
  confidence of 0.8 if each row stands for itself, 22 % if the faults come in runs of 10 rows, 26 % in runs of 20. With
  the usual ``4 * (n / 100) ** (2 / 9)`` lags it was 18 %, 28 % and 38 %.
- Of accuracy the differences are -1, 0 and 1, mostly 0, and with few of them the normal distribution is a guess. So the
  exact sign test on the rows on which just one of the two is right (McNemar's, exact) is made as well, and the lower
  confidence of the two counts: the one guards against dependence, the other against few rows.

The default of 0.8 comes from electricity: candidate and champion on 642 pairs of windows, hold-outs of 500 rows. Of the
candidates with a gain of 0.005 or more, 19 % were worse than the champion over the next 1,000 rows, of those that also
have a confidence of 0.8, 15 %; and the loop loses nothing that can be told from noise (90.1 % either way when ADWIN
asks). At 0.95 it loses 0.3 points, and at 0.99 0.5, because honest gains of one or two points are refused.
Few hold-out rows cannot tell much: of the candidates that were better by 3 points over the next 1,000 rows, 94 % reach
0.8 and the margin on 500 hold-out rows (97 % the margin alone), on 200 rows 72 % (90 %), on 100 rows 64 % (89 %).

References: Newey and West, Econometrica 55 (1987) 703; Diebold and Mariano, JBES 13 (1995) 253; McNemar, Psychometrika
12 (1947) 153.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

from millrace.contracts.events import CheckResult
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.losses import row_losses
from services.trainer.train.task import FitTask

ABOUT = (About("beats-champion", ("confidence",), "a gain over the champion that is luck"),)
Differences = NDArray[np.float64]


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The confidence that the candidate is better, where there is a champion."""
    limit, metric, y = task.gates.confidence, task.gates.metric, task.holdout.y
    if limit is None or candidate.champion_scores is None:
        return
    gains = row_losses(candidate.champion_scores, y, metric) - row_losses(candidate.scores, y, metric)
    gains = gains[np.isfinite(gains)]
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    seen = confidence(gains, exact=metric == "accuracy")
    message = (
        f"{metric} {candidate.metrics[metric]:.4g}, the champion's {candidate.champion_metrics[metric]:.4g}; better on "
        f"{better} of {len(y)} rows, worse on {worse}: confidence {seen:.3f} that this is no luck, {limit:g} is needed"
    )
    if seen < limit:
        message += "; the champion stays until more rows tell: raise training.holdout_rows, or lower gates.confidence"
    yield CheckResult(name="beats-champion", passed=seen >= limit, value=seen, limit=limit, message=message)


def confidence(gains: Differences, *, exact: bool) -> float:
    """How sure it is that the mean of these differences is above 0; ``exact`` if they are -1, 0 and 1.

    >>> confidence(np.tile([1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0], 20), exact=True) > 0.95
    True
    """
    if not gains.any():
        return 0.0
    found = float(ndtr(gains.mean() / np.sqrt(variance_of_mean(gains)))) if np.ptp(gains) else float(gains[0] > 0)
    return min(found, sign_test(gains)) if exact else found


def sign_test(gains: Differences) -> float:
    """1 less the chance of so many gains among the rows that differ, if each were the toss of a coin."""
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    return 1.0 - float(betainc(better, worse + 1, 0.5)) if better else 0.0


def variance_of_mean(values: Differences) -> float:
    """Newey and West's. Where it comes out below a tenth of what independent rows would have, that tenth."""
    rows = len(values)
    rest: Any = values - values.mean()
    plain = rest @ rest / rows
    total = plain
    lags = min(math.isqrt(rows), rows - 1)
    for lag in range(1, lags + 1):
        total += 2 * (1 - lag / (lags + 1)) * (rest[lag:] @ rest[:-lag]) / rows
    return float(max(total, plain / 10) / rows)
