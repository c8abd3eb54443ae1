"""Estimated performance: what error is to be expected of the predictions, before anybody knows the truth.

*Confidence-based* (NannyML's CBPE): a classifier's score of the class that it predicts, calibrated, is the probability
that it is right; one less that is the expected error of the event. Calibration is by isotonic regression of right
and wrong on that score, over the hold-out rows in the champion's training profile, which it was not trained on
("top-label calibration"). What is left of the probability is shared out among the other classes as their scores say,
and that gives the expected log loss.

What it sees and what not: an input that moves to where the model is less sure shows at once. It assumes that the
probability of the truth, given the score, stays what it was on the hold-out rows. If the concept itself changes, the
scores do not know, and nothing but labels can tell; no estimate without labels can (Garg et al., section 3). So
it may warn, and ask only where labels are late: see ``lateness.py``.

The expected error goes through an e-detector of its own, whatever watches the error. A regression has no scores:
nothing is estimated of it.

References:
    J. Garg, S. Balakrishnan, Z. C. Lipton, B. Neyshabur, H. Sedghi: Leveraging Unlabeled Data to Predict
    Out-of-Distribution Performance. International Conference on Learning Representations, 2022.
    C. Gupta, A. Ramdas: Top-label Calibration and Multiclass-to-binary Reductions. International Conference on Learning
    Representations, 2022.
    NannyML: Confidence-based Performance Estimation. https://nannyml.readthedocs.io/en/stable/how_it_works/
    performance_estimation.html
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from millrace.contracts.profile import Profile
from services.monitor.errors_watch import ErrorAlarm, ErrorWatch
from services.monitor.frames import Floats, Ints
from services.monitor.measure import MEASURES_PER_WINDOW, SMALLEST_SCORE, Measured
from services.monitor.policy import Policy
from services.monitor.trail import Trail

CALIBRATION_ROWS_MIN = 50  # a share of 0.1 has a standard error of 0.04 there
NORMAL_95 = 1.96
COLUMNS = ("error", "variance", "log_loss", "log_loss_variance")
VARIANCES = {"accuracy": "variance", "log_loss": "log_loss_variance"}  # of each metric the column with its variance


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probability of being right by score of the predicted class: growing steps, joined by lines."""

    scores: Floats
    shares: Floats

    @classmethod
    def of(cls, profile: Profile) -> "Calibration | None":
        """From the hold-out rows; None where they are too few or have no scores."""
        values, scores = profile.holdout_values, profile.holdout_scores
        top = _top(values, scores)
        known = np.isfinite(top) & np.isfinite(profile.holdout_labels)
        if known.sum() < CALIBRATION_ROWS_MIN:
            return None
        return cls(*isotonic(top[known], (values == profile.holdout_labels)[known].astype(np.float64)))

    def expected(self, values: Floats, scores: Floats) -> dict[str, Floats]:
        """For each prediction its expected error and log loss with their variances; NaN where there is no score."""
        top = _top(values, scores)
        right = np.where(np.isfinite(top), np.interp(top, self.scores, self.shares), np.nan)
        scores = np.where(np.isfinite(scores), np.clip(scores, 0.0, 1.0), np.nan)
        losses = -np.log(np.clip(scores, SMALLEST_SCORE, 1 - SMALLEST_SCORE))
        rest = np.maximum(1 - top, SMALLEST_SCORE)
        weights = scores * ((1 - right) / rest)[:, np.newaxis]
        rows = np.flatnonzero(np.isfinite(top))
        weights[rows, values[rows].astype(np.int64)] = right[rows]
        mean, square = _row_sums(weights * losses), _row_sums(weights * losses**2)
        spread = np.maximum(square - mean**2, 0.0)
        return {"error": 1 - right, "variance": right * (1 - right), "log_loss": mean, "log_loss_variance": spread}


