"""Many records of one schema at once: Avro bytes to Arrow columns and back, by pyruhvro.

pyruhvro is some thirty times faster than a reader that makes a dictionary of each record, and less careful, so:

- It is used only for schemas whose every type is on the list below; ``tests/contracts/test_columnar.py`` proves that
  for these it says what fastavro says, byte for byte. For any other schema :meth:`Columnar.of` is None, and the caller
  reads record by record.
- It accepts what follows a record, strings that are not UTF-8, and enum symbols as any string. So what was read is
  written again and has to give the very same bytes, and strings are checked by Arrow.
- It refuses a batch as a whole. ``decode`` then returns None, and the caller finds the bad record one by one. So does
  a correct record that was written in an unusual way (an array in several blocks): slower, never wrong.
- It knows no ``bytes``, but a string is the same on the wire, and it copies strings unseen. They travel as strings and
  are viewed as binary on our side.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from millrace.contracts.schemas import Schema

PRIMITIVES = frozenset({"boolean", "int", "long", "float", "double", "string", "bytes"})
HEADER_BYTES = 5  # of the Confluent wire format


@dataclass(frozen=True, slots=True, eq=False)
class Columnar:
    """How records of one schema are read and written by the column.

    ``arrow`` is the schema of the columns: strings and enums as utf8, ``bytes`` as binary, times as plain integers,
    ``["null", X]`` as nullable X, other unions as sparse unions, arrays of primitives as lists.
    """

    arrow: Any
    _wire: str = field(repr=False)
    _binary: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, schema: Schema) -> "Columnar | None":
        """The same schema for columns, or None if one of its types is not proven.

        >>> from millrace.contracts.schemas import newest
        >>> Columnar.of(newest("sample-recorded")).arrow.field("event").type
        DataType(binary)
        >>> Columnar.of(newest("deployment-decided")) is None  # an array of records
        True
        """
        if "logicalType" in json.dumps(schema.parsed):  # a decimal: all others were taken out
            return None
        canonical = json.loads(schema.canonical)
        fields = canonical["fields"]
        if not fields or not all(_is_proven(each["type"]) for each in fields):
            return None
        wire = json.dumps({**canonical, "fields": [{**each, "type": _on_the_wire(each["type"])} for each in fields]})
        binary = tuple(each["name"] for each in fields if "bytes" in (each["type"], *_branches(each["type"])))
        arrow = pyruhvro.avro_to_arrow_schema(wire)
        for name in binary:
            place = arrow.get_field_index(name)
            arrow = arrow.set(place, arrow.field(place).with_type(pa.binary()))
        return cls(arrow, wire, binary)

    def decode(self, values: Sequence[bytes | None]) -> Any | None:
        """The records in these values, each with its header of five bytes, as one ``pyarrow.RecordBatch``.

        None if at least one of them is no such record, or is written in an unusual way: ask record by record.
        """
        bodies = [value[HEADER_BYTES:] if value else b"" for value in values]
        try:
            batch = pyruhvro.deserialize_array(bodies, self._wire)
            (again,) = pyruhvro.serialize_record_batch(batch, self._wire, 1)
            if not again.equals(pa.array(bodies, again.type)):
                return None
            columns = [
                column.view(pa.binary()) if name in self._binary else column
                for name, column in zip(batch.schema.names, batch.columns, strict=True)
            ]
            decoded = pa.RecordBatch.from_arrays(columns, schema=self.arrow)
            decoded.validate(full=True)
        except (ValueError, pa.ArrowException):  # Arrow's own are not all ValueErrors
            return None
        return decoded

    def batch(self, columns: Mapping[str, Any]) -> Any:
        """A ``pyarrow.RecordBatch`` of the schema ``arrow`` from columns by name. Raises ``ValueError``."""
        try:
            arrays = [
                each if isinstance(each, pa.Array) else _array(each, field.type)
                for field in self.arrow
                for each in [columns[field.name]]
            ]
            return pa.RecordBatch.from_arrays(arrays, schema=self.arrow)
        except (KeyError, TypeError, pa.ArrowException) as error:
            raise ValueError(f"columns {sorted(columns)} do not make a batch of {self.arrow}: {error!r}") from error

    def encode(self, batch: Any, prefix: bytes) -> list[bytes]:
        """One value for each row, ``prefix`` first. ``batch`` is a ``pyarrow.RecordBatch`` of the schema ``arrow``.

        Raises:
            ValueError: the batch has another schema, or a null where the schema has none.
        """
        if not batch.num_rows:
            return []
        if batch.schema != self.arrow:
            raise ValueError(f"columns of {batch.schema} are not those of {self.arrow}")
        if any(pa.types.is_union(each.type) for each in self.arrow):
            batch = batch.take(pa.array(range(batch.num_rows)))  # pyruhvro looks past the start of a slice of those
        holes = [each.name for each in self.arrow if _has_hole(batch.column(each.name), nullable=each.nullable)]
        if holes:
            raise ValueError(f"columns {holes} have nulls, which their schema does not allow")
        columns = [
            column.view(pa.utf8()) if name in self._binary else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        ]
        wire = pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
        (bodies,) = pyruhvro.serialize_record_batch(wire, self._wire, 1)
        values = pc.binary_join_element_wise(pa.scalar(prefix, bodies.type), bodies, pa.scalar(b"", bodies.type))
        encoded: list[bytes] = values.to_pylist()
        return encoded


def _array(values: Any, kind: Any) -> Any:
    """As Arrow makes it, except that it would cut the half off 2.5 to make an integer of it."""
    if pa.types.is_integer(kind):
        return pa.array(values).cast(kind)
    return pa.array(values, kind)


def _has_hole(column: Any, *, nullable: bool) -> bool:
    """Whether there is a null where the schema has none; in an array it would be written as 0."""
    inside = pa.types.is_list(column.type) and column.flatten().null_count > 0
    return inside or (not nullable and column.null_count > 0)


def _branches(kind: Any) -> list[Any]:
    return kind if isinstance(kind, list) else []


def _is_proven(kind: Any) -> bool:
    """Primitives and enums, these or null, unions of primitives, and arrays of primitives; bytes only alone or null."""
    if isinstance(kind, list):
        inner = [branch for branch in kind if branch != "null"]
        if any(isinstance(branch, dict) for branch in inner) and len(inner) > 1:
            return False
        return (len(inner) == 1 and _is_proven(inner[0])) or (len(inner) > 1 and set(inner) <= PRIMITIVES - {"bytes"})
    if isinstance(kind, dict):
        if kind["type"] == "array":
            return isinstance(kind["items"], str) and kind["items"] in PRIMITIVES - {"bytes"}
        return bool(kind["type"] == "enum")
    return kind in PRIMITIVES


def _on_the_wire(kind: Any) -> Any:
    """Bytes as strings."""
    if isinstance(kind, list):
        return [_on_the_wire(branch) for branch in kind]
    return "string" if kind == "bytes" else kind
