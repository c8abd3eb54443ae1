"""Which training rows are like one row, and whether it is like any of them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
COMPARED_ROWS = 500  # training rows whose own nearest neighbour is looked up, for comparison


@dataclass(frozen=True, slots=True)
class Neighbours:
    """``places`` are rows of the training sample, nearest first, ``distances`` how far each is.

    ``stranger_than`` is the share of training rows that have a neighbour nearer than this row has: 0.5 is usual, 0.99
    says that the training rows have hardly anything like it.
    """

    places: npt.NDArray[np.int64]
    distances: Floats
    stranger_than: float


def nearest(row: Floats, training: Floats, count: int = 3) -> Neighbours:
    """The training rows next to a row, by the mean difference of features in units of their spread.

    The distance of two rows is the mean over the features of the difference divided by the feature's interquartile
    range in the training rows (its range where that is 0), at most 1 for each feature, and 1 where one of them is
    missing: Gower's similarity with robust scales. Features that never vary say nothing unless the row differs there.

    Parameters:
        row: of the features, shape (features,).
        training: a sample of training rows, shape (rows, features), at least two.
        count: how many are asked for.

    Raises:
        ValueError: shapes that do not fit.

    >>> import numpy as np
    >>> training = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]])
    >>> found = nearest(np.array([1.1, 1.0]), training, count=2)
    >>> found.places.tolist(), found.distances.round(3).tolist()
    ([1, 2], [0.025, 0.475])

    References:
        J. C. Gower: A general coefficient of similarity and some of its properties. Biometrics 27 (4), 1971.
    """
    if training.ndim != 2 or training.shape[1] != len(row) or len(training) < 2:
        raise ValueError(f"training rows of shape {training.shape} do not fit a row of {len(row)} features")
    scale = _scale(training)
    distances = _distances(row, training, scale)
    places = np.argsort(distances, kind="stable")[:count]
    at = np.linspace(0, len(training) - 1, min(COMPARED_ROWS, len(training))).round().astype(np.int64)
    usual = np.array([np.delete(_distances(training[place], training, scale), place).min() for place in at])
    return Neighbours(places, distances[places], float((usual < distances[places[0]]).mean()))


def _scale(training: Floats) -> Floats:
    """Of each feature; tiny where it never varies, so that any other value is as far as can be."""
    present = [column[~np.isnan(column)] for column in training.T]
    spread = [float(np.subtract(*np.percentile(values, [75, 25]))) if len(values) else 0.0 for values in present]
    whole = [float(np.ptp(values)) if len(values) else 0.0 for values in present]
    return np.array([one or other or np.finfo(np.float64).tiny for one, other in zip(spread, whole, strict=True)])


def _distances(row: Floats, training: Floats, scale: Floats) -> Floats:
    with np.errstate(over="ignore"):
        far = np.minimum(np.abs(training - row) / scale, 1.0)
    both = np.isnan(training) & np.isnan(row)
    found: Floats = np.where(both, 0.0, np.where(np.isnan(far), 1.0, far)).mean(axis=1)
    return found
