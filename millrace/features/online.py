"""Features of one entity, one row at a time: the definition that ``batch.py`` computes for whole runs of rows.

``EntityFeatures`` holds, for each field that some feature looks back on, just as many values as the longest look-back
needs, and as many known labels. Feeding the same rows and labels in the same order gives the same values anywhere:
ingest computes them live, recovery replays them from the samples log, and offline work can do the same over a table.

**How a mean is summed.** In plain float64 additions, from the newest value to the oldest, beginning at 0.0; a missing
value adds nothing. The order is a part of the definition: it depends on the entity's rows alone, never on how they were
cut into batches, so every way of computing a feature gives the same bits.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from millrace.contracts.feature_spec import (
    Difference,
    FeatureSpec,
    LabelLag,
    LabelMean,
    LabelShare,
    Lag,
    RollingMean,
    RollingShare,
    Value,
)

NAN = float("nan")


def look_back(specs: Sequence[FeatureSpec]) -> tuple[dict[str, int], int]:
    """How many values of each field, the present one included, and how many labels must be kept."""
    fields: dict[str, int] = {}
    labels = 0
    for spec in specs:
        match spec:
            case Value(field=field):
                fields[field] = max(fields.get(field, 0), 1)
            case Lag(field=field, rows=rows) | Difference(field=field, rows=rows):
                fields[field] = max(fields.get(field, 0), rows + 1)
            case RollingMean(field=field, rows=rows) | RollingShare(field=field, rows=rows):
                fields[field] = max(fields.get(field, 0), rows)
            case LabelLag(rows=rows) | LabelShare(rows=rows) | LabelMean(rows=rows):
                labels = max(labels, rows)
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

    __slots__ = ("_fields", "_labels", "_specs")

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        fields, labels = look_back(specs)
        self._specs = specs
        self._fields: dict[str, deque[float]] = {name: deque(maxlen=rows) for name, rows in fields.items()}
        self._labels: deque[float] = deque(maxlen=labels)

    def label(self, value: float) -> None:
        """A label of this entity became known."""
        self._labels.appendleft(value)

    def row(self, values: Mapping[str, object]) -> tuple[float, ...]:
        """Take in the next row and return its features, in the order of their definitions."""
        for name, kept in self._fields.items():
            value = values.get(name)
            kept.appendleft(NAN if value is None else float(value))  # type: ignore[arg-type]  # checked by the project
        return tuple(self._compute(spec) for spec in self._specs)

    def _compute(self, spec: FeatureSpec) -> float:
        match spec:
            case Value(field=field):
                value = self._fields[field][0]
            case Lag(field=field, rows=rows):
                value = _ago(self._fields[field], rows)
            case Difference(field=field, rows=rows):
                value = self._fields[field][0] - _ago(self._fields[field], rows)
            case RollingMean(field=field, rows=rows):
                value = _mean(self._fields[field], rows)
            case RollingShare(field=field, rows=rows, above=above):
                value = _share(self._fields[field], rows, lambda seen: seen > above)
            case LabelLag(rows=rows):
                value = _ago(self._labels, rows - 1)
            case LabelShare(rows=rows, equals=equals):
                value = _share(self._labels, rows, lambda seen: seen == equals)
            case LabelMean(rows=rows):
                value = _mean(self._labels, rows)
        return value


def _ago(kept: deque[float], rows: int) -> float:
    return kept[rows] if len(kept) > rows else NAN


def _mean(kept: deque[float], rows: int) -> float:
    """Mean of the newest ``rows`` values, of these the present ones."""
    total, present = 0.0, 0
    for value in islice(kept, rows):  # no sum(): from Python 3.12 on it compensates, which is another result
        if value == value:  # noqa: PLR0124  # NaN differs from itself
            total += value
            present += 1
    return total / present if present else NAN


def _share(kept: deque[float], rows: int, test: Callable[[float], bool]) -> float:
    """Share of those that pass the test, among the newest ``rows`` values, of these the present ones."""
    present = [value for value in islice(kept, rows) if value == value]  # noqa: PLR0124  # NaN differs from itself
    return sum(map(test, present)) / len(present) if present else NAN
