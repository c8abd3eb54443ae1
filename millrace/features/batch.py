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


What does not fit this is elsewhere: windows over time, and all aggregates but mean and share, in ``windows.py``; what
needs one or two numbers of an entity in ``scalars.py``; what needs no memory in ``direct.py``; how entities expire in
``entities.py``.

**Memory.** One row of an array per entity and field, as long as the longest look-back. Rows grow by doubling as
histories do, for all entities together: a look-back of 100,000 costs nothing until some entity has that many rows.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.feature_spec import (
    Ewm,
    FeatureSpec,
    Function,
    OfLabels,
    OfWindow,
    RollingMean,
    RollingShare,
    TimeSince,
    feature_set_id,
)
from millrace.features.definitions import NAN
from millrace.features.direct import apply_functions, direct, needs_no_memory
from millrace.features.entities import Entities
from millrace.features.frames import CHUNK_BYTES, Arrays, Meta, pack, refused, unpack
from millrace.features.functions import NONE, Functions
from millrace.features.inputs import Inputs
from millrace.features.memory import Kept, Memory
from millrace.features.online import EXPIRY_ROWS, look_back
from millrace.features.run import Run
from millrace.features.scalars import Scalars
from millrace.features.series import Scratch
from millrace.features.windows import Windows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

LABEL = ""  # the name of the one series that labels have; no field can be called this
CELLS_MAX = 1 << 20  # values laid out at once, 8 MB; longer runs are cut, which changes nothing but the memory used