def isotonic(x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Isotonic regression by pooling adjacent violators: the mean of ``x`` in each pool, and its share of ones.

    Half a one and half a zero are added to each pool (Krichevsky and Trofimov), so that no score is taken for certain.

    >>> [part.round(2).tolist() for part in isotonic(np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.0, 1.0, 0.0, 1.0]))]
    [[0.1, 0.25, 0.4], [0.25, 0.5, 0.75]]
    """
    scores, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    tied = zip(
        counts.tolist(), scores.tolist(), np.bincount(place, y).tolist(), strict=True
    )  # equal ones belong together
    pools: list[list[float]] = []  # rows, sum of x, sum of y
    for count, score, right in tied:
        pools.append([count, count * score, right])
        while len(pools) > 1 and pools[-2][2] * pools[-1][0] >= pools[-1][2] * pools[-2][0]:
            last = pools.pop()
            pools[-1] = [one + other for one, other in zip(pools[-1], last, strict=True)]
    rows, total, ones = np.array(pools).T
    return total / rows, np.maximum.accumulate((ones + 0.5) / (rows + 1))


def _top(values: Floats, scores: Floats) -> Floats:
    """The score of the predicted class; NaN where there is none."""
    classes = scores.shape[1]
    usable = (values >= 0) & (values < classes)
    if not classes:
        return np.full(len(values), np.nan)
    at = np.where(usable, values, 0).astype(np.int64)
    return np.where(usable, scores[np.arange(len(values)), at], np.nan)


def _row_sums(table: Floats) -> Floats:
    """From left to right, so that no cutting of rows changes a digit."""
    total = np.zeros(len(table))
    for column in table.T:
        total = total + column
    return total


class EstimateWatch:
    """The expected error of the champion's predictions: its detector, and its metrics by windows.

    A window is over ``metrics_window_rows`` events, measured at each fifth of that, like the metrics from labels.
    The interval is that of the truth: 95 % of such windows have an accuracy within it if the calibration holds.

    Args:
        policy: the numbers.
    """

    def __init__(self, policy: Policy) -> None:
        self._window_rows = policy.metrics_window_rows
        self._step = max(1, policy.metrics_window_rows // MEASURES_PER_WINDOW)
        self._errors = ErrorWatch(policy, policy.estimate_watcher())
        self._calibration: Calibration | None = None
        self._version = 0
        self._total = 0
        self._window = Trail(policy.metrics_window_rows)

    def begin(self, version: int, profile: Profile | None) -> str:
        """A version has become champion. Returns why nothing is estimated of it, or nothing."""
        if version == self._version:
            return ""
        self._version, self._total = version, 0
        self._window.clear()
        self._errors.begin(version, profile)
        self._calibration = Calibration.of(profile) if profile is not None else None
        if self._calibration is not None:
            return ""
        reason = (
            "it has no training profile" if profile is None else "its profile has too few hold-out rows with scores"
        )
        return f"no error is estimated: {reason}"

    def take(
        self, values: Floats, scores: Floats, times_ms: Ints, offsets: Ints
    ) -> tuple[list[tuple[int, ErrorAlarm]], list[Measured]]:
        """Take what the champion said to the next events. Returns the alarms with their places, and what is due."""
        if self._calibration is None:
            return [], []
        expected = self._calibration.expected(values, scores)
        own = np.isfinite(expected["error"])
        alarms = self._errors.take(expected["error"], own, times_ms, offsets)
        known = self._window.extend(offsets[own], times_ms[own], {name: expected[name][own] for name in COLUMNS})
        due = np.arange(self._step - self._total % self._step, int(own.sum()) + 1, self._step)  # so many of them are in
        totals, ends = self._total + due, known + due
        self._total += int(own.sum())
        return alarms, list(self._measured(totals.tolist(), ends))

    def _measured(self, totals: Sequence[int], ends: Ints) -> Iterator[Measured]:
        """The windows that end so far along the trail."""
        whole = int(np.searchsorted(ends, self._window_rows))
        for of in (*(slice(place, place + 1) for place in range(whole)), slice(whole, None)):
            if len(ends[of]):
                yield from self._measured_together(totals[of], ends[of], min(int(ends[of][0]), self._window_rows))

    def _measured_together(self, totals: Sequence[int], ends: Ints, rows: int) -> Iterator[Measured]:
        offsets, times, columns = self._window.windows(ends, rows)
        means = {name: columns[name].sum(axis=1) / rows for name in COLUMNS}
        either = {name: NORMAL_95 * np.sqrt(means[variance] / rows) for name, variance in VARIANCES.items()}
        oldest, newest = times.min(axis=1).tolist(), times.max(axis=1).tolist()
        for place, total in enumerate(totals):
            metrics = {"accuracy": 1 - float(means["error"][place])}
            # not where a row lacks the score of a class that was not answered
            if math.isfinite(means["log_loss"][place] + means["log_loss_variance"][place]):
                metrics["log_loss"] = float(means["log_loss"][place])
            yield Measured(
                version=self._version,
                offset=int(offsets[place, -1]),
                window_rows=rows,
                total_rows=total,
                until_time_ms=newest[place],
                metrics=metrics,
                source="estimate",
                from_time_ms=oldest[place],
                low={name: max(0.0, value - float(either[name][place])) for name, value in metrics.items()},
                high={name: _capped(name, value + float(either[name][place])) for name, value in metrics.items()},
            )

    def saved(self) -> dict[str, Any]:
        """All that it remembers, as plain data."""
        table = self._calibration
        return {
            "version": self._version,
            "total": self._total,
            "calibration": table and [table.scores.tolist(), table.shares.tolist()],
            "errors": self._errors.saved(),
            "window": self._window.saved(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._version, self._total = saved["version"], saved["total"]
        table = saved["calibration"]
        self._calibration = table and Calibration(np.array(table[0]), np.array(table[1]))
        self._errors.restore(saved["errors"])
        self._window.restore(saved["window"])


def _capped(name: str, value: float) -> float:
    return min(1.0, value) if name == "accuracy" else value
