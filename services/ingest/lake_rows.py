"""Samples as the lake takes them: the fields of the log, and beside them those of each event.

By the column where that is proven to be the same, else record by record. An event that the project's schema cannot
read any more, because that has changed since, is read as it was written: what was once accepted is never left out.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.bus.tasks import InThread
from millrace.bus.types import Record
from millrace.contracts.codec import Codec, schema_id_of
from millrace.contracts.errors import ContractError
from millrace.contracts.events import SampleRecorded
from millrace.contracts.schemas import Schema, newest
from millrace.stores.lake import COLUMNS
from millrace.stores.lake_schema import RAW, wide

Columns = dict[str, Any]
Places = NDArray[np.int64]
TIMES: Mapping[str, str] = {"time": "time_ms", "source_time": "source_time_ms"}
MILLISECONDS = pa.timestamp("ms", tz="UTC")
PLAIN = {
    "boolean": pa.bool_(), "int": pa.int64(), "long": pa.int64(), "float": pa.float64(), "double": pa.float64(),
    "string": pa.string(), "bytes": pa.binary(), "enum": pa.string(), "fixed": pa.binary(),
}  # fmt: skip


class LakeRows:
    """Makes rows of records of the samples topic."""

    def __init__(self, codec: Codec, event_schema: Schema, in_thread: InThread) -> None:
        self._codec = codec
        self._event_schema = event_schema
        self._sample_schema = newest(SampleRecorded.schema_name)
        self._in_thread = in_thread
        self._writers: dict[int, Schema] = {}
        kinds = {field["name"]: _kind(field["type"]) for field in event_schema.parsed["fields"]}
        self._own = {name: pa.string() if kind is None else kind for name, kind in kinds.items()}

    async def of(self, records: Sequence[Record]) -> Any:
        """The rows of these records, all of one partition, as a ``pyarrow.Table``.

        Raises:
            RegistryUnavailableError: the registry does not answer, so nothing is known about them.
            ContractError: one of them is no sample; it was written here.
        """
        values = [record.value for record in records]
        samples = await self._columns(values, self._sample_schema)
        if samples is None:
            one_by_one = [await self._codec.decode_record(value, self._sample_schema) for value in values]
            samples = _columns_of(one_by_one, self._sample_schema)
        events = samples["event"]
        there = np.flatnonzero(events.is_valid().to_numpy(zero_copy_only=False))
        present = events.take(pa.array(there)).to_pylist()
        raw = await self._raw(present) if present else []
        return await self._in_thread(self._rows, records, samples, [(there[places], fields) for places, fields in raw])

    def _rows(self, records: Sequence[Record], samples: Columns, raw: Sequence[tuple[Places, Columns]]) -> Any:
        columns = _columns_of_log(records, samples)
        for places, fields in raw:
            inverse = np.full(len(records), -1)
            inverse[places] = np.arange(len(places))
            take = pa.array(inverse, mask=inverse < 0)
            for name, values in self._named(fields).items():
                scattered = values.take(take)
                columns[name] = pc.coalesce(columns[name], scattered) if name in columns else scattered
        return pa.table(columns)

    def _named(self, columns: Columns) -> Columns:
        """The event's columns as the lake calls them. One unlike the project's own is told apart by its type."""
        storable = {name: _storable(column) for name, column in columns.items()}
        return {
            f"{RAW}{name}" if self._own.get(name) == column.type else f"{RAW}{name}__{column.type}": column
            for name, column in storable.items()
            if not pa.types.is_null(column.type)
        }

    async def _raw(self, events: Sequence[bytes]) -> list[tuple[list[int], Columns]]:
        """The fields of these events: those of one schema together, with their places."""
        columns = await self._columns(events, self._event_schema)
        if columns is not None:
            return [(list(range(len(events))), columns)]
        read: dict[str, tuple[Schema, list[int], list[dict[str, Any]]]] = {}
        for place, event in enumerate(events):
            schema = self._event_schema
            try:
                record = await self._codec.decode_record(event, schema)
            except ContractError:
                record = await self._codec.decode_record(event)
                schema = self._written_with(schema_id_of(event))
            _, places, records = read.setdefault(schema.canonical, (schema, [], []))
            places.append(place)
            records.append(record)
        return [(places, _columns_of(records, schema)) for schema, places, records in read.values()]

    def _written_with(self, schema_id: int) -> Schema:
        if schema_id not in self._writers:
            raw = self._codec.writer_schema(schema_id)
            assert raw is not None, "a record of that schema has just been read"
            self._writers[schema_id] = Schema.of(raw)
        return self._writers[schema_id]

    async def _columns(self, values: Sequence[bytes | None], schema: Schema) -> Columns | None:
        columnar = await self._codec.columnar(values, schema)
        batch = None if columnar is None else await self._in_thread(columnar.decode, values)
        return None if batch is None else dict(zip(batch.schema.names, batch.columns, strict=True))


def _columns_of_log(records: Sequence[Record], samples: Columns) -> Columns:
    """All columns but the events' own."""
    count = len(records)
    offsets = np.fromiter((record.offset for record in records), np.int64, count)
    recorded = np.fromiter((record.timestamp_ms for record in records), np.int64, count)
    columns: Columns = {
        "partition": pa.array(np.full(count, records[0].partition, np.int32)),
        "offset": pa.array(offsets),
        "recorded": pa.array(recorded).cast(MILLISECONDS),
    }
    for field in COLUMNS:
        name = TIMES.get(field.name, field.name)
        if name != field.name:
            columns[field.name] = samples[name].cast(MILLISECONDS)
        elif name in samples:
            columns[name] = samples[name].cast(field.type)
        elif name not in columns:  # written before there was such a field
            columns[name] = pa.nulls(count, field.type)
    return columns


def _storable(column: Any) -> Any:
    """The column as the lake can keep it, under the type that the same field has when it is read one by one."""
    kind = column.type
    if pa.types.is_union(kind):
        return pa.array([_text(value) for value in column.to_pylist()], pa.string())
    return column.cast(wide(kind))


def _columns_of(records: Sequence[Mapping[str, Any]], schema: Schema) -> Columns:
    """Dictionaries as columns, of types that the schema alone decides."""
    kinds = {field["name"]: _kind(field["type"]) for field in schema.parsed["fields"]}
    return {
        name: pa.array([_text(record[name]) for record in records], pa.string())
        if kind is None
        else pa.array([record[name] for record in records], kind)
        for name, kind in kinds.items()
    }


def _kind(avro: Any) -> Any | None:
    """The Arrow type of an Avro type: of a plain one, that or null, and arrays of them; None for any other."""
    if isinstance(avro, list):
        inner = [branch for branch in avro if branch != "null"]
        return _kind(inner[0]) if len(inner) == 1 else None
    if isinstance(avro, dict):
        if avro["type"] == "array":
            items = PLAIN.get(avro["items"]) if isinstance(avro["items"], str) else None
            return None if items is None else pa.list_(items)
        return None if "logicalType" in avro else PLAIN.get(avro["type"])
    return pa.null() if avro == "null" else PLAIN.get(avro)


def _text(value: Any) -> str | None:
    return None if value is None else json.dumps(value, default=_as_text, sort_keys=True)


def _as_text(value: Any) -> str:
    """Bytes as Avro's own JSON has them, decimals as their digits."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
