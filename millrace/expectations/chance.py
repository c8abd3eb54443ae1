"""How likely a window of arriving rows is, if it is like the training rows: exact tails and bounds. Pure.

None of them takes the training rows for the truth. Few of them say little, and that is in the chance already.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TILTS = np.geomspace(1e-3, 60.0, 60)  # where the bound of ``chance_of_unseen`` is tried; each of them holds
ENOUGH = 1e-17  # of the sum so far: what follows is lost in a float


def chance_of_more(count: int, rows: int, known_count: int, known_rows: int) -> float:
    """The chance that at least ``count`` of ``rows`` have a property, if ``known_count`` of ``known_rows`` had it.

    Fisher's exact test, one-sided: given how many of all the rows have the property, those of the window are a draw
    without replacement, and the tail of the hypergeometric distribution is the chance. It needs no estimate of the
    share, so a share of 0 needs no smoothing. Assumes rows that are independent of one another. 1 where the window has
    no more of them than the known rows.

    >>> round(chance_of_more(5, 500, 0, 1000), 5)  # the first five of their kind
    0.00406

    References:
        R. A. Fisher: The Logic of Inductive Inference. Journal of the Royal Statistical Society 98, 1935, pp. 39-82.
    """
    if count <= 0 or count * known_rows <= known_count * rows:
        return 1.0
    both, others = count + known_count, rows + known_rows - count - known_count
    first = _log_choose(both, count) + _log_choose(others, rows - count) - _log_choose(rows + known_rows, rows)
    total = term = 1.0
    for more in range(count, min(both, rows)):
        term *= (both - more) * (rows - more) / ((more + 1) * (others - rows + more + 1))
        total += term
        if term < ENOUGH * total:
            break
    return min(1.0, math.exp(first) * total)


def chance_of_fewer(count: int, expected: float) -> float:
    """The chance of at most ``count`` events where ``expected`` are expected: the lower tail of Poisson's distribution.

    Assumes events that come independently of one another. 1 where there are no fewer than expected.

    >>> round(chance_of_fewer(2, 10.0), 6)
    0.002769

    References:
        F. Garwood: Fiducial Limits for the Poisson Distribution. Biometrika 28, 1936, pp. 437-442.
    """
    if count >= expected:
        return 1.0
    if count < 0:
        return 0.0
    total = term = 1.0
    for fewer in range(count, 0, -1):
        term *= fewer / expected
        total += term
        if term < ENOUGH * total:
            break
    return min(1.0, math.exp(count * math.log(expected) - expected - math.lgamma(count + 1)) * total)


def chance_of_unseen(counts: Sequence[int], seen_counts: Sequence[int], rows: int, known_rows: int) -> float:
    """At most how likely it is that so many rows of a window have categories that no known row had.

    Which categories are unseen is only known after the known rows were seen, so testing each against a share of 0
    would cry wolf wherever there are many rare ones. Instead: if window and known rows are alike, then any ``rows`` of
    all the rows together might as well be the window. A category with c rows in all is unseen exactly if all c fall
    into the window, which has a chance of C(all - c, rows - c) / C(all, rows). The numbers of rows in a draw without
    replacement are negatively associated, so the moments of their sum are at most those of independent ones, and
    Chernoff's bound holds for it. Where many texts are rare, many new ones are nothing, but a single one that comes
    again and again is: so the largest is looked at by itself too (the sum of the chances of all that are as large),
    and twice the smaller of both chances is the answer, because either may raise the alarm.

    Parameters:
        counts: rows of each unseen category in the window.
        seen_counts: of every other category, its rows in the window and the known rows together.
        rows: rows of the window.
        known_rows: rows of training.

    >>> round(chance_of_unseen([5], [995, 500], 500, 1000), 5)  # twice what Fisher's test says
    0.00812
    >>> chance_of_unseen([1] * 5, [1] * 995, 500, 1000)  # where a thousand categories came once, five are nothing
    1.0

    References:
        K. Joag-Dev, F. Proschan: Negative Association of Random Variables, with Applications. Annals of Statistics 11,
        1983, pp. 286-295.
        H. Chernoff: A Measure of Asymptotic Efficiency for Tests of a Hypothesis Based on the Sum of Observations.
        Annals of Mathematical Statistics 23, 1952, pp. 493-507.
    """
    fitting = [each for each in (*counts, *seen_counts) if 0 < each <= rows]  # a larger one cannot be unseen
    if not counts:
        return 1.0
    sizes, times = np.unique(np.array(fitting, np.int64), return_counts=True)
    log_unseen = np.array([_log_all_inside(int(size), rows, rows + known_rows) for size in sizes])
    with np.errstate(divide="ignore"):
        log_other = np.log(-np.expm1(np.minimum(log_unseen, 0.0)))  # -inf where it is certain
    tilted: NDArray[np.float64] = np.logaddexp(log_other[:, None], log_unseen[:, None] + np.outer(sizes, TILTS))
    all_together = math.exp(min(0.0, float((times @ tilted - sum(counts) * TILTS).min())))
    as_large = sizes >= max(counts)
    the_largest = float(times[as_large] @ np.exp(log_unseen[as_large]))
    return min(1.0, 2 * all_together, 2 * the_largest)


def _log_all_inside(size: int, rows: int, all_rows: int) -> float:
    return _log_choose(all_rows - size, rows - size) - _log_choose(all_rows, rows)


def _log_choose(of: int, count: int) -> float:
    return math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)
