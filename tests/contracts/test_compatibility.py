"""What a change of a schema breaks, said in words; the registration of all subjects."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.contracts import schemas
from millrace.contracts.compatibility import (
    explain_change,
    explain_incompatible,
    explain_versions,
    level_of,
    register_all,
)
from millrace.contracts.errors import IncompatibleSchemaError, ProjectError
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.topics import DEAD_LETTERS, EVENTS, LABELS, TABLE, topic_name

MODEL_YAML = """
stream: shop
model: fraud
event: {schema: event.avsc, id: id, entity: card, time: at}
label: {classes: [good, bad], delay_s: 60}
features: [{name: amount, kind: value, field: amount}]
training: {first_rows: 100, window_rows: 100, holdout_rows: 20}
gates: {first: 0.5}
"""
EVENT: dict[str, Any] = {
    "type": "record",
    "name": "Payment",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "card", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "amount", "type": "double"},
    ],
}


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A small model project."""
    (tmp_path / "model.yaml").write_text(MODEL_YAML, encoding="utf-8")
    (tmp_path / "event.avsc").write_text(json.dumps(EVENT), encoding="utf-8")
    (tmp_path / "pipeline.py").write_text("", encoding="utf-8")
    return load_project(tmp_path)


def record(*fields: dict[str, Any], name: str = "Bid", **more: Any) -> dict[str, Any]:
    """A record's schema."""
    return {"type": "record", "name": name, "fields": list(fields), **more}


def of(kind: Any, name: str = "x", **more: Any) -> dict[str, Any]:
    """A record with one field of this type."""
    return record({"name": name, "type": kind, **more})


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    """An enum's schema."""
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


READABLE = [
    (of("double"), of("int")),
    (of("bytes"), of("string")),
    (of(["null", "string"]), of("string")),
    (of(["double", "string"]), of("int")),
    (of("string"), of(["string"])),
    (record(), of("int")),
    (of("int", default=1), record()),
    (of("int", "y", aliases=["x"]), of("int")),
    (of(enum("A", "B")), of(enum("A"))),
    (of(enum("A", default="A")), of(enum("A", "B"))),
    (of({"type": "array", "items": "long"}), of({"type": "array", "items": "int"})),
    (record(name="there.Bid"), record(name="here.Bid")),
    (record(name="New", aliases=["Bid"]), record()),
    (of(["null", "Bid"]), of(["null", "Bid"])),
]
UNREADABLE = [
    (of("string"), of("double"), "field x: type changed from double to string"),
    (of("int"), of("long"), "field x: type changed from long to int"),
    (of("int"), record(), "field x: expected by the reader but not written; give it a default"),
    (of("string"), of(["null", "string"]), "field x: type changed from null to string"),
    (of(["null", "string"]), of("int"), "field x: int is none of null, string"),
    (of(enum("A")), of(enum("A", "B")), "field x: the reader's enum lacks B and has no default symbol"),
    (of({"type": "map", "values": "int"}), of({"type": "map", "values": "string"}), "field x[]: type changed from"),
    (record(name="Ask"), record(), "the record: record renamed from Bid to Ask without an alias"),
    (
        of({"type": "fixed", "name": "F", "size": 2}),
        of({"type": "fixed", "name": "F", "size": 3}),
        "field x: size changed from 3 to 2 bytes",
    ),
    (
        of(of("int", "b") | {"name": "In"}),
        of(of("string", "b") | {"name": "In"}),
        "field x.b: type changed from string",
    ),
    (of("int"), of(enum("A")), "field x: type changed from enum E to int"),
]


@pytest.mark.parametrize(("reader", "writer"), READABLE)
def test_readable(reader: dict[str, Any], writer: dict[str, Any]) -> None:
    """Nothing is said where the specification resolves the two."""
    assert explain_incompatible(reader, writer) == []


@pytest.mark.parametrize(("reader", "writer", "reason"), UNREADABLE)
def test_unreadable(reader: dict[str, Any], writer: dict[str, Any], reason: str) -> None:
    """One sentence that names the field."""
    (said,) = explain_incompatible(reader, writer)

    assert said.startswith(reason)


def test_recursive_schemas_end() -> None:
    """A tree of itself is compared once."""
    tree = record({"name": "next", "type": ["null", "Bid"]}, {"name": "value", "type": "int"})
    other = record({"name": "next", "type": ["null", "Bid"]}, {"name": "value", "type": "string"})

    assert explain_incompatible(tree, tree) == []
    (said,) = explain_incompatible(tree, other)
    assert said.startswith("field value: type changed from string to int")


KINDS = st.sampled_from(
    ["int", "long", "float", "double", "string", "bytes", "boolean", ["null", "int"], ["double", "string"]]
)


@given(reader=KINDS, writer=KINDS, data=st.data())
def test_agrees_with_fastavro(reader: Any, writer: Any, data: st.DataObject) -> None:
    """What is called readable, fastavro reads: the explanation is never more lenient than the codec."""
    from io import BytesIO

    from fastavro import schemaless_reader, schemaless_writer

    values = {
        "int": 1,
        "long": 2,
        "float": 0.5,
        "double": 0.5,
        "string": "s",
        "bytes": b"b",
        "boolean": True,
        "null": None,
    }
    branch = data.draw(st.sampled_from(writer)) if isinstance(writer, list) else writer
    stream = BytesIO()
    schemaless_writer(stream, of(writer), {"x": values[branch]})
    stream.seek(0)
    if not explain_incompatible(of(reader), of(writer)):
        assert "x" in str(schemaless_reader(stream, of(writer), of(reader)))


