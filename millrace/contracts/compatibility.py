"""What a new version of a schema may change, said in words, and the registration of every subject.

Levels, always against *all* older versions, because the log is read from its beginning:

- What Millrace publishes is FULL: old readers read new records and new readers read old ones. So a field comes or
  goes only with a default, and no symbol is ever added to an enum without one.
- What upstream writes (events, labels) is BACKWARD: new readers read old records. Upstream may stop sending a field
  without asking anybody; it may not change what a field is.

The registry decides. ``explain_change`` follows the resolution rules of the Avro specification 1.12 too, so that an
answer names the field and the way out instead of a type path.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from millrace.contracts.project import Project
from millrace.contracts.schemas import JsonSchema, Level, Schema, SchemaSource, row_schema
from millrace.contracts.topics import DEAD_LETTERS, TABLE, TopicRow, subject, topic_name

_PROMOTIONS: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
_NAMED = frozenset({"record", "enum", "fixed"})


def level_of(row: TopicRow) -> Level:
    """What later versions of a topic's schema must keep to."""
    return "BACKWARD_TRANSITIVE" if row.is_input else "FULL_TRANSITIVE"


async def register_all(source: SchemaSource, project: Project) -> dict[str, int]:
    """Set the level of every subject of the project and register its schema; returns the ids by topic.

    Safe to repeat. Raises ``IncompatibleSchemaError`` at the first subject whose older versions would break: those
    before it are registered, which changes nothing for anybody.
    """
    ids: dict[str, int] = {}
    for row in TABLE:
        if row is DEAD_LETTERS:  # bytes as received: no schema
            continue
        topic = topic_name(row, project)
        await source.set_compatibility(subject(topic), level_of(row))
        ids[topic] = await source.register(subject(topic), row_schema(row, project))
    return ids


def explain_change(new: JsonSchema, old: JsonSchema, level: Level) -> list[str]:
    """Why ``level`` forbids ``new`` after ``old``, one sentence for each reason; empty if it does not."""
    if level == "NONE":
        return []
    reasons = [f"{reason} (new readers, old records)" for reason in explain_incompatible(new, old)]
    if level == "FULL_TRANSITIVE":
        reasons += [f"{reason} (old readers, new records)" for reason in explain_incompatible(old, new)]
    return reasons


def explain_incompatible(reader: JsonSchema, writer: JsonSchema) -> list[str]:
    """Why records of ``writer`` cannot be read as ``reader``, one sentence for each reason; empty if they can.

    >>> old = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "double"}]}
    >>> new = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "string"}]}
    >>> explain_incompatible(new, old)
    ['field price: type changed from double to string']
    """
    read, written = Schema.of(reader).parsed, Schema.of(writer).parsed
    return list(dict.fromkeys(_Comparison(read["__named_schemas"], written["__named_schemas"]).of(read, written, "")))


class _Comparison:
    """One walk over two schemas. Pairs of records already under way are taken as readable, which ends recursion."""

    def __init__(self, reader_names: Mapping[str, Any], writer_names: Mapping[str, Any]) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._open: set[tuple[str, str]] = set()

    def of(self, reader: Any, writer: Any, at: str) -> Iterator[str]:
        """The reasons why this part cannot be read; ``at`` is the path of field names so far."""
        reader, writer = _named(reader, self._reader_names), _named(writer, self._writer_names)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.of(reader, branch, at)
        elif isinstance(reader, list):
            if not any(self._fits(branch, writer, at) for branch in reader):
                yield f"{_where(at)}: {_type(writer)} is none of {', '.join(_type(branch) for branch in reader)}"
        else:
            yield from self._single(reader, writer, at)

    def _fits(self, reader: Any, writer: Any, at: str) -> bool:
        return next(self.of(reader, writer, at), None) is None

    def _single(self, reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[str]:
        """Neither is a union."""
        read, written = reader["type"], writer["type"]
        if read != written:
            if read not in _PROMOTIONS.get(written, ()):
                yield f"{_where(at)}: type changed from {_type(writer)} to {_type(reader)}"
        elif read in _NAMED and not _same_name(reader, writer):
            yield f"{_where(at)}: {written} renamed from {writer['name']} to {reader['name']} without an alias"
        elif read == "record":
            yield from self._record(reader, writer, at)
        elif read == "enum":
            yield from _enum(reader, writer, at)
        elif read == "fixed" and reader["size"] != writer["size"]:
            yield f"{_where(at)}: size changed from {writer['size']} to {reader['size']} bytes"
        elif read in {"array", "map"}:
            part = "items" if read == "array" else "values"
            yield from self.of(reader[part], writer[part], f"{at}[]")

    def _record(self, reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[str]:
        pair = (reader["name"], writer["name"])
        if pair in self._open:
            return
        self._open.add(pair)
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            path = f"{at}.{field['name']}" if at else field["name"]
            found = next((name for name in (field["name"], *field.get("aliases", ())) if name in written), None)
            if found is not None:
                yield from self.of(field["type"], written[found]["type"], path)
            elif "default" not in field:
                yield f"{_where(path)}: expected by the reader but not written; give it a default"
        self._open.discard(pair)


def _enum(reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[str]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if unknown and "default" not in reader:
        yield f"{_where(at)}: the reader's enum lacks {', '.join(unknown)} and has no default symbol"


def _named(kind: Any, names: Mapping[str, Any]) -> Any:
    """A type as a union's list or a dictionary, looked up where it is a name."""
    while isinstance(kind, dict) and isinstance(kind["type"], dict | list):
        kind = kind["type"]
    if isinstance(kind, dict | list):
        return kind
    return names.get(kind, {"type": kind})


def _same_name(reader: dict[str, Any], writer: dict[str, Any]) -> bool:
    """Named types match by the last part of their names, or by an alias of the reader's."""
    accepted = {name.rpartition(".")[2] for name in (reader["name"], *reader.get("aliases", ()))}
    return writer["name"].rpartition(".")[2] in accepted


def _type(kind: Any) -> str:
    if isinstance(kind, list):
        return f"[{', '.join(_type(branch) for branch in kind)}]"
    if not isinstance(kind, dict):
        return str(kind)
    return f"{kind['type']} {kind['name']}" if kind["type"] in _NAMED else _type(kind["type"])


def _where(at: str) -> str:
    return f"field {at}" if at else "the record"
