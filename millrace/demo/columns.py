"""One column of a file as the values that an Avro field takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.errors import ProjectError

_NUMBERS = {"int": pa.int32(), "long": pa.int64(), "float": pa.float64(), "double": pa.float64(), "boolean": pa.bool_()}
_TIMES = {"timestamp-millis": "ms", "timestamp-micros": "us", "local-timestamp-millis": "ms"}
_WORDS = {"int": "a whole number", "long": "a whole number", "boolean": "true or false", "string": "a text"}


def is_nullable(field: Mapping[str, Any]) -> bool:
    """Whether the field may be empty."""
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return "null" in kinds


def convert(column: pa.Array, field: Mapping[str, Any], path: Path) -> pa.Array:
    """The column as the field's type; kinds that no file column has (records, bytes, …) stay as they are.

    Raises:
        ProjectError: naming the first value that does not fit, with its row.
    """
    base, logical = _kind(field["type"])
    if logical in _TIMES:
        return _first_that_works(column, field["name"], path, _time_steps(column, _TIMES[logical]), "a time")
    if base == "string":
        wanted = pa.string()
    elif base in _NUMBERS:
        wanted = _NUMBERS[base]
    else:
        return column
    return _first_that_works(column, field["name"], path, [(wanted,)], _WORDS.get(base, "a number"))


def _kind(kind: Any) -> tuple[str, str | None]:
    """The Avro type's name, null aside, and its logical type."""
    if isinstance(kind, list):
        kind = next((part for part in kind if part != "null"), "null")
    if isinstance(kind, dict):
        return str(kind["type"]), kind.get("logicalType")
    return str(kind), None


def _time_steps(column: pa.Array, unit: str) -> list[tuple[pa.DataType, ...]]:
    """Ways to a time: a number is in the field's unit already, a text is ISO 8601, without a zone in UTC."""
    if pa.types.is_temporal(column.type):
        return [(pa.timestamp(unit), pa.int64())]
    return [
        (pa.int64(),),
        (pa.timestamp("us", "UTC"), pa.timestamp(unit, "UTC"), pa.int64()),
        (pa.timestamp("us"), pa.timestamp(unit), pa.int64()),
    ]


def _first_that_works(
    column: pa.Array, name: str, path: Path, ways: list[tuple[pa.DataType, ...]], wanted: str
) -> pa.Array:
    for way in ways:
        found = _cast(column, way)
        if found is not None:
            return found
    row = next(row for row in range(len(column)) if all(_cast(column[row : row + 1], way) is None for way in ways))
    raise ProjectError(f"{path}, row {row}, column {name!r}: the value is {column[row].as_py()!r}, {wanted} is needed")


def _cast(column: pa.Array, way: tuple[pa.DataType, ...]) -> pa.Array | None:
    try:
        for step in way:
            to_coarser = pa.types.is_timestamp(step)  # microseconds that a field in milliseconds cannot hold
            column = pc.cast(column, options=pc.CastOptions(step, allow_time_truncate=to_coarser))
    except pa.ArrowException:
        return None
    return column
