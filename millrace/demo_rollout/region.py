"""Where a hold-out is blind: stretches of a feature's values that the newest rows avoid and later ones have. Pure.

A model can be perfect on every row that anybody has checked and still fail on the first one that is different. The demo
knows the future of its data set, so it can place a fault exactly there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EDGE = 1e6  # in place of infinity: the extreme values that serving tries out lie beyond
TRIED = (0.0, 1.0)  # serving tries these out too, before it loads a model


@dataclass(frozen=True, slots=True)
class Band:
    """Values of one feature (its column) strictly between ``low`` and ``high``."""

    column: int
    low: float
    high: float

    def of(self, features: Floats) -> NDArray[np.bool_]:
        """Which rows lie in it."""
        inside: NDArray[np.bool_] = (features[:, self.column] > self.low) & (features[:, self.column] < self.high)
        return inside


def blind_bands(checked: Floats, later: Floats, columns: Sequence[int], most: int) -> list[Band]:
    """Up to ``most`` bands without a checked row, each the one that adds most of the later rows.

    Args:
        checked: features of the rows on which a candidate is judged, shape (rows, features).
        later: features of rows that come after them.
        columns: which features may be used.
        most: how many bands at most.

    >>> checked, later = np.array([[0.5], [1.0], [2.0]]), np.array([[0.7], [1.2], [1.5], [1.7]])
    >>> blind_bands(checked, later, [0], 1)
    [Band(column=0, low=1.0, high=2.0)]
    """
    bands: list[Band] = []
    left = later
    for _ in range(most):
        found = [_widest(checked, left, column) for column in columns]
        share, band = max(found, key=lambda one: one[0], default=(0.0, None))
        if band is None or share <= 0.0:
            break
        bands.append(band)
        left = left[~band.of(left)]
    return bands


def inside(bands: Sequence[Band], features: Floats) -> NDArray[np.bool_]:
    """Which rows lie in any of the bands."""
    found = np.zeros(len(features), dtype=np.bool_)
    for band in bands:
        found |= band.of(features)
    return found


def _widest(checked: Floats, later: Floats, column: int) -> tuple[float, Band | None]:
    """The gap between two neighbouring checked values that most of the later rows lie in, as a share of them."""
    seen = np.unique([*checked[:, column], *TRIED])
    edges = np.concatenate([[-EDGE], seen[np.isfinite(seen)], [EDGE]])
    values = later[:, column]
    values = values[np.isfinite(values) & ~np.isin(values, seen)]
    if not len(values):
        return 0.0, None
    counts, _ = np.histogram(values, bins=edges)
    at = int(counts.argmax())
    return float(counts[at]) / len(later), Band(column, float(edges[at]), float(edges[at + 1]))
