"""The area under the ROC curve, with the variance of DeLong, DeLong and Clarke-Pearson (1988).

The area is the chance that a row of the class scores higher than a row of the rest, ties counting half. Each row's
*structural component* is the share of the others' rows that it is on the right side of; the area is their mean, and the
variance follows from how they scatter. One sort of the scores gives all of them (Sun and Xu, 2014). Of more than two
classes the area is the plain mean of each class against the rest, and so is what each row adds to it.

References:
    DeLong, E. R., DeLong, D. M., Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach. Biometrics 44.
    Sun, X., Xu, W. (2014). Fast implementation of DeLong's algorithm for comparing the areas under correlated receiver
    operating characteristic curves. IEEE Signal Processing Letters 21.
"""

import numpy as np

from services.monitor.metrics.intervals import Bools, Estimate, Floats, Ints, like_a_share, variance_of

TWO = 2
SMALL_RANKS = np.iinfo(np.int16).max


def area(labels: Ints, scores: Floats, windows: Ints, order: Ints | None = None) -> Estimate:
    """The area of each window; NaN where one of the classes does not occur.

    Args:
        labels: class indexes of n rows.
        scores: of the shape (n, classes).
        windows: which of the n rows are in each, one after the other; of the shape (windows, rows).
        order: the same by the score of the second class of two, if that is known already.
    """
    count, rows = windows.shape
    classes = scores.shape[1]
    judged = [1] if classes == TWO else list(range(classes))
    value, influence, rarest = np.zeros(count), np.zeros((count, rows)), np.full(count, float(rows))
    for each in judged:
        column = np.ascontiguousarray(scores[:, each])
        ordered = in_order(column, windows) if order is None else order
        part, pull, least = _against_rest((labels == each)[ordered], column[ordered])
        if len(judged) > 1:
            by_score, pull = pull, np.empty_like(pull)
            np.put_along_axis(pull, ordered - windows[:, :1], by_score, 1)
        value += part / len(judged)
        influence += pull / len(judged)
        rarest = np.minimum(rarest, least)
    return like_a_share(value, variance_of(influence), np.maximum(rarest, 1.0))


def in_order(numbers: Floats, windows: Ints) -> Ints:
    """The rows of each window, from the smallest number to the largest, equal ones as they came.

    All numbers are sorted once. Windows have many rows in common, and to sort small ranks is cheap.
    """
    rank = np.empty(len(numbers), np.int16 if len(numbers) <= SMALL_RANKS else np.int64)
    rank[np.argsort(numbers, kind="stable")] = np.arange(len(numbers))
    return np.take_along_axis(windows, np.argsort(rank[windows], axis=1, kind="stable"), 1)


def _against_rest(positive: Bools, ranked: Floats) -> tuple[Floats, Floats, Floats]:
    """The area, what each row adds to it, and how many rows the rarer side has.

    Args:
        positive: which rows are of the class, by their scores; of the shape (windows, rows).
        ranked: the scores.
    """
    windows, rows = positive.shape
    until = np.zeros((windows, rows + 1), np.int64)  # positives before each place
    np.cumsum(positive, axis=1, out=until[:, 1:])
    positives = until[:, -1:]
    negatives = rows - positives
    if (ranked[:, 1:] == ranked[:, :-1]).any():
        doubled = _with_ties(positive, ranked, until)
    else:  # the usual case, and the same numbers
        doubled = 2 * np.where(positive, np.arange(rows) - until[:, :-1], positives - until[:, :-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(positive, doubled, 0).sum(axis=1) / (2 * positives * negatives)[:, 0]
        component = doubled / np.where(positive, 2 * negatives, 2 * positives)
        influence = (component - value[:, None]) * (rows / np.where(positive, positives, negatives))
    defined = (positives > 0) & (negatives > 0)
    return (
        np.where(defined[:, 0], value, np.nan),
        np.where(defined, influence, np.nan),
        np.minimum(positives, negatives)[:, 0].astype(np.float64),
    )


def _with_ties(positive: Bools, ranked: Floats, until: Ints) -> Ints:
    """Twice the number of the others' rows that each row is on the right side of, a tie counting half."""
    rows = ranked.shape[1]
    begins = np.ones(ranked.shape, bool)
    np.not_equal(ranked[:, 1:], ranked[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)  # of rows with an equal score, counted through all windows
    size = np.diff(first, append=ranked.size)
    window = first // rows
    below, through = until.ravel()[[first + window, first + size + window]]  # a window has one place more than rows
    of_positive = 2 * (first - window * rows) + size - below - through
    of_negative = 2 * until[window, -1] - below - through
    doubled = np.where(positive.ravel(), np.repeat(of_positive, size), np.repeat(of_negative, size))
    return doubled.reshape(ranked.shape)
