"""What a new version of a schema may change, said in words, and the registration of every subject.

Levels, always against *all* older versions, because the log is read from its beginning:

- What Millrace publishes is FULL: old readers read new records and new readers read old ones. So a field comes or
  goes only with a default, and no symbol is ever added to an enum without one.
- What upstream writes (events, labels) is BACKWARD: new readers read old records. Upstream may stop sending a field
  without asking anybody; it may not change what a field is.

The registry decides. ``explain_change`` follows the resolution rules of the Avro specification 1.12 too, so that an
answer names the field and the way out instead of a type path.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from millrace.contracts.project import Project
from millrace.contracts.resolution import PROMOTIONS
from millrace.contracts.schemas import JsonSchema, Level, Schema, SchemaSource, row_schema
from millrace.contracts.topics import DEAD_LETTERS, TABLE, TopicRow, subject, topic_name

_Reason = tuple[str, str]
"""What breaks, and the way out for whoever changes the reader."""
_NAMED = frozenset({"record", "enum", "fixed"})
_KEEP = "keep it as it was: programs with the older version still read this"


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


def explain_change(new: JsonSchema, old: JsonSchema, level: str) -> list[str]:
    """Why ``level`` forbids ``new`` after ``old``, one sentence for each reason; empty if it does not.

    ``level`` may be any that a registry knows; whether it is transitive is for the caller, who has the versions.
    """
    reasons: list[str] = []
    if level.startswith(("BACKWARD", "FULL")):
        reasons += [f"{what}; {way_out} (new readers, old records)" for what, way_out in _reasons(new, old)]
    if level.startswith(("FORWARD", "FULL")):
        reasons += [f"{what}; {_KEEP} (old readers, new records)" for what, _ in _reasons(old, new)]
    return reasons


def explain_versions(new: JsonSchema, olds: Mapping[int, JsonSchema], level: str) -> list[str]:
    """Why ``level`` forbids ``new`` after these older versions (by number): each reason once, with the versions.

    >>> old = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "double"}]}
    >>> new = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "int"}]}
    >>> explain_versions(new, {1: old, 2: new, 3: old}, "BACKWARD_TRANSITIVE")[0].partition(";")[0]
    'versions 1, 3: field price: type changed from double to int'
    """
    if not level.endswith("_TRANSITIVE"):
        olds = {number: olds[number] for number in sorted(olds)[-1:]}
    broken: dict[str, list[str]] = {}
    for number in sorted(olds):
        for reason in explain_change(new, olds[number], level):
            broken.setdefault(reason, []).append(str(number))
    return [f"version{'s' * (len(numbers) > 1)} {', '.join(numbers)}: {reason}" for reason, numbers in broken.items()]


def explain_incompatible(reader: JsonSchema, writer: JsonSchema) -> list[str]:
    """Why records of ``writer`` cannot be read as ``reader``, one sentence for each reason; empty if they can.

    >>> old = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "double"}]}
    >>> new = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "string"}]}
    >>> explain_incompatible(new, old)[0].partition(";")[0]
    'field price: type changed from double to string'
    """
    return [f"{what}; {way_out}" for what, way_out in _reasons(reader, writer)]


def _reasons(reader: JsonSchema, writer: JsonSchema) -> list[_Reason]:
    read, written = Schema.of(reader).parsed, Schema.of(writer).parsed
    return list(dict.fromkeys(_Comparison(read["__named_schemas"], written["__named_schemas"]).of(read, written, "")))


class _Comparison:
    """One walk over two schemas. Pairs of records already under way are taken as readable, which ends recursion."""

    def __init__(self, reader_names: Mapping[str, Any], writer_names: Mapping[str, Any]) -> None:
        self._reader_names = reader_names
        self._writer_names = writer_names
        self._open: set[tuple[str, str]] = set()

    def of(self, reader: Any, writer: Any, at: str) -> Iterator[_Reason]:
        """The reasons why this part cannot be read; ``at`` is the path of field names so far."""
        reader, writer = _named(reader, self._reader_names), _named(writer, self._writer_names)
        if isinstance(writer, list):
            for branch in writer:
                yield from self.of(reader, branch, at)
        elif isinstance(reader, list):
            if not any(self._fits(branch, writer, at) for branch in reader):
                several = ", ".join(_type(branch) for branch in reader)
                yield f"{_where(at)}: {_type(writer)} is none of {several}", f"add {_type(writer)} to the union"
        else:
            yield from self._single(reader, writer, at)

    def _fits(self, reader: Any, writer: Any, at: str) -> bool:
        return next(self.of(reader, writer, at), None) is None

    def _single(self, reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[_Reason]:
        """Neither is a union."""
        read, written = reader["type"], writer["type"]
        if read != written:
            if read not in PROMOTIONS.get(written, ()):
                yield f"{_where(at)}: type changed from {_type(writer)} to {_type(reader)}", _way_out(reader, writer)
        elif read in _NAMED and not _same_name(reader, writer):
            old = writer["name"].rpartition(".")[2]
            yield (
                f"{_where(at)}: {written} renamed from {writer['name']} to {reader['name']} without an alias",
                f'keep the name, or add "aliases": ["{old}"] to the {written}',
            )
        elif read == "record":
            yield from self._record(reader, writer, at)
        elif read == "enum":
            yield from _enum(reader, writer, at)
        elif read == "fixed" and reader["size"] != writer["size"]:
            what = f"{_where(at)}: size changed from {writer['size']} to {reader['size']} bytes"
            yield what, "keep the size, and add a field of another name with a default"
        elif read in {"array", "map"}:
            part = "items" if read == "array" else "values"
            yield from self.of(reader[part], writer[part], f"{at}[]")

    def _record(self, reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[_Reason]:
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
                yield f"{_where(path)}: expected by the reader but not written", _missing(field, reader, writer)
        self._open.discard(pair)


def _enum(reader: dict[str, Any], writer: dict[str, Any], at: str) -> Iterator[_Reason]:
    unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if unknown and "default" not in reader:
        yield (
            f"{_where(at)}: the reader's enum lacks {', '.join(unknown)} and has no default symbol",
            f"put {', '.join(unknown)} back; symbols may be added, not taken away",
        )


def _missing(field: Mapping[str, Any], reader: Mapping[str, Any], writer: Mapping[str, Any]) -> str:
    """A field that the writer lacks is new, or an old one under a new name."""
    gone = {each["name"] for each in writer["fields"]} - {each["name"] for each in reader["fields"]}
    like = [each["name"] for each in writer["fields"] if each["name"] in gone and each["type"] == field["type"]]
    if not like:
        return "give it a default"
    names = " or ".join(repr(name) for name in like)
    return f'give it a default; or, if it is {names} renamed, add "aliases": [{json.dumps(like[0])}] to it'


def _way_out(reader: Any, writer: Any) -> str:
    """For a type that has changed."""
    if writer["type"] == "null":
        return f'keep the union with null, ["null", {json.dumps(_type(reader))}]: older records may have no value'
    if writer["type"] in PROMOTIONS.get(reader["type"], ()):
        return f"keep {_type(writer)}: numbers may be widened ({_type(reader)} to {_type(writer)}), not narrowed"
    return f"keep {_type(writer)}, and add a field of another name with a default"


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
