"""Features of one entity, one row at a time: the definition that ``batch.py`` computes for whole runs of rows.

``EntityFeatures`` holds, for each input that some feature looks back on, just as many values as the longest look-back
needs, and as many known labels. Feeding the same rows and labels in the same order gives the same values anywhere:
ingest computes them live, recovery replays them from the samples log, and offline work can do the same over a table.

**How a mean is summed.** In plain float64 additions, from the newest value to the oldest, beginning at 0.0; a missing
value adds nothing. So are the squares of a standard deviation, around that mean. The order is a part of the definition:
it depends on the entity's rows alone, never on how they were cut into batches, so every way of computing a feature
gives the same bits.
"""

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

from millrace.contracts.feature_spec import (
    SPAN_ROWS_MAX,
    Calendar,
    Category,
    Difference,
    Ewm,
    FeatureSpec,
    Function,
    IsCategory,
    LabelLag,
    LabelMean,
    LabelShare,
    Lag,
    OfWindow,
    Ratio,
    RollingShare,
    TimeSince,
    Value,
)
from millrace.features.definitions import AGGREGATES, NAN, ago, divide, half_life, mean, share
from millrace.features.event_time import calendar
from millrace.features.functions import NONE, Functions, call
from millrace.features.inputs import Inputs, input_name

EXPIRY_ROWS = 10_000  # rows of a partition between two looks for entities that expired; a part of the definition


def look_back(specs: Sequence[FeatureSpec]) -> tuple[dict[str, int], int]:
    """How many values of each input, the present one included, and how many labels must be kept."""
    fields = dict.fromkeys(Inputs(specs).names, 1)
    labels = 0
    for spec in specs:
        match spec:
            case Lag(field=field, rows=rows) | Difference(field=field, rows=rows) | Ratio(field=field, rows=int(rows)):
                fields[field] = max(fields[field], rows + 1)
            case LabelLag(rows=rows) | LabelShare(rows=rows) | LabelMean(rows=rows):
                labels = max(labels, rows)
            case _ if isinstance(spec, OfWindow):
                fields[spec.field] = max(fields[spec.field], spec.rows or SPAN_ROWS_MAX)
    return fields, labels


class EntityFeatures:
    """The memory of one entity: newest values first.

    >>> from millrace.contracts.feature_spec import Difference, LabelLag
    >>> specs = (Difference(name="d", kind="difference", field="x"), LabelLag(name="l", kind="label_lag"))
    >>> entity = EntityFeatures(specs)
    >>> entity.row({"x": 1.0})
    (nan, nan)
    >>> entity.label(1.0)
    >>> entity.row({"x": 1.5})
    (0.5, 1.0)
    """

    __slots__ = ("_above", "_ewm", "_fields", "_functions", "_inputs", "_labels", "_specs", "_times", "newest_ms")

    def __init__(self, specs: Sequence[FeatureSpec], functions: Functions = NONE) -> None:
        fields, labels = look_back(specs)
        self._specs = specs
        self._functions = functions
        self._inputs = Inputs(specs)
        self._fields: dict[str, deque[float]] = {name: deque(maxlen=rows) for name, rows in fields.items()}
        self._times: deque[int] = deque(maxlen=SPAN_ROWS_MAX)
        self._labels: deque[float] = deque(maxlen=labels)
        self._above: dict[str, int] = {}
        self._ewm: dict[str, tuple[float, float]] = {}
        self.newest_ms = -math.inf

    def label(self, value: float) -> None:
        """A label of this entity became known."""
        self._labels.appendleft(value)

    def row(self, values: Mapping[str, object], time_ms: int = 0) -> tuple[float, ...]:
        """Take in the next row, at its event time, and return its features, in the order of their definitions."""
        for kept, value in zip(self._fields.values(), self._inputs.row(values), strict=True):
            kept.appendleft(value)
        self._times.appendleft(time_ms)
        newest_before, self.newest_ms = self.newest_ms, max(self.newest_ms, float(time_ms))
        found: dict[str, float] = {}
        for spec in self._specs:
            if isinstance(spec, Ewm):
                found[spec.name] = self._weigh(spec, newest_before)
            elif isinstance(spec, TimeSince):
                found[spec.name] = self._since(spec)
            elif isinstance(spec, Function):
                given = {name: found.get(name, self._now(name)) for name in spec.inputs}
                columns = {name: np.array([value]) for name, value in given.items()}
                found[spec.name] = float(call(spec, self._functions, columns)[0])
            else:
                found[spec.name] = self._compute(spec)
        return tuple(found.values())

    def _now(self, name: str) -> float:
        return self._fields[name][0] if name in self._fields else NAN

    def _compute(self, spec: FeatureSpec) -> float:
        match spec:
            case Value(field=field):
                value = self._fields[field][0]
            case Lag(field=field, rows=rows):
                value = ago(self._fields[field], rows)
            case Difference(field=field, rows=rows):
                value = self._fields[field][0] - ago(self._fields[field], rows)
            case Ratio(field=field, over=str(over)):
                value = divide(self._fields[field][0], self._fields[over][0])
            case Ratio(field=field, rows=int(rows)):
                value = divide(self._fields[field][0], ago(self._fields[field], rows))
            case Category() | IsCategory():
                value = self._fields[input_name(spec)][0]
            case Calendar():
                value = calendar(spec, self._times[0])
            case _:
                value = self._over_many(spec)
        return value

    def _over_many(self, spec: FeatureSpec) -> float:
        match spec:
            case LabelLag(rows=rows):
                return ago(self._labels, rows - 1)
            case LabelShare(rows=rows, equals=equals):
                return share(islice(self._labels, rows), lambda seen: seen == equals)
            case LabelMean(rows=rows):
                return mean(islice(self._labels, rows))
            case RollingShare(above=above):
                return share(self._window(spec), lambda seen: seen > above)
            case _ if isinstance(spec, OfWindow):
                return AGGREGATES[type(spec)](self._window(spec))
        raise TypeError(f"{spec} has no definition")  # a kind that was declared and forgotten here

    def _window(self, spec: OfWindow) -> Iterable[float]:
        """The values of a window, newest first in samples order."""
        kept = self._fields[spec.field]
        if spec.rows is not None:
            return islice(kept, spec.rows)
        assert spec.span_s is not None
        span_ms, now = spec.span_s * 1000, float(self._times[0])
        after = max(now - span_ms, self.newest_ms - 2 * span_ms)
        return [value for value, time in zip(kept, self._times, strict=False) if after < time <= now]

    def _since(self, spec: TimeSince) -> float:
        now = self._times[0]
        if spec.field is None:
            return (now - self._times[1]) / 1000 if len(self._times) > 1 else NAN
        last = self._above.get(spec.name)
        if self._fields[spec.field][0] > (spec.above or 0.0):
            self._above[spec.name] = now
        return NAN if last is None else (now - last) / 1000

    def _weigh(self, spec: Ewm, newest_before: float) -> float:
        total, weight = self._ewm.get(spec.name, (0.0, 0.0))
        decay = half_life(spec, max(0.0, self._times[0] - newest_before))
        value = self._fields[spec.field][0]
        total, weight = total * decay, weight * decay
        if value == value:  # noqa: PLR0124  # NaN differs from itself
            total, weight = total + value, weight + 1.0
        self._ewm[spec.name] = total, weight
        return total / weight if weight else NAN


