"""The samples of a micro-batch, by the column. Pure."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


class Samples:
    """The samples of a micro-batch, one row each, in log order.

    ``columns`` has the fields of SampleRecorded; ``offsets`` are theirs, in the partition that they were read from.
    """

    def __init__(self, columns: Any, offsets: Sequence[int] | NDArray[np.int64]) -> None:
        self.columns = columns
        self.offsets = np.asarray(offsets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def is_event(self) -> NDArray[np.bool_]:
        """Which rows are events; the others are labels."""
        return cast("NDArray[np.bool_]", as_numpy(pc.equal(self.columns.column("kind"), "EVENT")))

    def foreign(self, feature_set: str) -> list[int]:
        """Rows of events that were computed with another feature set."""
        other = as_numpy(pc.not_equal(self.columns.column("feature_set"), feature_set))
        return np.flatnonzero(self.is_event & other).tolist()

    def misshapen(self, width: int) -> list[int]:
        """Rows of events that do not have as many features as their feature set."""
        lengths = as_numpy(pc.list_value_length(self.columns.column("features")))
        return np.flatnonzero(self.is_event & (lengths != width)).tolist()

    def take(self, rows: Sequence[int] | NDArray[np.intp], *names: str) -> "Samples":
        """These rows only, and these columns only if any is named."""
        columns = self.columns.select(list(names)) if names else self.columns
        places = np.asarray(rows, dtype=np.int64)
        return Samples(columns.take(pa.array(places)), self.offsets[places])

    def events(self) -> "Samples":
        """The events only."""
        if self.is_event.all():
            return self
        return Samples(self.columns.filter(pa.array(self.is_event)), self.offsets[self.is_event])

    def features(self, width: int) -> NDArray[np.float64]:
        """Features of the events, shape (events, width). Only for samples of which none is misshapen."""
        flat = self.columns.column("features").flatten()  # a label has none
        return cast("NDArray[np.float64]", as_numpy(flat)).reshape(-1, width)


def as_numpy(column: Any) -> NDArray[Any]:
    """An Arrow column as an array, copied only where it must be."""
    return cast("NDArray[Any]", column.to_numpy(zero_copy_only=False))
