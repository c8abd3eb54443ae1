"""``millrace check --schema``: what a changed schema would do to a model, and what the registry says to it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from millrace.cli.check_schema import examine_schema, show
from millrace.cli.schema_impact import impact
from millrace.contracts.compatibility import register_all
from millrace.contracts.errors import ProjectError, RegistryUnavailableError
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.local.errors import LocalError
from tests.support import EVENT, MODEL, tiny_project
from tests.transports import fresh

SIDES = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}
MORE: list[dict[str, Any]] = [
    {"name": "price", "type": "double", "unit": "EUR"},
    {"name": "side", "type": SIDES},
    {"name": "size", "type": "long", "default": 1},
    {"name": "note", "type": "string", "default": ""},
]
FEATURES = [
    *MODEL["features"],
    {"name": "price_then", "kind": "lag", "field": "price", "rows": 1},
    {"name": "is_buy", "kind": "is_category", "field": "side", "equals": "BUY"},
    {"name": "size", "kind": "value", "field": "size"},
]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose events have a field of each kind."""
    return with_fields(tmp_path / "project", MORE)


def with_fields(folder: Path, more: list[dict[str, Any]], **changes: Any) -> Project:
    """The tiny project with more fields, and features of them."""
    folder.mkdir(exist_ok=True)
    tiny_project(folder, **changes)
    (folder / "event.avsc").write_text(json.dumps({**EVENT, "fields": [*EVENT["fields"], *more]}))
    tiny = load_project(folder)
    return Project.model_validate(
        {
            **tiny.model_dump(by_alias=True, exclude={"features"}),
            "features": FEATURES if more is MORE else MODEL["features"],
        }
    )


DROPPED = object()


def changed(project: Project, field_name: str, **changes: Any) -> dict[str, Any]:
    """The project's schema with other attributes of one field, or without those that are ``DROPPED``."""
    schema = copy.deepcopy(project.event_schema)
    field = next(each for each in schema["fields"] if each["name"] == field_name)
    field.update(changes)
    for key in [key for key, value in changes.items() if value is DROPPED]:
        del field[key]
    return schema


def without(project: Project, name: str) -> dict[str, Any]:
    """The project's schema without a field."""
    return {**project.event_schema, "fields": [one for one in project.event_schema["fields"] if one["name"] != name]}


