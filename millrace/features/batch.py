"""Features of all entities of a partition, a whole run of rows at a time.

The same as feeding ``online.EntityFeatures`` row by row, bit for bit, however the rows are cut into runs: a property
test holds this. How it works:

- A run is sorted by entity, stably, so that each entity's rows lie together in log order. Per field, each entity's
  kept values and then its new ones are laid out in one flat array. What lies ``k`` rows back is then ``k`` places back.
- What an entity has not seen yet is NaN, which is also what a missing value is. So nothing needs a mask: a lag reads
  NaN, a mean and a share skip it.
- A share counts, and counts of whole numbers are exact in any order: it is a difference of two cumulative counts.
- A mean adds from the newest value to the oldest, one place back at a time, over all rows at once. Never replace this
  by ``sum`` or ``add.reduce``: they add in pairs, in an order that depends on the shape of the batch.

**Memory.** One row of an array per entity and field, as long as the longest look-back. Rows grow by doubling as
histories do, for all entities together: a look-back of 100,000 costs nothing until some entity has that many rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import FeatureSpec
from millrace.features.memory import Kept, Memory
from millrace.features.online import NAN, look_back
from millrace.features.run import Run
from millrace.features.series import Scratch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LABEL = ""  # the name of the one series that labels have; no field can be called this
CELLS_MAX = 1 << 20  # values laid out at once, 8 MB; longer runs are cut, which changes nothing but the memory used


class FeatureState:
    """The memory of all entities of one partition.

    >>> from millrace.contracts.feature_spec import Difference, LabelLag
    >>> specs = (Difference(name="d", kind="difference", field="x"), LabelLag(name="l", kind="label_lag"))
    >>> state = FeatureState(specs)
    >>> state.advance(
    ...     is_label=np.array([False, True, False]),
    ...     entity=state.codes(["a", "a", "a"]),
    ...     fields={"x": np.array([1.0, 1.5])},
    ...     labels=np.array([1.0]),
    ... ).tolist()
    [[nan, nan], [0.5, 1.0]]
    """

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        fields, labels = look_back(specs)
        self._width = len(specs)
        self._codes = _Codes()
        scratch = Scratch()
        self._events = Memory(
            [Kept(name, rows - 1, _numbered(specs, name), scratch) for name, rows in fields.items()]
        )  # one less, since the present value comes with the row
        self._labels = Memory([Kept(LABEL, labels, _numbered(specs, LABEL), scratch)] if labels else [])
        self._rows_max = max(1, CELLS_MAX // max(1, labels, *fields.values()))

    def codes(self, entities: Sequence[str]) -> Ints:
        """The code of each entity, as ``advance`` wants it; an entity never seen before gets the next free one."""
        return np.fromiter(map(self._codes.__getitem__, entities), np.int64, len(entities))

    def advance(self, is_label: Mask, entity: Ints, fields: Mapping[str, Floats], labels: Floats) -> Floats:
        """Take in a run of rows, events and labels mixed, in log order; returns the features of its events.

        Args:
            is_label: for each row, whether it is a label (else it is an event).
            entity: for each row, the code of its entity, as ``codes`` of this state gave it.
            fields: for each field that ``look_back`` names, one value per event of the run; NaN if missing.
            labels: one value per label of the run.

        Returns:
            One row per event, in the order of the run; one column per feature, in the order of their definitions.
        """
        found = np.empty((len(entity) - len(labels), self._width))
        event = label = 0
        for start in range(0, len(entity), self._rows_max):
            part = slice(start, start + self._rows_max)
            run = Run(is_label[part], entity[part])
            events = slice(event, event + len(run.events.order))
            known = slice(label, label + len(run.labels.order))
            values = {kept.name: fields[kept.name][events] for kept in self._events.series}
            self._advance(run, values, labels[known], found[events])
            event, label = events.stop, known.stop
        return found

    def _advance(self, run: "Run", fields: Mapping[str, Floats], labels: Floats, found: Floats) -> None:
        known = len(self._codes)
        columns = np.empty((self._width, len(run.events.order)))
        with np.errstate(all="ignore"):  # infinities may meet, and 0 / 0 is how a mean of nothing becomes NaN
            self._events.advance(run, run.events, fields, known, columns)
            self._labels.advance(run, run.labels, {LABEL: labels}, known, columns)
        columns[np.isnan(columns)] = NAN  # a NaN has many bit patterns; here it has one
        found[run.events.order] = columns.T


def _numbered(specs: Sequence[FeatureSpec], series: str) -> list[tuple[int, FeatureSpec]]:
    """The features of one series, each with its column."""
    return [(column, spec) for column, spec in enumerate(specs) if getattr(spec, "field", LABEL) == series]


class _Codes(dict[str, int]):
    """Entity to code. Looking up an entity that is not there gives it the next code."""

    def __missing__(self, entity: str) -> int:
        self[entity] = code = len(self)
        return code
