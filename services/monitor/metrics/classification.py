"""Metrics of classes: of what was answered, and of the scores."""

from collections.abc import Callable

import numpy as np

from services.monitor.metrics.auc import area, in_order
from services.monitor.metrics.intervals import (
    Bools,
    Estimate,
    Floats,
    Ints,
    by_influence,
    like_a_share,
    mean,
    normal,
    wilson,
)

TWO = 2
SMALLEST_SCORE = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss: no infinite loss
BIN_ROWS_MIN = 50  # of a bin of the calibration error, as in the trainer's check: with fewer the frequency is noise


def classification(
    labels: Floats, values: Floats, scores: Floats, windows: Ints, classes: int, bins: int
) -> dict[str, Estimate]:
    """Accuracy, F1, kappa and, where there are scores, log loss, AUC and calibration error of each window.

    - ``f1`` is that of the second class of two; of more, the plain mean over the classes that occur (macro).
    - ``kappa`` is Cohen's.
    - ``auc`` is the area under the ROC curve; of more than two classes the plain mean of each against the rest.
    - ``ece`` is the expected calibration error over ``bins`` bins with equally many rows, fewer if they would have less
      than 50: as the trainer's check defines it. Its interval takes the bins, and where each is wrong, as given.

    Args:
        labels: class indexes of n rows.
        values: answered class indexes, likewise.
        scores: of the shape (n, classes), with no class where the model gives none.
        windows: which of the n rows are in each, one after the other; of the shape (windows, rows).
        classes: that there are; at least as many as there are scores are taken.
        bins: at most so many for the calibration error.
    """
    count, rows = windows.shape
    right = (labels == values)[windows].sum(axis=1) / rows
    found = {"accuracy": wilson(right, np.full(count, float(rows)))}
    classes = max(TWO, classes, scores.shape[1])
    inside = np.asarray((np.minimum(labels, values) >= 0) & (np.maximum(labels, values) < classes))
    found |= _where(inside, windows, lambda of: _of_confusion(labels, values, of, classes))
    if scores.shape[1] >= TWO:
        scored = np.asarray(np.isfinite(scores).all(axis=1))
        found |= _where(scored, windows, lambda of: _of_scores(labels, values, scores, of, bins))
    return found


def _where(usable: Bools, windows: Ints, measure: Callable[[Ints], dict[str, Estimate]]) -> dict[str, Estimate]:
    """What is measured of windows with usable rows only, and NaN for the others: one takes nothing from another."""
    if usable.all():
        return measure(windows)
    defined = np.asarray(usable[windows].all(axis=1))
    if not defined.any():
        return {}
    found = measure(windows[defined])
    spread = {name: [np.full(len(defined), np.nan) for _ in each] for name, each in found.items()}
    for name, each in found.items():
        for whole, part in zip(spread[name], each, strict=True):
            whole[defined] = part
    return {name: Estimate(*ends) for name, ends in spread.items()}


def _of_scores(labels: Floats, values: Floats, scores: Floats, windows: Ints, bins: int) -> dict[str, Estimate]:
    """What follows from how sure the model was."""
    classes = scores.shape[1]
    truth = _classes(labels, classes)
    if classes == TWO:
        said, true = np.ascontiguousarray(scores[:, 1]), truth == 1
    else:
        said, true = scores[np.arange(len(scores)), _classes(values, classes)], labels == values
    order = in_order(said, windows)
    bins = max(1, min(bins, windows.shape[1] // BIN_ROWS_MIN))
    return {
        "log_loss": mean(log_losses(truth, scores)[windows], 0.0),
        "ece": _calibration((said - true)[order], bins),
        "auc": area(truth, scores, windows, order if classes == TWO else None),
    }


def _classes(numbers: Floats, classes: int) -> Ints:
    """The numbers as class indexes; what is none as the next one that is."""
    return np.clip(numbers, 0, classes - 1).astype(np.int64)


def log_losses(truth: Ints, scores: Floats) -> Floats:
    """The loss of each row's scores, clipped as scikit-learn does."""
    score = scores[np.arange(len(truth)), truth]
    return -np.log(np.clip(score, SMALLEST_SCORE, 1.0 - SMALLEST_SCORE))


def _of_confusion(labels: Floats, values: Floats, windows: Ints, classes: int) -> dict[str, Estimate]:
    """What follows from how often each class was answered with each."""
    count, rows = windows.shape
    cells = _classes(labels, classes) * classes + _classes(values, classes)
    places = cells[windows] + (np.arange(count) * classes**2)[:, None]
    counts = np.bincount(places.ravel(), minlength=count * classes**2)
    shares = counts.reshape(count, classes, classes) / rows
    return {"f1": _f1(shares, rows), "kappa": _kappa(shares, rows)}


def _f1(shares: Floats, rows: int) -> Estimate:
    hits = np.diagonal(shares, axis1=1, axis2=2)
    both = shares.sum(axis=1) + shares.sum(axis=2)
    judged = both > 0
    if shares.shape[1] == TWO:
        judged = judged & np.array([False, True])
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(judged, 2 * hits / both, 0.0)
        number = judged.sum(axis=1)
        weight = np.where(judged, 1 / both / number[:, None], 0.0)
        value = each.sum(axis=1) / number
        pull = each * weight
        influence = -(pull[:, :, None] + pull[:, None, :])
        classes = np.arange(shares.shape[1])
        influence[:, classes, classes] += 2 * weight
        rarest = np.where(judged, both, np.inf).min(axis=1) * rows / 2
    variance = (shares * np.square(influence)).sum(axis=(1, 2)) / rows
    return like_a_share(value, variance, np.maximum(rarest, 1.0))


def _kappa(shares: Floats, rows: int) -> Estimate:
    true, said = shares.sum(axis=2), shares.sum(axis=1)
    agreed = np.diagonal(shares, axis1=1, axis2=2).sum(axis=1)
    chance = (true * said).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = (agreed - chance) / (1 - chance)
        at_random = said[:, :, None] + true[:, None, :] - 2 * chance[:, None, None]
        slope = ((1 - agreed) / np.square(1 - chance))[:, None, None]
        same = np.eye(shares.shape[1])[None, :, :]
        influence = (same - agreed[:, None, None]) / (1 - chance)[:, None, None] - slope * at_random
    variance = (shares * np.square(influence)).sum(axis=(1, 2)) / rows
    return normal(np.where(chance < 1, value, np.nan), variance, -1.0, 1.0)


def _calibration(gaps: Floats, bins: int) -> Estimate:
    """From what was said less what was true, by what was said."""
    rows = gaps.shape[1]
    sizes = np.full(bins, rows // bins) + (np.arange(bins) < rows % bins)  # as numpy.array_split
    sums = np.add.reduceat(gaps, np.cumsum(sizes) - sizes, axis=1)
    value = np.abs(sums).sum(axis=1) / rows
    influence = gaps * np.repeat(np.sign(sums), sizes, axis=1) - value[:, None]
    return by_influence(value, influence, 0.0, 1.0)
