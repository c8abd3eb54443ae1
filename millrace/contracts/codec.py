"""Events to bytes and back: Avro in the Confluent wire format.

    byte 0      magic, 0
    bytes 1-4   id of the writer's schema, big-endian
    the rest    the record in Avro's binary encoding, and nothing after it

Rules:

- Writing needs no waiting: ``prepare`` fetches the ids once, ``encode`` is a plain function from then on.
- Reading resolves the writer's schema, named by the id in the record, to the newest schema that this code knows. It
  waits only for the first record of an id; ids never change their meaning, so what is known is kept for ever.
- Many records are read and written by the column where that is proven to be the same (``columnar.py``), also those of
  other versions of the schema (``resolution.py``).
- Whatever bytes come in, only ``ContractError`` (this record is at fault) or ``RegistryUnavailableError`` (nothing is
  decided about this record yet) comes out.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, NamedTuple, TypeVar

from fastavro import schemaless_reader, schemaless_writer
from fastavro.validation import ValidationError as AvroValidationError
from fastavro.validation import validate
from pydantic import ValidationError

from millrace.contracts import schemas
from millrace.contracts.columnar import HEADER_BYTES, Columnar
from millrace.contracts.errors import ContractError, ProjectError, UndecodableError
from millrace.contracts.events import Event
from millrace.contracts.project import Project
from millrace.contracts.resolution import Mixed, Resolved, head_of
from millrace.contracts.schemas import JsonSchema, Schema, SchemaSource, row_schema
from millrace.contracts.topics import TopicRow, subject, topic_name

MAGIC = 0
SHOWN_BYTES = 24  # enough of a bad record to recognise JSON, text or another magic in a dead letter's reason

E = TypeVar("E", bound=Event)


class _Writer(NamedTuple):
    """How one topic is written."""

    prefix: bytes
    schema: Schema


class Codec:
    """Encodes and decodes records. One for each process; holds no connection of its own.

    ``source`` gives ids to schemas: the schema registry, or ``LocalSchemas`` in a simulation.
    """

    def __init__(self, source: SchemaSource) -> None:
        self._source = source
        self._writers: dict[str, _Writer] = {}
        self._by_id: dict[int, Schema] = {}
        self._columnar: dict[str, Columnar | None] = {}
        self._resolved: dict[tuple[int, Schema], Columnar | None] = {}

    async def prepare(self, project: Project, *rows: TopicRow) -> None:
        """Make the topics of these rows writable. Registers schemas that the registry does not have.

        Raises:
            IncompatibleSchemaError: the registry has older versions that this one breaks.
            RegistryUnavailableError: the registry does not answer; call again later.
        """
        for row in rows:
            await self.prepare_topic(topic_name(row, project), row_schema(row, project))

    async def prepare_topic(self, topic: str, raw: JsonSchema) -> None:
        """The same for one topic and a schema of the caller's."""
        schema = Schema.of(raw)
        schema_id = await self._source.register(subject(topic), raw)
        self._by_id.setdefault(schema_id, schema)
        self._writers[topic] = _Writer(bytes([MAGIC]) + schema_id.to_bytes(4, "big"), schema)

    def encode(self, topic: str, event: Event) -> bytes:
        """The event as this topic's value. The topic must be prepared, and be the event's."""
        writer = self._writers[topic]
        if writer.schema.name != type(event).__name__:
            raise TypeError(f"{topic} takes {writer.schema.name}, not {type(event).__name__}")
        return _write(writer, event.to_record())

    def encode_record(self, topic: str, record: Mapping[str, Any]) -> bytes:
        """A dictionary as this topic's value, for the user's own events. The topic must be prepared.

        Avro's writer turns 0.5 into the int 0 and forgets unknown fields, both in silence; so the record is checked
        first. Raises ``ContractError`` (``unencodable``) naming the field.
        """
        writer = self._writers[topic]
        unknown = record.keys() - {field["name"] for field in writer.schema.parsed["fields"]}
        if unknown:
            raise ContractError("unencodable", f"{topic} has no field {sorted(unknown)}; see its schema")
        try:
            if not validate(
                record, writer.schema.parsed, raise_errors=False
            ):  # finding the words costs 15 times as much
                validate(record, writer.schema.parsed)
            return _write(writer, record)
        except AvroValidationError as error:
            raise ContractError("unencodable", f"not a record of {topic}: {error}") from error
        except Exception as error:  # whatever else a value's type provokes in fastavro: the record is at fault
            raise ContractError("unencodable", f"not a record of {topic}: {error!r}") from error

    async def decode(self, event_class: type[E], data: bytes | None) -> E:
        """The event in these bytes, as the newest version of its class.

        Raises:
            UndecodableError: the bytes are not such an event.
            UnknownSchemaError: the registry does not know the id.
            RegistryUnavailableError: the registry does not answer, so nothing is known about the record.
        """
        record = await self.decode_record(data, schemas.newest(event_class.schema_name))
        try:
            return event_class.model_validate(record)
        except ValidationError as error:
            raise UndecodableError(f"not a {event_class.__name__}: {error}") from error

    async def decode_record(self, data: bytes | None, reader: Schema | None = None) -> dict[str, Any]:
        """The record in these bytes as a dictionary, cheaper than an event. Raises like :meth:`decode`.

        ``reader`` is the schema that the caller expects; None takes the record as it was written.
        """
        schema_id = schema_id_of(data)
        assert data is not None, "schema_id_of refuses None"
        writer = self._by_id.get(schema_id) or await self._fetch(schema_id)
        return _read(data, writer, reader)

    async def columnar(self, values: Sequence[bytes | None], reader: Schema) -> Columnar | None:
        """What reads all these values by the column, or None if they are to be read one by one.

        Their schemas may be earlier or later versions of the reader's, and several, as long as each is of types that
        are proven (``resolution.py``). Reading itself, ``Columnar.decode``, is left to the caller, because it belongs
        into a thread.

        Raises:
            RegistryUnavailableError: the registry does not answer, so nothing is known about the records.
        """
        try:
            heads = set(map(head_of, values))
        except TypeError:  # None, a tombstone
            return None
        by_head: dict[bytes, Columnar] = {}
        for head in heads:
            found = await self._of_head(head, reader)
            if found is None:
                return None
            by_head[head] = found
        if len(by_head) > 1:
            return Mixed.of_heads(by_head)
        return next(iter(by_head.values()), None)

    async def _of_head(self, head: bytes, reader: Schema) -> Columnar | None:
        """What reads the records that begin with this header."""
        if len(head) < HEADER_BYTES or head[0] != MAGIC:
            return None
        schema_id = int.from_bytes(head[1:], "big")
        try:
            writer = self._by_id.get(schema_id) or await self._fetch(schema_id)
        except ContractError:  # it is raised again for each of them, where it can be said which one it was
            return None
        if writer.canonical == reader.canonical:
            return self.columnar_of(reader)
        if (schema_id, reader) not in self._resolved:  # by identity: a reader's defaults are not in its canonical form
            self._resolved[schema_id, reader] = Resolved.between(writer, reader)
        return self._resolved[schema_id, reader]

    def columnar_of(self, schema: Schema) -> Columnar | None:
        """The schema for columns; None if one of its types is not proven."""
        if schema.canonical not in self._columnar:
            self._columnar[schema.canonical] = Columnar.of(schema)
        return self._columnar[schema.canonical]

    def batch(self, topic: str, columns: Mapping[str, Any]) -> Any:
        """Columns by field name (Arrow arrays, or what Arrow makes them of) as a batch for :meth:`encode_columns`."""
        return self._writable(topic).batch(columns)

    def encode_columns(self, topic: str, batch: Any) -> list[bytes]:
        """Each row of a ``pyarrow.RecordBatch`` as this topic's value. The topic must be prepared.

        The columns are those of ``columnar_of`` the topic's schema, which must have one. May be called in a thread.
        """
        return self._writable(topic).encode(batch, self._writers[topic].prefix)

    def _writable(self, topic: str) -> Columnar:
        columnar = self.columnar_of(self._writers[topic].schema)
        assert columnar is not None, f"{topic}: its schema is ours, and a test holds it to be proven"
        return columnar

    def writer_schema(self, schema_id: int) -> JsonSchema | None:
        """The schema of this id as its producer registered it, docs, units and all; None if no record had it yet.

        Asks nobody. Not to be changed by the caller.
        """
        known = self._by_id.get(schema_id)
        return None if known is None else known.raw

    async def _fetch(self, schema_id: int) -> Schema:
        raw = await self._source.schema_by_id(schema_id)
        try:
            schema = Schema.of(raw)
        except ProjectError as error:
            raise UndecodableError(f"schema id {schema_id} is no event's: {error}") from error
        return self._by_id.setdefault(schema_id, schema)


