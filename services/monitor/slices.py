"""Parts of the rows that are measured by themselves: by one feature each, as ``monitors.slices`` declares them.

A row belongs to the part that the features of its *event* say, under the champion of that time. Parts have the names
that the trainer's check of slices gives them, and features are rounded as the model takes them, so that what is
measured here can be held against what was checked there. ``bins: 4``, parts with equally many rows, takes its edges
from the training rows of the champion; without a profile of those there are no such parts.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contracts.gates_policy import Slice
from millrace.contracts.profile import Profile
from services.monitor.frames import Rows

Codes = npt.NDArray[np.int32]
Profiles = Callable[[int], Profile | None]
NO_PART = -1
EDGES_KEPT = 16  # champions whose edges are remembered; there is one at a time


class Slicer:
    """Says which part each row is in, as a number that stands for the part's name.

    Args:
        slices: what is declared.
        profiles: the training profile of a version, if there is one.
    """

    def __init__(self, slices: Sequence[Slice] = (), profiles: Profiles = lambda _: None) -> None:
        self.slices = tuple(slices)
        self._profiles = profiles
        self._names: list[str] = []
        self._codes: dict[str, int] = {}
        self._parts: dict[tuple[int, int], tuple[npt.NDArray[np.float32], Codes]] = {}

    def name(self, code: int) -> str:
        """The part's name."""
        return self._names[code]

    def codes(self, rows: Rows) -> Codes:
        """For each row and slice the part that the row is in; ``NO_PART`` for labels, and for features unknown here."""
        codes = np.full((len(rows), len(self.slices)), NO_PART, np.int32)
        for place, declared in enumerate(self.slices):
            column = rows.features.get(declared.feature)
            if column is None:
                continue
            edges, parts = self._edges(place, rows.champion)
            if len(parts):
                codes[:, place] = parts[_place(declared, edges, column)]
        codes[rows.is_label] = NO_PART
        return codes

    def _edges(self, place: int, champion: int) -> tuple[npt.NDArray[np.float32], Codes]:
        """Where the parts end, or their values; and the code of each part, the one without the feature last."""
        declared = self.slices[place]
        by_champion = isinstance(declared.bins, int)
        key = (place, champion if by_champion else 0)
        if key not in self._parts:
            while len(self._parts) >= EDGES_KEPT * len(self.slices):
                del self._parts[next(iter(self._parts))]
            profile = self._profiles(champion) if by_champion else None
            column = None if profile is None else profile.features.get(declared.feature)
            edges = edges_of(declared, column)
            names = [] if edges is None else names_of(declared, edges)
            empty = np.empty(0, np.float32)
            self._parts[key] = (
                empty if edges is None else edges,
                np.array([self._code(one) for one in names], np.int32),
            )
        return self._parts[key]

    def _code(self, name: str) -> int:
        if name not in self._codes:
            self._codes[name] = len(self._names)
            self._names.append(name)
        return self._codes[name]

    def saved(self) -> dict[str, Any]:
        """The names behind the numbers."""
        return {"names": list(self._names)}

    def restore(self, saved: dict[str, Any]) -> None:
        """Give the numbers the meaning that they had."""
        self._names = list(saved["names"])
        self._codes = {name: code for code, name in enumerate(self._names)}
        self._parts.clear()


def edges_of(declared: Slice, column: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float32] | None:
    """The edges between the parts, or the values that make one each; None where they would need training rows.

    >>> edges_of(Slice(feature="x", bins=2), np.array([1.0, 2.0, 3.0, float("nan")])).tolist()
    [2.0]
    """
    if declared.values:
        return np.sort(np.asarray(declared.values, np.float32))
    if not isinstance(declared.bins, int):
        return np.asarray(declared.bins, np.float32)
    known = np.empty(0, np.float32) if column is None else _as_the_model_takes(column)
    known = known[np.isfinite(known)]
    if not len(known):
        return None
    shares = np.arange(1, declared.bins) / declared.bins
    return np.unique(np.quantile(known, shares)).astype(np.float32)


def names_of(declared: Slice, edges: npt.NDArray[np.float32]) -> list[str]:
    """The parts' names, in the order of ``_place``.

    >>> names_of(Slice(feature="x", bins=(0.5,)), np.array([0.5], np.float32))
    ['-inf < x <= 0.5', '0.5 < x <= inf', 'x missing']
    >>> names_of(Slice(feature="x", values=(0, 1)), np.array([0, 1], np.float32))
    ['x = 0', 'x = 1', 'x another value', 'x missing']
    """
    name = declared.feature
    if declared.values:
        said = _written(edges, 6)
        return [*(f"{name} = {value}" for value in said), f"{name} another value", f"{name} missing"]
    ends = ["-inf", *_written(edges, 4), "inf"]
    return [*(f"{low} < {name} <= {high}" for low, high in itertools.pairwise(ends)), f"{name} missing"]


def _as_the_model_takes(column: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite there, for the model too
        return column.astype(np.float32)


def _written(numbers: npt.NDArray[np.float32], digits: int) -> list[str]:
    """With as few digits as tell them apart."""
    while True:
        said = [f"{number:.{digits}g}" for number in numbers.tolist()]
        if len(set(said)) == len(said) or digits > 17:  # more digits than a double has
            return said
        digits += 1


def _place(declared: Slice, edges: npt.NDArray[np.float32], column: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """The number of each value's part: an upper edge belongs to the part below it."""
    values = _as_the_model_takes(column)
    place = np.searchsorted(edges, values, side="left").astype(np.int64)
    if declared.values:
        known = edges[np.minimum(place, len(edges) - 1)] == values
        place = np.where(known, place, len(edges))
    return np.where(np.isnan(values), len(edges) + 1, place)
