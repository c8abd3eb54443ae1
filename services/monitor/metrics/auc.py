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
import numpy.typing as npt

from services.monitor.metrics.intervals import Estimate, Floats, like_a_share, variance_of

Ints = npt.NDArray[np.int64]
TWO = 2


def area(labels: Ints, scores: Floats, order: Ints | None = None) -> Estimate:
    """The area of each window; NaN where one of the classes does not occur.

    Args:
        labels: class indexes, of the shape (windows, rows).
        scores: of the shape (windows, rows, classes).
        order: what sorts the scores of the second class of two, if it is known already.
    """
    windows, rows, classes = scores.shape
    judged = [1] if classes == TWO else list(range(classes))
    value, influence, rarest = np.zeros(windows), np.zeros((windows, rows)), np.full(windows, float(rows))
    for each in judged:
        own = labels == each
        column = np.ascontiguousarray(scores[:, :, each])
        sorting = np.argsort(column, axis=1, kind="stable") if order is None else order
        part, pull, least = _against_rest(own, column, sorting)
        value += part / len(judged)
        influence += pull / len(judged)
        rarest = np.minimum(rarest, least)
    return like_a_share(value, variance_of(influence), np.maximum(rarest, 1.0))


def _against_rest(own: npt.NDArray[np.bool_], scores: Floats, order: Ints) -> tuple[Floats, Floats, Floats]:
    """The area, what each row adds to it, and how many rows the rarer side has."""
    windows, rows = scores.shape
    positive = np.take_along_axis(own, order, 1)
    ranked = np.take_along_axis(scores, order, 1)
    until = np.zeros((windows, rows + 1), np.int64)  # positives before each place
    np.cumsum(positive, axis=1, out=until[:, 1:])
    positives = until[:, -1:]
    negatives = rows - positives
    places = np.arange(rows)
    if (ranked[:, 1:] == ranked[:, :-1]).any():
        doubled = _with_ties(positive, ranked, until)
    else:  # the usual case, and the same numbers
        doubled = 2 * np.where(positive, places - until[:, :-1], positives - until[:, :-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(positive, doubled, 0).sum(axis=1) / (2 * positives * negatives)[:, 0]
        component = doubled / np.where(positive, 2 * negatives, 2 * positives)
        pull = (component - value[:, None]) * rows / np.where(positive, positives, negatives)
    influence = np.empty_like(pull)
    np.put_along_axis(influence, order, pull, 1)
    defined = (positives > 0) & (negatives > 0)
    return (
        np.where(defined[:, 0], value, np.nan),
        np.where(defined, influence, np.nan),
        np.minimum(positives, negatives)[:, 0].astype(np.float64),
    )


def _with_ties(positive: npt.NDArray[np.bool_], ranked: Floats, until: Ints) -> Ints:
    """Twice the number of the others' rows that each row is on the right side of, a tie counting half."""
    rows = ranked.shape[1]
    places = np.arange(rows)
    begins = np.ones(ranked.shape, bool)
    begins[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.maximum.accumulate(np.where(begins, places, 0), axis=1)  # of the rows with an equal score
    ends = np.ones(ranked.shape, bool)
    ends[:, :-1] = begins[:, 1:]
    last = np.minimum.accumulate(np.where(ends, places, rows)[:, ::-1], axis=1)[:, ::-1]
    below, through = np.take_along_axis(until, first, 1), np.take_along_axis(until, last + 1, 1)
    return np.where(positive, first - below + last + 1 - through, 2 * until[:, -1:] - below - through)
