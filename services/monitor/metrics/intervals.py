"""95 % intervals of metrics over the rows of a window.

They say how sure the metric is if the window's rows are independent draws of one population: rows that depend on one
another (the same entity again, one busy hour) make them too narrow, and a drift inside the window has no one value.

- A **proportion** (accuracy, and what lies between 0 and 1 like one: F1, AUC) has Wilson's score interval. For F1 and
  AUC the number of rows in it is the effective one, ``p (1 - p) / variance`` (Korn and Graubard), where the variance is
  that of the delta method; where that is 0 because nothing was wrong (or right), the rows that could have been.
- A **mean** (log loss, MAE, MAPE) has ``mean ± 1.96 s / sqrt(n)``.
- Any **smooth function of means** (RMSE, R2, kappa, F1, AUC, ECE within its bins) has the variance of the mean of its
  influence values, which is the delta method, or infinitesimal jackknife (Efron). For AUC those are DeLong's structural
  components, for kappa they give the variance of Fleiss, Cohen and Everitt.

References:
    Wilson, E. B. (1927). Probable inference, the law of succession, and statistical inference. JASA 22.
    Korn, E. L., Graubard, B. I. (1998). Confidence intervals for proportions with small expected number of positive
    counts estimated from survey data. Survey Methodology 24.
    Efron, B. (1982). The Jackknife, the Bootstrap and Other Resampling Plans. SIAM.
    DeLong, E. R., DeLong, D. M., Clarke-Pearson, D. L. (1988). Comparing the areas under two or more correlated
    receiver operating characteristic curves: a nonparametric approach. Biometrics 44.
    Fleiss, J. L., Cohen, J., Everitt, B. S. (1969). Large sample standard errors of kappa and weighted kappa.
    Psychological Bulletin 72.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Z = 1.959963984540054  # 97.5 % of a standard normal distribution lie below


class Estimate(NamedTuple):
    """A metric of each window with the ends of its interval; NaN where it is not defined."""

    value: Floats
    low: Floats
    high: Floats


def wilson(share: Floats, rows: Floats) -> Estimate:
    """The interval of a share of so many rows, which need not be a whole number.

    >>> [round(float(end[0]), 4) for end in wilson(np.array([1.0]), np.array([100.0]))]
    [1.0, 0.963, 1.0]
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (share + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
        half = Z / (1 + Z**2 / rows) * np.sqrt(np.maximum(share * (1 - share), 0) / rows + Z**2 / (4 * rows**2))
    return Estimate(share, np.clip(middle - half, 0.0, share), np.clip(middle + half, share, 1.0))


def like_a_share(share: Floats, variance: Floats, rows_at_most: Floats) -> Estimate:
    """The same for what lies between 0 and 1, with its variance.

    ``rows_at_most`` stand for it where the variance is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        effective = share * (1 - share) / variance
    return wilson(share, np.where(np.isfinite(effective) & (effective > 0), effective, rows_at_most))


def normal(value: Floats, variance: Floats, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """The interval of what is normally distributed with this variance, within its range."""
    half = Z * np.sqrt(np.maximum(variance, 0.0))
    return Estimate(value, np.maximum(value - half, least), np.minimum(value + half, most))


def mean(numbers: Floats, least: float = -np.inf) -> Estimate:
    """The mean of each row of numbers."""
    rows = numbers.shape[1]
    middle = numbers.mean(axis=1)
    variance = np.square(numbers - middle[:, None]).sum(axis=1) / max(1, rows - 1) / rows
    return normal(middle, variance, least)


def by_influence(value: Floats, influence: Floats, least: float = -np.inf, most: float = np.inf) -> Estimate:
    """A smooth function of means, with what each of its rows adds to it."""
    return normal(value, variance_of(influence), least, most)


def variance_of(influence: Floats) -> Floats:
    """The variance of the mean of each row of influence values, whose mean is 0."""
    variance: Floats = np.square(influence).sum(axis=1) / influence.shape[1] ** 2
    return variance