def schema_id_of(data: bytes | None) -> int:
    """The id in a record's first five bytes. Raises ``UndecodableError`` if it does not begin like a record."""
    if not data:
        raise UndecodableError("empty: a tombstone or an empty value is no event")
    if data[0] != MAGIC:
        raise UndecodableError(
            f"begins with byte {data[0]:#04x}, not with the magic 0x00 of the Confluent wire format: {_shown(data)}; "
            "produce with a Schema Registry serializer"
        )
    if len(data) < HEADER_BYTES:
        raise UndecodableError(f"only {len(data)} bytes, the header alone has {HEADER_BYTES}: {_shown(data)}")
    return int.from_bytes(data[1:HEADER_BYTES], "big")


def _write(writer: _Writer, record: Mapping[str, Any]) -> bytes:
    out = BytesIO()
    out.write(writer.prefix)
    schemaless_writer(out, writer.schema.parsed, record, disable_tuple_notation=True)
    return out.getvalue()


def _read(data: bytes, writer: Schema, reader: Schema | None) -> dict[str, Any]:
    """Decode the body, resolving only where the two schemas differ; that costs a quarter more."""
    resolved = None if reader is None or reader.canonical == writer.canonical else reader.parsed
    stream = BytesIO(data)
    stream.seek(HEADER_BYTES)
    try:
        record: Any = schemaless_reader(stream, writer.parsed, resolved)
    except Exception as error:  # fastavro names no base class: EOFError, IndexError, UnicodeDecodeError, KeyError, …
        raise UndecodableError(f"not a {(reader or writer).name} of its schema: {error!r}: {_shown(data)}") from error
    if stream.tell() != len(data):
        raise UndecodableError(f"{len(data) - stream.tell()} bytes follow the {writer.name}: {_shown(data)}")
    decoded: dict[str, Any] = record  # ``Schema.of`` refuses all but records
    return decoded


def _shown(data: bytes) -> str:
    return repr(data[:SHOWN_BYTES]) + ("…" if len(data) > SHOWN_BYTES else "")
