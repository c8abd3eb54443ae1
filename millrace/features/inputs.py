"""What features need from an event: numbers as they are, texts as the index of a category.

Once for a row, once by the column; a property test holds that both agree.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.feature_spec import Category, FeatureSpec, IsCategory, fields_of

Floats = NDArray[np.float64]

NAN = float("nan")


class Inputs:
    """The inputs of a set of features. ``names`` are those of its columns; of a plain number it is the field's.

    >>> from millrace.contracts.feature_spec import Category, Value
    >>> side = Category(name="side", kind="category", field="side", values=("buy", "sell"))
    >>> inputs = Inputs([Value(name="x", kind="value", field="x"), side])
    >>> inputs.fields, inputs.row({"x": 2, "side": "sell"})
    (('side', 'x'), [2.0, 1.0])
    >>> inputs.columns(pa.record_batch({"side": ["hold", None], "x": [1, None]})).tolist()
    [[1.0, -1.0], [nan, nan]]
    """

    def __init__(self, specs: Sequence[FeatureSpec]) -> None:
        self._of: dict[str, tuple[str, FeatureSpec | None]] = {}
        before: set[str] = set()
        for spec in specs:
            if isinstance(spec, Category | IsCategory):
                self._of.setdefault(input_name(spec), (spec.field, spec))
            else:
                for field, _ in fields_of(spec, before):
                    self._of.setdefault(field, (field, None))
            before.add(spec.name)
        self.names: tuple[str, ...] = tuple(self._of)
        self.fields: tuple[str, ...] = tuple(sorted({field for field, _ in self._of.values()}))
        self._read = [(field, _codes(spec)) for field, spec in self._of.values()]

    def row(self, values: Mapping[str, object]) -> list[float]:
        """The inputs of one event, in the order of ``names``; NaN where a field is missing."""
        return [_one(values.get(field), codes) for field, codes in self._read]

    def columns(self, batch: Any) -> Floats:
        """The inputs of a ``pyarrow.RecordBatch`` (or ``Table``) of events, shape (rows, inputs)."""
        found: Floats = np.empty((batch.num_rows, len(self._read)))
        for place, (field, codes) in enumerate(self._read):
            found[:, place] = _many(batch.column(field), codes)
        return found


def input_name(spec: Category | IsCategory) -> str:
    """The name of a category's input: one field may be read by several lists of values. No field is called so."""
    if isinstance(spec, IsCategory):
        return f"{spec.field} is {json.dumps(spec.equals)}"
    return f"{spec.field} in {json.dumps(spec.values)}"


def _codes(spec: FeatureSpec | None) -> "_Codes | None":
    match spec:
        case Category(values=values):
            return _Codes({value: float(place) for place, value in enumerate(values)}, -1.0)
        case IsCategory(equals=equals):
            return _Codes({equals: 1.0}, 0.0)
    return None


class _Codes(dict[str, float]):
    """The number of each known text; ``other`` is that of all others."""

    def __init__(self, known: Mapping[str, float], other: float) -> None:
        super().__init__(known)
        self.other = other
        self.known = pa.array(list(known), pa.string())
        self.numbers = np.array([*known.values(), other])


def _one(value: object, codes: _Codes | None) -> float:
    if value is None:
        return NAN
    if codes is None:
        return float(value)  # type: ignore[arg-type]  # checked by the project
    return codes.get(value, codes.other)  # type: ignore[call-overload,no-any-return]  # the same


def _many(column: Any, codes: _Codes | None) -> Floats:
    if codes is None:
        floats: Floats = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        return floats
    texts = column.cast(pa.string())  # an enum may come as a dictionary
    place = pc.fill_null(pc.index_in(texts, value_set=codes.known), len(codes.known))
    found: Floats = codes.numbers[place.to_numpy(zero_copy_only=False)]
    found[texts.is_null().to_numpy(zero_copy_only=False)] = NAN
    return found
