"""The pictures of a run's record: how it learned, how good it is, what it looks at. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.trainer.train.checks.candidate import Candidate
from services.trainer.train.checks.disturb import evenly
from services.trainer.train.checks.importances import Importance
from services.trainer.train.checks.losses import row_losses
from services.trainer.train.record_svg import Axes, Series, bars, chart
from services.trainer.train.score import Scores
from services.trainer.train.search import Trial
from services.trainer.train.task import FitTask, Labels

POINTS_MAX = 400  # of a line; the picture is not wider in pixels
DOTS_MAX = 500
BARS_MAX = 25
WINDOW_SHARE, WINDOW_MIN = 10, 50  # the rolling metric is over a tenth of the hold-out rows, or so many
BIN_ROWS_MIN = 25

Floats = NDArray[np.float64]


class Known(NamedTuple):
    """What the pictures are drawn from."""

    task: FitTask
    candidate: Candidate
    trials: Sequence[Trial]
    importances: Sequence[Importance]


def plots(known: Known) -> Mapping[str, str]:
    """SVG documents by file name; a picture that would be empty is absent."""
    drawn = {"holdout.svg": _holdout(known), "importances.svg": _importances(known)}
    if known.task.label.task == "classification":
        drawn["reliability.svg"] = _reliability(known)
    else:
        drawn["residuals.svg"] = _residuals(known)
    if known.candidate.history:
        drawn["loss.svg"] = _loss(known)
    if known.trials:
        drawn["trials.svg"] = _trials(known)
    return drawn


def _both(candidate: Candidate) -> list[tuple[str, str, Scores]]:
    """The champion first, so that the candidate is drawn over it."""
    both = [("candidate", "a", candidate.scores)]
    if candidate.champion_scores is not None:
        both.insert(0, ("champion", "b", candidate.champion_scores))
    return both


def _loss(known: Known) -> str:
    steps = known.candidate.history
    name = "log loss" if known.task.label.task == "classification" else "root mean squared error"
    lines = [
        Series("training rows", [(one.step, _number(one.train_loss)) for one in steps], "b", dots=2),
        Series("hold-out rows", [(one.step, _number(one.validation_loss)) for one in steps], "a", dots=2),
    ]
    return chart(Axes(f"How the loss fell: {name}", "step: trees, epochs or rows learned", "loss"), lines)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def rolling(scores: Scores, y: Labels, metric: str, window: int) -> Floats:
    """The metric over each stretch of so many rows, in order of its last row.

    >>> scores = Scores(np.array([1.0, 0.0, 1.0]), np.empty((3, 0)))
    >>> rolling(scores, np.array([1.0, 1.0, 1.0]), "accuracy", 2).tolist()
    [0.5, 0.5]
    """
    losses = np.concatenate([[0.0], np.cumsum(row_losses(scores, y, metric))])
    means: Floats = (losses[window:] - losses[:-window]) / window
    if metric == "accuracy":
        return 1.0 - means
    return np.sqrt(np.maximum(means, 0.0)) if metric == "rmse" else means


def _holdout(known: Known) -> str:
    task, rows = known.task, len(known.task.holdout.y)
    metric, window = task.gates.metric, min(rows, max(WINDOW_MIN, rows // WINDOW_SHARE))
    lines = []
    for name, look, scores in _both(known.candidate):
        values = rolling(scores, task.holdout.y, metric, window)
        at = evenly(len(values), POINTS_MAX)
        lines.append(Series(name, [(int(row) + window, float(values[row])) for row in at], look))
    title = f"{metric} over the last {window} of {rows:,} hold-out rows"
    return chart(Axes(title, "row of the hold-out, oldest first", metric, shares=metric == "accuracy"), lines)


def said_and_true(scores: Scores, y: Labels, bins: int) -> list[tuple[float, float]]:
    """Mean probability and frequency in bins with equally many rows.

    Of two classes it is the second's probability, of more that of the class that was answered.
    """
    if scores.probabilities.shape[1] == 2:
        said, true = scores.probabilities[:, 1], y == 1
    else:
        said = scores.probabilities[np.arange(len(y)), scores.values.astype(np.int64)]
        true = y == scores.values
    order = np.argsort(said, kind="stable")
    return [(float(said[part].mean()), float(true[part].mean())) for part in np.array_split(order, bins) if len(part)]


def _reliability(known: Known) -> str:
    task, y = known.task, known.task.holdout.y
    bins = max(1, min(task.gates.calibration_bins, len(y) // BIN_ROWS_MIN))
    lines = [Series("as often as said", [(0.0, 0.0), (1.0, 1.0)], "c")]
    lines += [
        Series(name, said_and_true(scores, y, bins), look, dots=4) for name, look, scores in _both(known.candidate)
    ]
    classes = task.label.classes
    what = f"probability of {classes[1]}" if len(classes) == 2 else "probability of the answer"
    title = f"Is what is said with 70 % true in 70 %? {bins} bins of {len(y):,} hold-out rows"
    return chart(Axes(title, f"{what}, as said", "share of rows in which it was so", shares=True), lines)


def _residuals(known: Known) -> str:
    y = known.task.holdout.y
    at = evenly(len(y), DOTS_MAX)
    ends = [(float(y.min()), 0.0), (float(y.max()), 0.0)] if len(y) else []
    dots = [Series("", ends, "c")]
    for name, look, scores in _both(known.candidate):
        points = [(float(y[row]), float(scores.values[row] - y[row])) for row in at]
        dots.append(Series(name, points, look, line=False, dots=2.5))
    title = f"Errors by label: {len(at):,} of {len(y):,} hold-out rows"
    return chart(Axes(title, "label", "answer less label"), dots)


def _importances(known: Known) -> str:
    ordered = sorted(known.importances, key=lambda one: -one.increase)[:BARS_MAX]
    note = "by how much the loss grows when the feature's values are shuffled among the hold-out rows"
    return bars("What the model looks at", [(one.feature, one.increase) for one in ordered], note)


def _trials(known: Known) -> str:
    gates, best = known.task.gates, math.nan
    done, so_far = [], []
    for trial in known.trials:
        if trial.value is not None:
            done.append((float(trial.number), trial.value))
            so_far.append((float(trial.number), trial.value if math.isnan(best) else best))  # a step, no slope
            best = trial.value if math.isnan(best) or gates.gain(trial.value, best) > 0 else best
            so_far.append((float(trial.number), best))
    early = [
        (float(one.number), float(np.mean(one.fold_values)))
        for one in known.trials
        if one.value is None and one.fold_values
    ]
    series = [
        Series("best so far", so_far, "c"),
        Series("ended early", early, "b", line=False, dots=3.5),
        Series("trial", done, "a", line=False, dots=4),
    ]
    failed = sum(one.state == "failed" for one in known.trials)
    title = f"The search: {len(known.trials)} trials, {failed} failed"
    axes = Axes(title, "number of the trial", f"{gates.metric} in cross-validation", shares=gates.metric == "accuracy")
    return chart(axes, series)
