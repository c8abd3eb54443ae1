"""Domain classifier: can the window's rows be told from the reference rows, all features together?"""

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy import special, stats
from threadpoolctl import ThreadpoolController

from services.monitor.detect.window import LEVEL, Comparison, Floats, Kind, WindowDetector, effective_rows

FAR = 4.0  # deviations from the mean at which a value is cut, so that one broken row does not rule the classifier
PAIRS_MAX = 30  # features up to which products of two are looked at: 495 columns
ROWS_MIN = 20  # of a window; with fewer there is nothing to learn from
FOLDS = 2


class DomainClassifier(WindowDetector):
    """A classifier two-sample test, for whole rows; sees what no feature shows alone, such as a changed correlation.

    Half of the reference and half of the window train Fisher's linear discriminant between the two, on the features,
    their squares and (up to ``PAIRS_MAX`` features) their products. The other halves are scored by it. Then the halves
    change places. The statistic is the mean area under the ROC curve of the two: 0.5 means that nobody can tell, 1 that
    everybody can.

    The p-value: a classifier that was trained on other rows is a fixed function, so that without a change the scored
    rows are in random order, and Mann-Whitney's test of them is valid. That is why nothing is trained on what is
    scored. The two p-values depend on each other; twice the smaller is valid whatever the dependence (Bonferroni). It
    assumes independent rows. A change that such a discriminant cannot express is not seen.

    Missing values count as the feature's mean: the missing rate is another detector's.

    Parameters:
        reference: rows of the reference, one column for each feature.
        level: p-value that the threshold stands for, 0 to 1.
        seed: of the division of the reference into halves.

    >>> import numpy as np
    >>> rng = np.random.default_rng(7)
    >>> reference, window = rng.normal(size=(2000, 2)), rng.normal(size=(500, 2))
    >>> window[:, 1] = 0.6 * window[:, 0] + 0.8 * window[:, 1]  # each feature alone is as before
    >>> found = DomainClassifier(reference).judge(window)
    >>> round(found.statistic, 3), round(found.threshold, 3), float(f"{found.p_value:.0e}")
    (0.651, 0.567, 5e-14)

    References:
        R. A. Fisher: The Use of Multiple Measurements in Taxonomic Problems. Annals of Eugenics 7 (2), 1936,
        pp. 179-188.
        J. H. Friedman: On Multivariate Goodness-of-Fit and Two-Sample Testing. SLAC-PUB-10325, 2003.
        D. Lopez-Paz, M. Oquab: Revisiting Classifier Two-Sample Tests. ICLR 2017.
    """

    name: ClassVar[str] = "domain_classifier"
    kind: ClassVar[Kind] = "rows"

    def __init__(self, reference: npt.NDArray[Any], level: float = LEVEL, seed: int = 7) -> None:
        self._level, self._seed = level, seed
        rows = np.where(np.isfinite(reference), reference, np.nan)
        self._known = np.isfinite(rows).any(axis=0)
        self._centre, self._unit = np.zeros(rows.shape[1]), np.ones(rows.shape[1])
        self._centre[self._known] = np.nanmean(rows[:, self._known], axis=0)
        self._unit[self._known] = np.nanstd(rows[:, self._known], axis=0)
        self._unit[self._unit == 0] = 1.0
        wide = self._widened(rows)
        dealt = np.random.default_rng(seed).permutation(len(wide))
        self._halves = [wide[dealt[::FOLDS]], wide[dealt[1::FOLDS]]]
        with _one_thread():
            self._moments = [_moments(half) for half in self._halves]

    @property
    def parameters(self) -> Mapping[str, float]:
        """The parameters by name, for the evidence."""
        return {"level": self._level, "seed": self._seed}

    def judge(self, values: npt.NDArray[Any]) -> Comparison:
        """Compare these rows with the reference. Every second of them is in the same half."""
        reference, window = sum(map(len, self._halves)), len(values)
        if min(reference, window) < ROWS_MIN:
            return Comparison(0.5, 1.0, 1.0, reference, window)
        areas, p_values = zip(*(_area(*scores) for scores in self._folds(values)), strict=True)
        spread = np.sqrt(1 / (12 * effective_rows(reference / FOLDS, window / FOLDS)))
        return Comparison(
            statistic=float(np.mean(areas)),
            threshold=float(min(1.0, 0.5 - special.ndtri(self._level / FOLDS) * spread)),
            p_value=min(1.0, FOLDS * min(p_values)),
            reference_rows=reference,
            window_rows=window,
        )

    def scores(self, values: npt.NDArray[Any]) -> tuple[Floats, Floats]:
        """How much each reference row and each window row looks like the window, in deviations; for the evidence."""
        folds = self._folds(values)
        return np.concatenate([before for before, _ in folds]), np.concatenate([after for _, after in folds])

    def shares(self, values: npt.NDArray[Any]) -> Floats:
        """The part of each feature in what tells window from reference, 0 to 1; for the evidence.

        It is the part of its columns in the discriminant's distance of the two means; that of a product is shared.
        """
        wide = self._widened(np.asarray(values, float))
        mean, spread = _moments(np.concatenate(self._halves))
        apart = wide.mean(axis=0) - mean
        parts = np.abs(_discriminant((mean, spread), len(mean), wide) * apart)
        owners = self._owners()
        found = np.array([parts[(owners == feature).any(axis=0)].sum() for feature in range(len(self._centre))])
        shares: Floats = found / max(found.sum(), 1e-300)
        return shares

    def _folds(self, values: npt.NDArray[Any]) -> list[tuple[Floats, Floats]]:
        """Scores of reference and window rows by the classifier of the other halves, for both halves."""
        wide = self._widened(np.asarray(values, float))
        window, folds = [wide[::FOLDS], wide[1::FOLDS]], []
        for here, other in ((0, 1), (1, 0)):
            with _one_thread():
                weights = _discriminant(self._moments[other], len(self._halves[other]), window[other])
            before, after = self._halves[here] @ weights, window[here] @ weights
            centre, unit = before.mean(), before.std() or 1.0
            folds.append(((before - centre) / unit, (after - centre) / unit))
        return folds

    def _widened(self, rows: Floats) -> Floats:
        """The rows in deviations, with squares and products."""
        known = np.where(np.isfinite(rows), rows, self._centre)
        one = np.clip((known - self._centre) / self._unit, -FAR, FAR)
        first, second = self._pairs()
        return np.concatenate([one, one[:, first] * one[:, second]], axis=1)

    def _pairs(self) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Which features are multiplied."""
        count = len(self._centre)
        return np.triu_indices(count) if count <= PAIRS_MAX else (np.arange(count), np.arange(count))

    def _owners(self) -> npt.NDArray[Any]:
        """For each column the one or two features that it is made of."""
        alone = np.arange(len(self._centre))
        return np.concatenate([np.stack([alone, alone]), np.stack(self._pairs())], axis=1)


@functools.cache
def _threads() -> Any:
    """The thread pools of the libraries that multiply matrices."""
    return ThreadpoolController()


def _one_thread() -> Any:
    """For so small matrices more threads wait for each other, ten times as long."""
    return _threads().limit(limits=1)


def _moments(rows: Floats) -> tuple[Floats, Floats]:
    """Mean and covariance."""
    mean: Floats = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    apart = rows - mean
    return mean, apart.T @ apart / max(len(rows), 1)  # of one and the same table, which takes half as long


def _discriminant(reference: tuple[Floats, Floats], rows: int, window: Floats) -> Floats:
    """Fisher's direction, with a ridge that is larger the fewer rows there are for each column."""
    (mean, spread), (mean_after, spread_after) = reference, _moments(window)
    pooled = (rows * spread + len(window) * spread_after) / (rows + len(window))
    scale = np.diag(pooled) + 1e-9
    ridge = len(mean) / max(len(window), 1)
    direction = np.linalg.solve(pooled + np.diag(ridge * scale), mean_after - mean)
    return direction.astype(np.float64, copy=False)


def _area(before: Floats, after: Floats) -> tuple[float, float]:
    """The area under the ROC curve of the scores, and its p-value for being above 0.5, with ties (Mann-Whitney)."""
    n, m = len(before), len(after)
    ranks = stats.rankdata(np.concatenate([before, after]))
    area = (float(ranks[n:].sum()) - m * (m + 1) / 2) / (n * m)
    variance = float(ranks.var(ddof=1)) / (n * m * (n + m))
    return area, float(special.ndtr((0.5 - area) / np.sqrt(variance))) if variance > 0 else 1.0