class PartitionFeatures:
    """The entities of a partition, row by row, and how they expire; the definition that ``FeatureState`` computes.

    After every ``expiry_rows`` rows, events and labels alike, each entity is forgotten whose newest event is more than
    ``expire_after_s`` older than the newest of the partition. None is for ever.
    """

    def __init__(
        self,
        specs: Sequence[FeatureSpec],
        expire_after_s: float | None = None,
        functions: Functions = NONE,
        expiry_rows: int = EXPIRY_ROWS,
    ) -> None:
        self._specs = specs
        self._functions = functions
        self._expire_ms = None if expire_after_s is None else expire_after_s * 1000
        self._expiry_rows = expiry_rows
        self._rows = 0
        self._newest_ms = -math.inf
        self.entities: dict[str, EntityFeatures] = {}

    def event(self, entity: str, time_ms: int, values: Mapping[str, object]) -> tuple[float, ...]:
        """Take in an event; returns its features."""
        found = self._entity(entity).row(values, time_ms)
        self._newest_ms = max(self._newest_ms, float(time_ms))
        self._count()
        return found

    def label(self, entity: str, value: float) -> None:
        """Take in a label."""
        self._entity(entity).label(value)
        self._count()

    def _entity(self, name: str) -> EntityFeatures:
        if name not in self.entities:
            self.entities[name] = EntityFeatures(self._specs, self._functions)
        return self.entities[name]

    def _count(self) -> None:
        self._rows += 1
        if self._expire_ms is not None and self._rows % self._expiry_rows == 0:
            oldest = self._newest_ms - self._expire_ms
            self.entities = {name: kept for name, kept in self.entities.items() if kept.newest_ms >= oldest}


def column(spec: FeatureSpec, times_s: Sequence[float] = (), **fields: Sequence[object]) -> list[float]:
    """A feature at each row of one entity, for examples and tests. Without ``times_s`` rows come once a second."""
    count = len(times_s) or len(next(iter(fields.values())))
    entity = EntityFeatures((spec,))
    rows = ({name: values[place] for name, values in fields.items()} for place in range(count))
    times = times_s or range(count)
    return [entity.row(row, round(time * 1000))[0] for row, time in zip(rows, times, strict=True)]
