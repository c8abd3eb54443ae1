"""A running summary of each feature: count, mean, spread and extremes, without keeping the rows. Pure.

Rows are gathered and folded in blocks. Means and squared deviations of blocks are combined with the pairwise update
of Chan, Golub and LeVeque, "Algorithms for computing the sample variance" (The American Statistician, 1983), which
does not lose digits the way a sum of squares does.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import FeatureProfile
from millrace.features.frames import Arrays

BLOCK_ROWS = 512


class RunningProfile:
    """Summary of the rows added so far.

    >>> profile = RunningProfile(["x"])
    >>> profile.add(np.array([[1.0], [3.0], [float("nan")]]))
    >>> [(one.name, one.mean, one.std, round(one.missing_share, 3)) for one in profile.summary()]
    [('x', 2.0, 1.0, 0.333)]
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        width = len(self._names)
        self._block: NDArray[np.float64] = np.empty((BLOCK_ROWS, width))
        self._filled = 0
        self._rows = 0
        self._count: NDArray[np.float64] = np.zeros(width)
        self._mean: NDArray[np.float64] = np.zeros(width)
        self._squares: NDArray[np.float64] = np.zeros(width)
        self._min: NDArray[np.float64] = np.full(width, np.inf)
        self._max: NDArray[np.float64] = np.full(width, -np.inf)

    def add(self, rows: NDArray[np.float64]) -> None:
        """Take in rows, shape (rows, features); NaN is a missing value. Blocks do not depend on how rows are cut."""
        taken = 0
        while taken < len(rows):
            part = rows[taken : taken + BLOCK_ROWS - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            taken += len(part)
            if self._filled == BLOCK_ROWS:
                self._fold()

    def summary(self) -> tuple[FeatureProfile, ...]:
        """The summary of each feature; zeros where nothing was seen."""
        self._fold()
        std = np.sqrt(self._squares / np.maximum(self._count, 1))
        return tuple(
            FeatureProfile(
                name=name,
                mean=float(self._mean[i]),
                std=float(std[i]),
                min=float(self._min[i]) if self._count[i] else 0.0,
                max=float(self._max[i]) if self._count[i] else 0.0,
                missing_share=1 - float(self._count[i]) / max(self._rows, 1),
            )
            for i, name in enumerate(self._names)
        )

    def parts(self) -> Arrays:
        """What is to be saved."""
        sums = np.stack([self._count, self._mean, self._squares, self._min, self._max])
        rows = np.array([self._rows], np.int64)
        return {"profile_rows": rows, "profile": sums, "profile_block": self._block[: self._filled]}

    def put(self, arrays: Arrays) -> None:
        """Take what ``parts`` gave."""
        self._rows = int(arrays["profile_rows"][0])
        self._count, self._mean, self._squares, self._min, self._max = arrays["profile"].copy()
        self._filled = len(arrays["profile_block"])
        self._block[: self._filled] = arrays["profile_block"]

    def _fold(self) -> None:
        if not self._filled:
            return
        block = self._block[: self._filled]
        present = np.isfinite(block)
        count = present.sum(axis=0)
        mean = np.where(present, block, 0).sum(axis=0) / np.maximum(count, 1)
        squares = np.where(present, (block - mean) ** 2, 0).sum(axis=0)
        total = self._count + count
        shift = mean - self._mean
        share = count / np.maximum(total, 1)
        self._squares += squares + shift**2 * self._count * share
        self._mean += shift * share
        self._count = total
        self._min = np.minimum(self._min, np.where(present, block, np.inf).min(axis=0))
        self._max = np.maximum(self._max, np.where(present, block, -np.inf).max(axis=0))
        self._rows += self._filled
        self._filled = 0
