"""The columns of a lake table, and how rows are made to fit them. Pure.

The columns in ``COLUMNS`` are the samples log row by row. Beside them stand the event's own fields, each with
``RAW`` before its name; they appear as events bring them. A column never changes its type: should a field come with
another type than its column has, a column of its own is made for it (``raw_size__double`` beside ``raw_size``). What a
row means then never depends on the rows around it. The same goes for names that differ only in case, which Delta
takes for one.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.stores.lake_errors import LakeError

RAW = "raw_"
PERIOD = "period"
TIME = pa.timestamp("us", tz="UTC")  # Delta knows no milliseconds

COLUMNS = pa.schema([
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("kind", pa.string()),
    ("event_id", pa.string()),
    ("entity", pa.string()),
    ("time", TIME),
    ("recorded", TIME),
    ("feature_set", pa.string()),
    ("features", pa.list_(pa.float64())),
    ("label", pa.float64()),
    ("flags", pa.string()),
    ("source_topic", pa.string()),
    ("source_partition", pa.int32()),
    ("source_offset", pa.int64()),
    ("source_time", TIME),
])  # fmt: skip
"""What :meth:`Lake.append` takes, besides raw columns. ``label`` and ``flags`` may be null, the rest may not."""

_NULLABLE = {"label", "flags"}
_PERIODS: Mapping[str, str] = {"day": "%Y-%m-%d", "month": "%Y-%m", "year": "%Y"}


def period_of(time: Any, policy: LakePolicy) -> Any:
    """The partition that each of these times belongs to.

    >>> import pyarrow as pa
    >>> period_of(pa.array([0], TIME), LakePolicy(partition_by="month")).to_pylist()
    ['1970-01']
    """
    unit: Any = policy.partition_by
    encoded = pc.floor_temporal(time, unit=unit).dictionary_encode()  # to text once for each day, not for each row
    return pc.strftime(encoded.dictionary, _PERIODS[policy.partition_by]).take(encoded.indices)


def fit(rows: Any, table: Any) -> Any:
    """The rows (a ``pyarrow.Table``) under the names and types that they have, or will have, in ``table`` (a schema).

    Raises ``LakeError`` for columns that are missing or cannot be stored.
    """
    missing = sorted(set(COLUMNS.names) - set(rows.column_names))
    strange = sorted(name for name in rows.column_names if name not in COLUMNS.names and not name.startswith(RAW))
    if missing or strange:
        raise LakeError(f"rows for the lake lack the columns {missing} and have {strange}, which it does not know")
    columns = {each.name: rows.column(each.name).cast(each.type) for each in COLUMNS}
    holes = sorted(name for name, column in columns.items() if column.null_count and name not in _NULLABLE)
    if holes:
        raise LakeError(f"rows for the lake have nulls in {holes}; only {sorted(_NULLABLE)} may have some")
    taken = {each.name.lower(): (each.name, each.type) for each in table}
    for name in rows.column_names:
        if name in columns or pa.types.is_null(rows.column(name).type):
            continue
        kind = wide(rows.column(name).type)
        _require_storable(name, kind)
        column = rows.column(name).cast(kind)
        called = next(each for each in _names(name, column.type) if _is_free(taken, each, column.type))
        taken[called.lower()] = (called, column.type)
        columns[called] = column
    return pa.table(columns)


def _is_free(taken: Mapping[str, tuple[str, Any]], name: str, kind: Any) -> bool:
    return taken.get(name.lower(), (name, kind)) == (name, kind)


def _names(name: str, kind: Any) -> Iterator[str]:
    """What a column of that type may be called, the first choice first."""
    yield name
    typed = f"{name}__{re.sub(r'[^a-z0-9]+', '_', str(kind)).strip('_')}"
    yield typed
    for number in itertools.count(2):
        yield f"{typed}_{number}"


def wide(kind: Any) -> Any:
    """The type that a column of this one has in the lake: the widest of its kind, so that a schema may widen its own.

    >>> wide(pa.int32()), wide(pa.list_(pa.float32()))
    (DataType(int64), ListType(list<item: double>))
    """
    if pa.types.is_list(kind):
        return pa.list_(wide(kind.value_type))
    if pa.types.is_signed_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_large_string(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) else kind


def _require_storable(name: str, kind: Any) -> None:
    inner = kind.value_type if pa.types.is_list(kind) else kind
    if inner not in (pa.int64(), pa.float64(), pa.string(), pa.binary(), pa.bool_()):
        raise LakeError(
            f"column {name} is of type {kind}; the lake stores numbers, text, bytes, booleans and lists of them: "
            "write anything else as JSON text"
        )
