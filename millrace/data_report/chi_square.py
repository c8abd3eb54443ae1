"""Pearson's chi-square test of homogeneity: whether two sets of counts may be of one distribution."""

import math

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
EXPECTED_MIN = 5.0  # Cochran's rule; categories below it are counted as one
TERMS = 10_000
ENOUGH = 1e-15


def chance(counts: Counts, reference: Counts) -> float:
    """How likely counts at least as different are, if both come from one distribution and rows are independent.

    Categories that are expected fewer than five times on either side are counted together, as the approximation by
    chi-square asks for. 1 where fewer than two categories are left, or either side has no rows.

    Parameters:
        counts: rows of each category now.
        reference: rows of each category of what it is compared with.

    >>> round(chance(np.array([30, 70]), np.array([50, 50])), 4), chance(np.array([5, 5]), np.array([50, 50]))
    (0.0039, 1.0)

    References:
        K. Pearson: On the Criterion that a Given System of Deviations … Philosophical Magazine 50, 1900, pp. 157-175.
        W. G. Cochran: Some Methods for Strengthening the Common Chi-square Tests. Biometrics 10, 1954, pp. 417-451.
    """
    table = np.stack([counts, reference]).astype(np.float64)
    if not table.sum(axis=1).all():
        return 1.0
    share = table.sum(axis=1, keepdims=True) / table.sum()
    rare = (table.sum(axis=0) * share).min(axis=0) < EXPECTED_MIN
    if rare.any():
        table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    expected = table.sum(axis=0) * share
    used = expected.min(axis=0) > 0
    table, expected = table[:, used], expected[:, used]
    if table.shape[1] < 2:
        return 1.0
    return upper_tail(float(((table - expected) ** 2 / expected).sum()), table.shape[1] - 1)


def upper_tail(statistic: float, free: int) -> float:
    """The chance that chi-square with so many degrees of freedom exceeds the statistic.

    It is the regularised upper incomplete gamma function Q(free / 2, statistic / 2): by its series below the mean, by
    its continued fraction (Lentz) above it.

    >>> round(upper_tail(3.841459, 1), 4)
    0.05

    References:
        M. Abramowitz, I. A. Stegun: Handbook of Mathematical Functions. 1964, 6.5.29, 6.5.31 and 26.4.
        W. J. Lentz: Generating Bessel Functions in Mie Scattering Calculations Using Continued Fractions. Applied
        Optics 15, 1976, pp. 668-671.
    """
    a, x = free / 2, statistic / 2
    if x <= 0:
        return 1.0
    front = math.exp(a * math.log(x) - x - math.lgamma(a))
    if x < a + 1:
        return min(1.0, max(0.0, 1 - front * _series(a, x)))
    return min(1.0, front * _fraction(a, x))


def _series(a: float, x: float) -> float:
    term = total = 1 / a
    for n in range(1, TERMS):
        term *= x / (a + n)
        total += term
        if term < ENOUGH * total:
            break
    return total


def _fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c, d = math.inf, 1 / b
    value = d
    for n in range(1, TERMS):
        step = -n * (n - a)
        b += 2
        d = 1 / (step * d + b)
        c = b + step / c
        value *= c * d
        if abs(c * d - 1) < ENOUGH:
            break
    return value
