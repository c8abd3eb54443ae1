"""What events lose when upstream writes another schema than the project's. Pure."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from millrace.contracts.compatibility import explain_incompatible
from millrace.contracts.event_base import Severity
from millrace.contracts.schemas import JsonSchema, Schema
from millrace.expectations.window import Finding

SCHEMA_SKEW = "schema-skew"
_WIDTHS = {"int": 0, "long": 1, "float": 2, "double": 3}
_OF_NULL = "type changed from null to"


def skew(reader_schema: JsonSchema, writer_schema: JsonSchema, used_fields: AbstractSet[str]) -> list[Finding]:
    """What the fields that features and rules look at lose if events are written with the writer's schema.

    - An alarm: the writer does not write the field, so that every event has the default; or it writes what the
      project's schema cannot read, so that such events go to the dead letters.
    - A warning: the type is narrower, or may be null where the project's has none, or knows a symbol that it lacks.

    ``observed`` is 0 of the 1 field that is expected; for symbols the number of new ones. The findings are of no rows.

    >>> reader = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "double"}]}
    >>> writer = {"type": "record", "name": "Bid", "fields": [{"name": "price", "type": "int"}]}
    >>> [(one.subject, one.severity) for one in skew(reader, writer, {"price"})]
    [('price', 'WARNING')]
    """
    reader, writer = Schema.of(reader_schema).parsed, Schema.of(writer_schema).parsed
    written = {field["name"]: field["type"] for field in writer["fields"]}
    unreadable = explain_incompatible(reader_schema, writer_schema)
    findings: list[Finding] = []
    for field in reader["fields"]:
        name = field["name"]
        if name not in used_fields:
            continue
        source = next((one for one in (name, *field.get("aliases", ())) if one in written), None)
        about = [one for one in unreadable if one.startswith((f"field {name}:", f"field {name}.", f"field {name}["))]
        reasons = [one for one in about if _OF_NULL not in one]
        if source is None:
            message = f"field {name!r} is not written any more; every event has its default"
            findings.append(_finding(name, "ALARM", message))
        elif reasons:
            findings.append(_finding(name, "ALARM", f"{reasons[0]}; such events go to the dead letters"))
        else:
            read, sent = _Kind(field["type"], reader), _Kind(written[source], writer)
            findings += _narrowed(name, read, sent)
    return findings


class _Kind:
    """A type without its null: its name, the symbols of an enum, and whether it may be null."""

    def __init__(self, kind: Any, schema: Mapping[str, Any]) -> None:
        branches = kind if isinstance(kind, list) else [kind]
        self.nullable = "null" in branches
        inner = [branch for branch in branches if branch != "null"]
        one = inner[0] if len(inner) == 1 else "union"
        one = schema["__named_schemas"].get(one, one) if isinstance(one, str) else one
        self.name: str = str(one["type"]) if isinstance(one, dict) else one
        self.symbols: tuple[str, ...] = tuple(one.get("symbols", ())) if isinstance(one, dict) else ()


def _narrowed(name: str, read: _Kind, sent: _Kind) -> Iterator[Finding]:
    if sent.nullable and not read.nullable:
        message = f"field {name!r} may be null now, which the project's schema does not allow; such events go to the "
        yield _finding(name, "WARNING", f"{message}dead letters")
    if _WIDTHS.get(sent.name, 9) < _WIDTHS.get(read.name, -1):
        yield _finding(
            name, "WARNING", f"field {name!r} is written as {sent.name}, the project's schema has {read.name}"
        )
    new = sorted(set(sent.symbols) - set(read.symbols))
    if new and read.name == "enum":
        message = f"field {name!r} may be {', '.join(new)}, which the project's schema reads as its default"
        yield _finding(name, "WARNING", message, observed=float(len(new)), expected=0.0)


def _finding(name: str, severity: Severity, message: str, *, observed: float = 0.0, expected: float = 1.0) -> Finding:
    return Finding(SCHEMA_SKEW, name, severity, observed, expected, 0, message)