def said(project: Project, new: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Severity, subject and effect of each impact."""
    return [(one.severity, one.subject, one.effect) for one in impact(project, new)]


def test_the_same_schema_does_nothing(project: Project) -> None:
    """Not one line, and a doc or another order of fields is none either."""
    reversed_order = {**project.event_schema, "fields": project.event_schema["fields"][::-1]}

    assert [] == said(project, project.event_schema) == said(project, reversed_order)
    assert [] == said(project, changed(project, "note", type={"type": "string", "avro.java.string": "String"}))
    assert ["harmless"] == [severity for severity, _, _ in said(project, changed(project, "x", doc="X."))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(
            "x",
            [
                ("breaking", "expectation out-of-range:x", "every event is refused (missing-field)"),
                ("harmful", "feature x", "is computed without x from the first event on: NaN"),
                ("harmful", "feature x_change", "is computed without x from the first event on: NaN"),
            ],
            id="null by default",
        ),
        pytest.param(
            "size", [("harmful", "feature size", "is computed from the default 1")], id="a constant by default"
        ),
        pytest.param(
            "price", [("breaking", "every event", "cannot be read: event.avsc has no default")], id="no default"
        ),
        pytest.param("at", [("breaking", "every event", "cannot be read: event.avsc has no default")], id="the time"),
        pytest.param("note", [("harmless", "nothing", "no feature and no rule uses it")], id="unused"),
    ],
)
def test_a_lost_field(project: Project, name: str, expected: list[tuple[str, str, str]]) -> None:
    """What takes its place is the default in event.avsc; without one nothing can be read."""
    found = said(project, without(project, name))

    assert [one[:2] for one in expected] == [one[:2] for one in found]
    assert all(seen.startswith(effect) for (*_, effect), (*_, seen) in zip(expected, found, strict=True)), found


MICROS = {"type": "long", "logicalType": "timestamp-micros"}
HOLD = {**SIDES, "symbols": ["BUY", "SELL", "HOLD"]}


@pytest.mark.parametrize(
    ("name", "changes", "severity", "subject", "words"),
    [
        ("price", {"type": "int"}, "harmful", "feature price_then", "cuts the decimals off"),
        ("price", {"type": "float"}, "harmful", "feature price_then", "7 digits"),
        ("size", {"type": "int"}, "harmful", "feature size", "2,147,483,647"),
        ("size", {"type": "double"}, "breaking", "every event", "cannot be read"),
        ("price", {"type": "string"}, "breaking", "every event", "cannot be read"),
        ("price", {"type": ["null", "double"]}, "breaking", "events without price", "dead letters"),
        ("x", {"type": "double", "default": DROPPED}, "harmless", "nothing", "never missing any more"),
        ("side", {"type": HOLD}, "breaking", "events with HOLD", "dead letters"),
        ("side", {"type": {**SIDES, "symbols": ["BUY"]}}, "harmless", "nothing", "not written any more"),
        ("at", {"type": MICROS}, "breaking", "event.time", "1,000 times too large"),
        ("at", {"type": "long"}, "breaking", "event.time", "is misread"),
        ("price", {"unit": "USD"}, "harmful", "feature price_then", "mean something else"),
        ("price", {"unit": DROPPED}, "harmless", "nothing", "make sure"),
        ("note", {"unit": "EUR"}, "harmless", "nothing", "make sure"),
        ("note", {"personal": True}, "harmful", "personal data", "in the clear"),
        ("note", {"type": "bytes"}, "harmless", "nothing", "the same values"),
    ],
)
def test_a_changed_field(
    project: Project, name: str, changes: dict[str, Any], severity: str, subject: str, words: str
) -> None:
    """The worst that it does, for whom, and in words."""
    worst = impact(project, changed(project, name, **changes))[0]

    assert (severity, subject) == (worst.severity, worst.subject)
    assert words in worst.effect


def test_a_new_symbol_is_a_new_category(project: Project) -> None:
    """Which feature will see it is named beside the events that cannot be read until event.avsc knows it."""
    found = impact(project, changed(project, "side", type=HOLD))

    assert ("harmful", "feature is_buy", "new: HOLD") in {(one.severity, one.subject, one.change) for one in found}
    assert "event.avsc first" in found[0].way_out


def test_a_symbol_that_event_avsc_has_a_default_for(tmp_path: Path) -> None:
    """Nothing is refused, but the feature is told another category."""
    fields = [{**one, "type": {**SIDES, "default": "SELL"}} if one["name"] == "side" else one for one in MORE]
    project = with_fields(tmp_path / "project", fields)
    project = project.model_copy(update={"features": with_fields(tmp_path / "other", MORE).features})
    (only,) = impact(project, changed(project, "side", type=HOLD))

    assert ("harmful", "feature is_buy") == (only.severity, only.subject)
    assert "HOLD is read as SELL" in only.effect


def test_a_renamed_field_is_lost_until_the_project_knows_it(project: Project) -> None:
    """An alias of the producer's helps its own readers; the way out is one in event.avsc."""
    new = changed(project, "size", name="quantity", aliases=["size"])
    found = [one for one in impact(project, new) if one.field == "size"]

    assert ("renamed to quantity", "harmful") == (found[0].change, found[0].severity)
    assert '"aliases": ["quantity"]' in found[0].way_out


def test_new_fields_are_harmless_unless_personal(project: Project) -> None:
    """They stay in the samples as they came, so a mark that event.avsc lacks is said."""
    plain, marked = {"name": "new", "type": "int"}, {"name": "phone", "type": "string", "personal": True}
    found = said(project, {**project.event_schema, "fields": [*project.event_schema["fields"], plain, marked]})

    assert [("harmful", "personal data"), ("harmless", "nothing")] == [one[:2] for one in found]


def test_another_record_is_not_read(project: Project) -> None:
    """Avro resolves records by name."""
    assert ("breaking", "every event") == said(project, {**project.event_schema, "name": "Other"})[0][:2]


# ---- the command's report ----------------------------------------------------------------------------------------


def written(tmp_path: Path, schema: Any) -> Path:
    """A file with this schema."""
    path = tmp_path / "new.avsc"
    path.write_text(schema if isinstance(schema, str) else json.dumps(schema))
    return path


def test_without_a_registry_the_project_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both answers, for people and as JSON, and it says that nobody was asked."""
    project = tiny_project(tmp_path)
    new = changed(project, "x", type="string", default=DROPPED)
    report = examine_schema(tmp_path, written(tmp_path, new), data=tmp_path / "nothing")
    show(report, as_json=False)
    text = capsys.readouterr().out
    show(report, as_json=True)
    answer = json.loads(capsys.readouterr().out)

    assert not report.ok
    assert "REFUSED as the next version of tiny-events-value (BACKWARD_TRANSITIVE), says event.avsc alone" in text
    assert "x: string is none of null, double" in text
    assert [False, "breaking"] == [answer["ok"], answer["impacts"][0]["severity"]]


def test_a_harmless_change_is_ok(tmp_path: Path) -> None:
    """A new field with a default."""
    project = tiny_project(tmp_path)
    note = {"name": "note", "type": "string", "default": ""}
    new = {**project.event_schema, "fields": [*project.event_schema["fields"], note]}

    assert examine_schema(tmp_path, written(tmp_path, new), data=tmp_path / "nothing").ok


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "cannot be parsed"), ("[]", "holds list"), ('{"type": "record"}', "not a valid Avro schema")],
)
def test_a_file_that_is_no_schema_is_named(tmp_path: Path, text: str, words: str) -> None:
    """Before anybody is asked."""
    tiny_project(tmp_path)

    with pytest.raises(ProjectError, match=rf"new\.avsc.*{words}"):
        examine_schema(tmp_path, written(tmp_path, text), data=tmp_path / "nothing")
    with pytest.raises(ProjectError, match=r"gone\.avsc cannot be read"):
        examine_schema(tmp_path, tmp_path / "gone.avsc", data=tmp_path / "nothing")


def test_a_registry_that_was_named_must_answer(tmp_path: Path) -> None:
    """A guess instead of its answer would be no answer; half an address is none."""
    project = tiny_project(tmp_path)
    new = written(tmp_path, project.event_schema)

    with pytest.raises(RegistryUnavailableError):
        examine_schema(tmp_path, new, data=tmp_path, schema_registry="http://127.0.0.1:1")
    with pytest.raises(LocalError, match="--schema-registry is missing"):
        examine_schema(tmp_path, new, data=tmp_path, bootstrap="127.0.0.1:1")


@pytest.mark.broker
def test_the_registry_is_asked(tmp_path: Path, broker: Any) -> None:
    """Its verdict is over all versions, and names the one that breaks, with the way out."""
    import asyncio

    name = fresh("checked")
    project = tiny_project(tmp_path, stream=name, model=name)
    note = {"name": "note", "type": "string", "doc": "Note."}
    second, third = copy.deepcopy(project.event_schema), copy.deepcopy(project.event_schema)
    second["fields"].append({**note, "default": ""})
    third["fields"].append(note)

    async def register() -> None:
        async with SchemaRegistry(broker.schema_registry_url) as registry:
            await register_all(registry, project)
            await registry.register(f"{name}-events-value", second)

    asyncio.run(register())
    report = examine_schema(
        tmp_path, written(tmp_path, third), data=tmp_path, schema_registry=broker.schema_registry_url
    )

    assert "which has 2 versions" in report.verdict.asked
    (reason,) = report.verdict.reasons
    assert reason.startswith("version 1: field note: expected by the reader but not written; give it a default")