class FeatureState:
    """The memory of all entities of one partition.

    Args:
        specs: the features.
        expire_after_s: how far an entity's newest event may fall behind the partition's before it is forgotten; see
            ``online.PartitionFeatures``. None is for ever.
        functions: the owner's functions, as ``load_functions`` gives them.
        expiry_rows: rows of the partition between two looks for expired entities.

    >>> from millrace.contracts.feature_spec import Difference, LabelLag
    >>> specs = (Difference(name="d", kind="difference", field="x"), LabelLag(name="l", kind="label_lag"))
    >>> state = FeatureState(specs)
    >>> state.advance(
    ...     is_label=np.array([False, True, False]),
    ...     entity=state.codes(["a", "a", "a"]),
    ...     fields={"x": np.array([1.0, 1.5])},
    ...     labels=np.array([1.0]),
    ...     time_ms=np.array([0, 30, 60]),
    ... ).tolist()
    [[nan, nan], [0.5, 1.0]]
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        expire_after_s: float | None = None,
        functions: Functions = NONE,
        expiry_rows: int = EXPIRY_ROWS,
    ) -> None:
        self._specs = tuple(specs)
        self._functions = functions
        self._expiry = (expire_after_s, expiry_rows)
        numbered = list(enumerate(self._specs))
        self._direct = [(column, spec) for column, spec in numbered if needs_no_memory(spec)]
        self._has_functions = any(isinstance(spec, Function) for spec in self._specs)
        self._of_windows = [
            (column, spec) for column, spec in numbered if isinstance(spec, OfWindow) and not _fast(spec)
        ]
        self._of_scalars = [(column, spec) for column, spec in numbered if isinstance(spec, TimeSince | Ewm)]
        others = {column for column, _ in [*self._direct, *self._of_windows, *self._of_scalars]}
        self._of_series = [
            (column, spec) for column, spec in numbered if column not in others and not isinstance(spec, Function)
        ]
        self.inputs = Inputs(specs)
        self._clear()

    def _clear(self) -> None:
        """Remember nothing."""
        self._codes = Entities(*self._expiry)
        self._windows, self._scalars = Windows(self._of_windows), Scalars(self._of_scalars)
        fields, labels = look_back([spec for _, spec in self._of_series])
        scratch = Scratch()
        self._events = Memory(
            [Kept(name, rows - 1, self._of(name), scratch) for name, rows in fields.items()]
        )  # one less, since the present value comes with the row
        self._labels = Memory([Kept(LABEL, labels, self._of(LABEL), scratch)] if labels else [])
        self._rows_max = max(1, CELLS_MAX // max(1, labels, *fields.values()))

    def _of(self, series: str) -> list[tuple[int, FeatureSpec]]:
        """The features of one series, each with its column."""
        return [one for one in self._of_series if (LABEL if isinstance(one[1], OfLabels) else _field(one[1])) == series]

    def codes(self, entities: Sequence[str]) -> Ints:
        """The code of each entity, for the next call of ``advance``; one never seen before gets a free one.

        Codes hold until the next run: where entities expire, a code may go to another entity after that.
        """
        return np.fromiter(map(self._codes.__getitem__, entities), np.int64, len(entities))

    def advance(
        self, is_label: Mask, entity: Ints, fields: Mapping[str, Floats], labels: Floats, time_ms: Ints
    ) -> Floats:
        """Take in a run of rows, events and labels mixed, in log order; returns the features of its events.

        Args:
            is_label: for each row, whether it is a label (else it is an event).
            entity: for each row, the code of its entity, as ``codes`` of this state gave it.
            fields: for each of ``inputs.names``, one value per event of the run; NaN if missing.
            labels: one value per label of the run.
            time_ms: for each row its event time; that of labels is not looked at.

        Returns:
            One row per event, in the order of the run; one column per feature, in the order of their definitions.
        """
        found = np.empty((len(entity) - len(labels), len(self._specs)))
        event = label = start = 0
        while start < len(entity):
            length = min(self._rows_max, len(entity) - start)
            if self._codes.expires:
                length = min(length, self._codes.rows_to_expiry)
            part = slice(start, start + length)
            run = Run(is_label[part], entity[part])
            events = slice(event, event + len(run.events.order))
            known = slice(label, label + len(run.labels.order))
            values = {name: column[events] for name, column in fields.items()}
            self._advance(run, values, labels[known], time_ms[part], is_label[part], found[events])
            start, event, label = part.stop, events.stop, known.stop
        self._codes.release()
        return found

    def _advance(
        self, run: Run, fields: Mapping[str, Floats], labels: Floats, time_ms: Ints, is_label: Mask, found: Floats
    ) -> None:
        known, order = self._codes.capacity, run.events.order
        columns = np.empty((len(self._specs), len(order)))
        self._codes.came(run.codes)
        with np.errstate(all="ignore"):  # infinities may meet, and 0 / 0 is how a mean of nothing becomes NaN
            self._events.advance(run, run.events, fields, known, columns)
            self._labels.advance(run, run.labels, {LABEL: labels}, known, columns)
            if len(self._of_series) < len(self._specs) or self._codes.expires:
                self._advance_others(run, fields, time_ms[~is_label][order], columns)
        columns[np.isnan(columns)] = NAN  # a NaN has many bit patterns; here it has one
        found[order] = columns.T
        gone = self._codes.count(len(time_ms))
        if len(gone):
            for memory in (self._events, self._labels, self._windows, self._scalars):
                memory.forget(gone)

    def _advance_others(self, run: Run, fields: Mapping[str, Floats], time_ms: Ints, columns: Floats) -> None:
        """The features that the memories of series do not have; ``time_ms`` is that of the events, sorted."""
        times = time_ms.astype(np.float64)
        before, until = self._codes.newest(run, times)
        if len(self._of_series) == len(self._specs):
            return  # all that was to be done is to know which entities expire
        values = {name: column[run.events.order] for name, column in fields.items()}
        if self._of_windows:
            self._windows.advance(run, times, until, values, columns)
        if self._of_scalars:
            self._scalars.advance(run, times, before, values, columns)
        for column, spec in self._direct:
            columns[column] = direct(spec, time_ms, values)
        if self._has_functions:
            apply_functions(self._specs, self._functions, values, columns)

    # ---- saving ------------------------------------------------------------------------------------------------

    def save(self, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
        """The state, as frames of at most ``chunk_bytes``; ``restore`` of the same feature set takes them."""
        return pack("features", *self.parts(), chunk_bytes)

    def restore(self, frames: Sequence[bytes]) -> None:
        """Be what was saved; what was remembered before is forgotten.

        Raises:
            ContractError: the frames are damaged, or of other features. The state is what it was.
        """
        self.put(*unpack("features", frames))

    def parts(self) -> tuple[Meta, Arrays]:
        """What is to be saved."""
        codes, meta, arrays = self._codes.parts()
        arrays |= {f"event_{name}": one for name, one in self._events.parts(codes).items()}
        arrays |= {f"label_{name}": one for name, one in self._labels.parts(codes).items()}
        arrays |= self._windows.parts(codes) | self._scalars.parts(codes)
        return {**meta, "features": feature_set_id(self._specs)}, arrays

    def put(self, meta: Meta, arrays: Arrays) -> None:
        """Take what was saved; see ``restore``."""
        expected = feature_set_id(self._specs)
        if meta["features"] != expected:
            raise refused(f"it is of the feature set {meta['features']}, not of {expected}")
        self._clear()
        self._codes.put(meta, arrays)
        for lane, memory in (("event", self._events), ("label", self._labels)):
            memory.put({name.removeprefix(f"{lane}_"): one for name, one in arrays.items() if name.startswith(lane)})
        self._windows.put(arrays)
        self._scalars.put(arrays)


def _fast(spec: OfWindow) -> bool:
    """Whether a window is one of the two that the memory of series has."""
    return isinstance(spec, RollingMean | RollingShare) and spec.rows is not None


def _field(spec: FeatureSpec) -> str:
    return str(getattr(spec, "field"))  # noqa: B009  # all that come here have one, which the type does not say
