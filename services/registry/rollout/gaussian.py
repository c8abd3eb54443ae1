"""Is a mean above a limit, for values without bounds? An asymptotic confidence sequence."""

import math

ROWS_MIN = 50  # below, a variance that was estimated is too uncertain for the normal approximation
BEST_ROWS = 200  # the mixture is tightest about here, and only slowly wider elsewhere
RHO_SQUARED = 8.8 / BEST_ROWS  # -2 log a + log(-2 log a) + 1 at a = 0.05, as Waudby-Smith and others recommend


def log_evidence(rows: int, mean: float, variance: float, limit: float) -> float:
    """Logarithm of the asymptotic e-value against "the mean is at most ``limit``".

    How it works: if the values were normal with a known variance, ``exp(l S - l² n / 2)`` would be a martingale for
    each ``l``, with ``S`` the standardised sum of what exceeds the limit; mixed over a half-normal ``l > 0`` it is in
    closed form (Robbins' normal mixture, one-sided). The strong approximation of sums by a Brownian motion makes it
    hold in the limit for values that are independent with a finite variance, estimated from the same rows, whenever
    one looks from ``ROWS_MIN`` rows on. It is a function of number, mean and variance, so of sums.

    Parameters:
        rows: how many values.
        mean: of the values.
        variance: of one value. For an estimate that is no plain mean, its own variance times ``rows``.
        limit: what the mean is said to be at most.

    Returns:
        ``log(1 / alpha)`` and above rejects; minus infinity where there are too few rows to say anything.

    >>> round(math.exp(log_evidence(100, mean=0.30, variance=1.0, limit=0.0)))
    34
    >>> log_evidence(49, mean=9.0, variance=1.0, limit=0.0)
    -inf

    References:
        H. Robbins: Statistical Methods Related to the Law of the Iterated Logarithm. Annals of Mathematical
        Statistics 41(5), 1970, pp. 1397-1409.
        I. Waudby-Smith, D. Arbour, R. Sinha, E. H. Kennedy, A. Ramdas: Time-Uniform Central Limit Theory and
        Asymptotic Confidence Sequences. Annals of Statistics 52(6), 2024, pp. 2613-2640 (first arXiv:2103.06476, 2021).
    """
    if rows < ROWS_MIN or not math.isfinite(mean) or not math.isfinite(variance):
        return -math.inf
    excess = mean - limit
    if variance <= 0:  # all values are equal: nothing is left to chance
        return math.inf if excess > 0 else -math.inf
    spread = rows * RHO_SQUARED + 1
    z = math.sqrt(RHO_SQUARED / spread) * rows * excess / math.sqrt(variance)
    tail = math.erfc(-z / math.sqrt(2)) / 2
    return math.log(2 * tail) - math.log(spread) / 2 + z * z / 2 if tail > 0 else -math.inf


def variance_of(rows: int, total: float, squares: float) -> float:
    """Variance of values by their sums; 0 where it is not more than rounding.

    >>> variance_of(4, 2.0, 2.0), variance_of(3, 0.3, 0.03)
    (0.25, 0.0)
    """
    if rows < 1:
        return 0.0
    mean_square = squares / rows
    found = mean_square - (total / rows) ** 2
    return found if found > 1e-12 * mean_square else 0.0  # the sums have some 15 digits
