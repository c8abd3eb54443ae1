"""The schemas under ``schemas/`` as Python sees them, and who gives them ids.

Two forms of one schema are kept apart. ``raw`` is the text as written: it is what the registry gets, with every
``doc``, ``unit`` and ``logicalType``. ``parsed`` is what fastavro reads and writes with: without the logical types
of time and without documentation. So a time stays the integer that is on the wire, in the unit its schema names;
on the wire nothing changes. ``decimal`` is kept, because its bytes mean nothing without the scale.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Literal, Protocol

from fastavro.schema import SchemaParseException, UnknownType, parse_schema, to_parsing_canonical_form

from millrace.contracts.errors import ProjectError
from millrace.contracts.project import Project
from millrace.contracts.topics import EVENTS, TopicRow

JsonSchema = dict[str, Any]
Level = Literal["NONE", "BACKWARD_TRANSITIVE", "FULL_TRANSITIVE"]
_KEPT_LOGICAL_TYPES = frozenset({"decimal"})
_WITHOUT_EFFECT = frozenset({"doc", "unit"})


class SchemaSource(Protocol):
    """Whoever gives ids to schemas: a schema registry, or ``LocalSchemas`` for simulations."""

    async def register(self, subject: str, schema: JsonSchema) -> int:
        """The id of this schema under this subject; registering it again gives the same id.

        Raises ``IncompatibleSchemaError`` if the subject's level forbids it; then nothing has changed.
        """
        ...

    async def schema_by_id(self, schema_id: int) -> JsonSchema:
        """The schema of this id, which never changes. Raises ``UnknownSchemaError`` if there is none (yet)."""
        ...

    async def set_compatibility(self, subject: str, level: Level) -> None:
        """What later versions of the subject must keep to. Holds from the next ``register`` on."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Schema:
    """A schema ready for reading and writing. ``canonical`` is equal where the bytes on the wire are equal."""

    raw: JsonSchema
    parsed: JsonSchema = field(repr=False)
    canonical: str = field(repr=False)

    @property
    def name(self) -> str:
        """The record's name without its namespace."""
        return str(self.raw["name"]).rpartition(".")[2]

    @property
    def field_names(self) -> list[str]:
        """The record's fields, in their order."""
        return [field["name"] for field in self.parsed["fields"]]

    @classmethod
    def of(cls, raw: JsonSchema) -> "Schema":
        """Parse a record's schema. Raises ``ProjectError`` if it is not valid Avro, or not a record."""
        try:
            parsed: Any = parse_schema(_lean(raw))
            canonical = to_parsing_canonical_form(parsed)
        except (SchemaParseException, UnknownType, ValueError, TypeError, KeyError, AttributeError) as error:
            raise ProjectError(f"not a valid Avro schema: {error}; see https://avro.apache.org/docs/") from error
        if not isinstance(parsed, dict) or parsed.get("type") != "record" or "fields" not in raw:
            raise ProjectError(f"an event is a record with fields, this schema is of type {raw.get('type')!r}")
        if any(_takes_no_bytes(items, parsed["__named_schemas"]) for items in _item_types(parsed)):
            raise ProjectError("an array of items that take no bytes: ten bytes could then claim 2^60 of them")
        return cls(raw, parsed, canonical)


def without_logical_types(schema: Any) -> Any:
    """The same schema with times as plain integers. Names of record fields are left alone.

    >>> without_logical_types({"type": "long", "logicalType": "timestamp-millis"})
    {'type': 'long'}
    """
    return _without(schema, frozenset({"logicalType"}))


def _lean(schema: Any) -> Any:
    return _without(schema, _WITHOUT_EFFECT | {"logicalType"})


def _without(schema: Any, dropped: frozenset[str]) -> Any:
    """Drop attributes of schemas and fields; defaults are data, not schemas, and stay as they are."""
    if isinstance(schema, list):
        return [_without(part, dropped) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("logicalType") in _KEPT_LOGICAL_TYPES:
        dropped = dropped - {"logicalType"}
    return {
        key: value if key == "default" else _without(value, dropped)
        for key, value in schema.items()
        if key not in dropped
    }


def _item_types(kind: Any) -> Iterator[Any]:
    """The types of the items of every array in a parsed schema."""
    if isinstance(kind, list):
        for branch in kind:
            yield from _item_types(branch)
    elif isinstance(kind, dict):
        if kind["type"] == "array":
            yield kind["items"]
        inner = [kind[part] for part in ("items", "values", "type") if isinstance(kind.get(part), dict | list)]
        for part in (*inner, *kind.get("fields", ())):
            yield from _item_types(part)


def _takes_no_bytes(kind: Any, named: Mapping[str, Any], within: frozenset[str] = frozenset()) -> bool:
    """Whether every value of this type is written as nothing. A record within itself is: it could never end."""
    kind = named.get(kind, {"type": kind}) if isinstance(kind, str) else kind
    if isinstance(kind, list):
        return False
    if kind["type"] == "record":
        inside = within | {kind["name"]}
        parts = [field["type"] for field in kind["fields"]]
        return all(str(part) in inside or _takes_no_bytes(part, named, inside) for part in parts)
    return bool(kind["type"] == "null" or (kind["type"] == "fixed" and kind["size"] == 0))


def names() -> tuple[str, ...]:
    """Every event that has a schema: the folders under ``schemas/``, sorted."""
    return tuple(sorted(entry.name for entry in _root().iterdir() if entry.is_dir() and versions(entry.name)))


def versions(name: str) -> tuple[int, ...]:
    """The versions of an event's schema, oldest first; empty for a folder that holds none."""
    files = (entry.name for entry in _root().joinpath(name).iterdir())
    return tuple(sorted(int(file[1:-5]) for file in files if file.endswith(".avsc") and file[1:-5].isdecimal()))


def text(name: str, version: int | None = None) -> str:
    """The schema file as written, the newest version unless told."""
    return _root().joinpath(name, f"v{version or versions(name)[-1]}.avsc").read_text(encoding="utf-8")


def load(name: str, version: int | None = None) -> JsonSchema:
    """The schema as written, the newest version unless told; a copy that the caller may change."""
    loaded: JsonSchema = json.loads(text(name, version))
    return loaded


@cache
def newest(name: str) -> Schema:
    """The newest version, parsed once for the whole process."""
    return Schema.of(load(name))


def examples(name: str) -> Mapping[str, str]:
    """The example records of an event by file name (``ok-*.json``, ``bad-*.json``), in Avro's JSON encoding."""
    folder = _root().joinpath(name, "examples")
    files = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {file.name: file.read_text(encoding="utf-8") for file in files if file.name.endswith(".json")}


def row_schema(row: TopicRow, project: Project) -> JsonSchema:
    """The schema of a topic's values: ours, or the project's own for its events."""
    if row.schema is not None:
        return load(row.schema)
    if row is EVENTS:
        return project.event_schema
    raise ValueError(f"{row.suffix} carries bytes as received; they have no schema of their own")


def _root() -> Traversable:
    return resources.files("schemas")
