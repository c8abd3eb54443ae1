"""Tables of counts in two samples: cells, and tests whose p-values can be trusted where they are tiny."""

from typing import Any

import numpy as np
from scipy import special

from services.monitor.detect.window import Floats, Ints, finite

CELLS = 10  # equal shares of the reference rows, as scorecards are watched by
VALUES_MAX = 20  # a feature of no more distinct values is discrete: each value is a cell
ROWS_PER_VALUE_MIN = 10  # on average; fewer rows than that say nothing about being discrete
EXPECTED_MIN = 5  # rows expected in a cell of the smaller sample; the usual rule for chi-square tests


def values_of(reference: Floats) -> Floats | None:
    """The distinct values of a discrete feature, or None if it is continuous.

    >>> values_of(np.array([0.0, 1.0, 2.0] * 10)).tolist()
    [0.0, 1.0, 2.0]
    >>> values_of(np.arange(30.0)) is None
    True
    """
    known = finite(reference)
    values = np.unique(known)
    discrete = len(values) <= VALUES_MAX and len(known) >= ROWS_PER_VALUE_MIN * len(values)
    return values if discrete and len(values) else None


def edges_of(reference: Floats, cells: int = CELLS) -> Floats:
    """Inner edges of cells: between the values of a discrete feature, else at equal shares of the reference rows.

    >>> edges_of(np.array([0.0, 1.0, 3.0] * 10)).tolist()
    [0.5, 2.0]
    """
    known = finite(reference)
    if not len(known):
        return np.empty(0)
    values = values_of(known)
    if values is not None and len(values) > 1:
        return (values[1:] + values[:-1]) / 2
    if values is not None:  # a constant: below it, it, above it
        return np.array([np.nextafter(values[0], -np.inf), values[0]])
    return np.unique(np.quantile(known, np.arange(1, cells) / cells, method="inverted_cdf"))


def counted(edges: Floats, values: Floats) -> Ints:
    """How many of the finite values lie in each cell; one at an edge belongs to the lower cell.

    >>> counted(np.array([1.0, 2.0]), np.array([0.5, 1.0, 5.0, np.nan])).tolist()
    [2, 0, 1]
    """
    ordered = np.sort(finite(values))  # then there are few edges to look up, not many values: five times as fast
    counts = np.empty(len(edges) + 1, np.int64)
    counts[:-1] = np.searchsorted(ordered, edges, side="right")
    counts[-1] = len(ordered)
    counts[1:] -= counts[:-1].copy()
    return counts


def merged(reference: Ints, counts: Ints) -> tuple[Floats, Floats]:
    """Both samples as tables of equal shape, line by line, with rare cells put together in a last one.

    A cell is rare where fewer than ``EXPECTED_MIN`` rows of the smaller sample are expected in it.
    """
    n, m = reference.sum(), counts.sum(axis=1, keepdims=True)
    pooled = reference + counts
    rare = pooled * np.minimum(n, m) < EXPECTED_MIN * np.maximum(n + m, 1)
    before = np.broadcast_to(reference, counts.shape)
    tables = [
        np.column_stack([np.where(rare, 0, table), np.where(rare, table, 0).sum(axis=1)]) for table in (before, counts)
    ]
    return tables[0].astype(float), tables[1].astype(float)


def pearson(before: Floats, after: Floats) -> tuple[Floats, Ints]:
    """Pearson's statistic of homogeneity of each pair of lines, and its degrees of freedom."""
    n, m, pooled, some = _margins(before, after)
    expected = pooled * m / np.maximum(n + m, 1)
    scale = np.where(n > 0, (n + m) / np.maximum(n, 1), 0.0)[:, 0]
    statistic = np.divide((after - expected) ** 2, expected, out=np.zeros_like(after), where=expected > 0).sum(axis=1)
    return statistic * scale, np.maximum(some.sum(axis=1) - 1, 0)


def likelihood_ratio(before: Floats, after: Floats) -> tuple[Floats, Ints]:
    """The likelihood ratio's statistic G of homogeneity of each pair of lines, and its degrees of freedom."""
    n, m, pooled, some = _margins(before, after)
    shares = pooled / np.maximum(n + m, 1)
    shares = np.where(some, shares, 1.0)
    total = special.xlogy(before, before / np.maximum(n * shares, 1e-300))
    total += special.xlogy(after, after / np.maximum(m * shares, 1e-300))
    return 2 * np.maximum(total.sum(axis=1), 0.0), np.maximum(some.sum(axis=1) - 1, 0)


def homogeneity(reference: Ints, counts: Ints, statistic: Floats | None = None, freedom: int = 0) -> Floats:
    """The p-value that each line of ``counts`` is from the distribution of the reference.

    The larger of two: that of Pearson's statistic (or of another that is chi-square without a change) and that of the
    likelihood ratio. Where few rows are expected, Pearson's is far too small in the tail: for 20 rows where 5 were
    expected it is 2e-11, and the truth 8e-8. The exponent of the likelihood ratio is the true one (Sanov).

    References:
        W. Hoeffding: Asymptotically Optimal Tests for Multinomial Distributions. Annals of Mathematical Statistics
        36 (2), 1965, pp. 369-401.
    """
    before, after = merged(reference, counts)
    chi, cells = pearson(before, after) if statistic is None else (statistic, np.full(len(counts), freedom))
    ratio, some = likelihood_ratio(before, after)
    p_values = np.maximum(_tail(chi, cells), _tail(ratio, some))
    return np.where((reference.sum() > 0) & (counts.sum(axis=1) > 0), p_values, 1.0)


def many_drawn(hits: int, drawn: int, marked: int, total: int) -> float:
    """Probability of at least so many marked rows among the drawn ones, if they are drawn blindly (Fisher's test).

    >>> round(many_drawn(2, drawn=2, marked=2, total=4), 4)  # 1 of 6 pairs
    0.1667
    """
    least, most = max(hits, drawn + marked - total, 0), min(marked, drawn)
    if hits <= max(drawn + marked - total, 0):
        return 1.0
    if least > most:
        return 0.0
    at = np.arange(least, most + 1)
    log = _log_choose(marked, at) + _log_choose(total - marked, drawn - at) - _log_choose(total, drawn)
    return float(min(1.0, np.exp(log).sum()))


def _log_choose(n: int, k: Any) -> Any:
    return special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)


def _margins(before: Floats, after: Floats) -> tuple[Floats, Floats, Floats, Any]:
    pooled = before + after
    return before.sum(axis=1, keepdims=True), after.sum(axis=1, keepdims=True), pooled, pooled > 0


def _tail(statistic: Floats, freedom: Any) -> Floats:
    """Probability of a chi-square variable above it; 1 without any freedom."""
    tail: Floats = np.where(freedom > 0, special.chdtrc(np.maximum(freedom, 1), statistic), 1.0)
    return tail