def test_levels() -> None:
    """Upstream's topics are read backwards, all others both ways."""
    inputs = [row for row in TABLE if level_of(row) == "BACKWARD_TRANSITIVE"]

    assert inputs == [EVENTS, LABELS]
    assert {level_of(row) for row in TABLE if row not in inputs} == {"FULL_TRANSITIVE"}


def test_a_level_decides_which_direction_counts() -> None:
    """Removing a field is fine for new readers and breaks old ones."""
    assert explain_change(record(), of("int"), "BACKWARD_TRANSITIVE") == []
    (said,) = explain_change(record(), of("int"), "FULL_TRANSITIVE")
    assert said.startswith(
        "field x: expected by the reader but not written; keep it as it was: programs with the older"
    )
    assert said.endswith("(old readers, new records)")
    assert explain_change(record(), of("int"), "FORWARD") == explain_change(record(), of("int"), "FULL")
    assert explain_change(of("string"), of("int"), "NONE") == []


async def test_register_all_registers_every_subject(project: Project) -> None:
    """Every topic but the dead letters, the events with the project's own schema; repeating it changes nothing."""
    source = LocalSchemas()
    ids = await register_all(source, project)

    assert {topic_name(row, project) for row in TABLE if row is not DEAD_LETTERS} == set(ids)
    assert {*range(1, len(TABLE) - 1)} == set(ids.values())
    assert ids["fraud-predictions"] == ids["fraud-shadow-predictions"]  # one schema, two subjects
    assert await source.schema_by_id(ids["shop-events"]) == EVENT
    assert await register_all(source, project) == ids


async def test_register_all_refuses_a_breaking_event_schema(project: Project) -> None:
    """The owner of the project is told the field and the way out."""
    source = LocalSchemas()
    await register_all(source, project)
    fields = [{**field, "type": "string"} if field["name"] == "at" else field for field in EVENT["fields"]]
    changed = project.model_copy(update={"event_schema": {**EVENT, "fields": fields}})

    with pytest.raises(
        IncompatibleSchemaError, match=r"shop-events-value .*field at: type changed from long to string"
    ):
        await register_all(source, changed)


async def test_local_schemas_give_ids_in_order() -> None:
    """Ids are deterministic: by order of registration, the same schema always the same id."""
    source = LocalSchemas()
    first, second = schemas.load("label-observed"), schemas.load("alert-raised")

    assert await source.register("a", first) == 1
    assert await source.register("b", second) == 2
    assert await source.register("c", first) == 1
    assert await source.register("a", first) == 1


async def test_local_schemas_remember_every_version() -> None:
    """TRANSITIVE: a third version is held against the first one too."""
    source = LocalSchemas()
    await source.set_compatibility("s", "BACKWARD_TRANSITIVE")
    await source.register("s", record())
    await source.register("s", of("int", default=0))

    with pytest.raises(IncompatibleSchemaError, match="level is BACKWARD_TRANSITIVE: version 1: field x"):
        await source.register("s", of("int"))


WAYS_OUT = [
    (of("string"), of("double"), "keep double, and add a field of another name with a default"),
    (of("int"), of("long"), "keep long: numbers may be widened (int to long), not narrowed"),
    (of("int"), record(), "give it a default"),
    (of("int", "y"), of("int"), 'give it a default; or, if it is \'x\' renamed, add "aliases": ["x"] to it'),
    (of("string"), of(["null", "string"]), 'keep the union with null, ["null", "string"]'),
    (of(["null", "string"]), of("int"), "add int to the union"),
    (of(enum("A")), of(enum("A", "B")), "put B back; symbols may be added, not taken away"),
    (record(name="Ask"), record(), 'keep the name, or add "aliases": ["Bid"] to the record'),
]


@pytest.mark.parametrize(("reader", "writer", "way_out"), WAYS_OUT)
def test_each_reason_has_its_way_out(reader: dict[str, Any], writer: dict[str, Any], way_out: str) -> None:
    """Whoever changes a schema is told what would be accepted instead."""
    (said,) = explain_incompatible(reader, writer)

    assert said.partition("; ")[2].startswith(way_out)


def test_each_version_that_breaks_is_named() -> None:
    """A transitive level looks at all of them, the others at the newest."""
    olds = {1: of("double"), 2: of("int"), 4: of("double")}

    (said,) = explain_versions(of("long"), olds, "BACKWARD_TRANSITIVE")
    assert said.startswith("versions 1, 4: field x: type changed from double to long")
    (said,) = explain_versions(of("long"), olds, "BACKWARD")
    assert said.startswith("version 4: field x")
    assert explain_versions(of("long"), {1: of("double"), 2: of("int")}, "BACKWARD") == []
    assert explain_versions(of("long"), {}, "FULL_TRANSITIVE") == []


def test_a_schema_that_is_none_is_the_projects_fault() -> None:
    """The error says that it is no Avro, not that it is incompatible."""
    with pytest.raises(ProjectError):
        explain_incompatible({"type": "rekord"}, record())
