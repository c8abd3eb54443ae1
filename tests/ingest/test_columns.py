"""Admission by the column: never less strict than record by record, and the same numbers."""

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts.columnar import Columnar
from millrace.contracts.errors import ContractError
from millrace.contracts.expectations import plain_types
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.expectations.learned import LearnedField, LearnedRules
from millrace.features.inputs import Inputs
from services.ingest.admit import EARLIEST_MS, LATEST_MS, check_expectations, check_size, identify
from services.ingest.columns import EventColumns
from tests.contracts.avro_rows import VALUES, read, write
from tests.expectations.odd_rules import declared, learned_rules
from tests.support import EPOCH_MS, EVENT, MODEL

SIDE_SET = frozenset({"BUY", "SELL"})
SIDES = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}
TIMES: list[Any] = [
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-micros"},
    {"type": "long", "logicalType": "local-timestamp-nanos"},
    "long",
    "int",
    "double",
    "float",
]
NUMBERS = ["double", "float", "int", "long", "boolean"]
ODD_NUMBERS = {
    "double": [float("nan"), float("inf"), float("-inf"), -0.0, 0.1, 10.0, -10.0, 2.0**53, 1e300],
    "float": [float("nan"), float("inf"), -0.0, 0.10000000149011612, 10.0, -10.0],
    "long": [2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 10, -10, 11],
    "int": [2**31 - 1, -(2**31), 10, -10, 11],
    "boolean": [True, False],
}
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "double": st.integers(0, 20).map(lambda number: number / 2),
    "float": st.integers(0, 20).map(lambda number: number / 2),
    "long": st.integers(0, 10),
    "int": st.integers(0, 10),
    "boolean": st.booleans(),
    "string": st.text(min_size=1, max_size=12),
}
RECEIVED_MS = [-1, 0, EPOCH_MS, EPOCH_MS + 60_001, LATEST_MS, 2**53 + 1, 2**63 - 1]
ODD_TEXTS = ["", "a" * 1000, "a" * 1001, "\U0001f40e" * 1000, "\U0001f40e" * 1001, "ü", "\0"]


def make_project(event_schema: dict[str, Any], **changes: Any) -> Project:
    """The tiny project with another event."""
    return Project.model_validate({**MODEL, **changes, "folder": Path(), "event_schema": event_schema})


def nullable(kind: Any) -> st.SearchStrategy[Any]:
    """The type, or it or null."""
    return st.sampled_from([kind, ["null", kind], [kind, "null"]])


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Projects whose events have every type that the columns can judge."""
    names = ["a", "b", "c"]
    identities = [draw(st.sampled_from(["string", "int", "long", SIDES]).flatmap(nullable)) for _ in range(2)]
    if identities[0] == identities[1] and "Side" in str(identities):
        identities[1] = "string"  # a name is defined once
    kinds = [*identities, draw(st.sampled_from(TIMES).flatmap(nullable))]
    kinds += [draw(st.sampled_from(NUMBERS).flatmap(nullable)) for _ in names]
    if str(kinds).count("Side") > 1:
        kinds[1] = "long"
    fields = [{"name": name, "type": kind} for name, kind in zip(["id", "who", "at", *names], kinds, strict=True)]
    fields.append({"name": "note", "type": draw(nullable("string"))})
    schema = {"type": "record", "name": "Odd", "fields": fields}
    rules = draw(declared({name: kind for name, kind in plain_types(schema).items() if name not in {"id", "at"}}))
    features = [
        {"name": f"{name}_now", "kind": "value", "field": name}
        for name in draw(st.lists(st.sampled_from(names), unique=True))
    ]
    features.append({"name": "last", "kind": "label_lag"})
    return make_project(schema, expectations=rules, features=features)


def odd_times(project: Project) -> list[float]:
    """The edges of what is allowed, in the unit of the project's field, and times between two milliseconds."""
    unit = project.time_to_ms
    edges = [EARLIEST_MS - 1, EARLIEST_MS, EPOCH_MS, LATEST_MS, LATEST_MS + 1, 0, 0.5, 1.5, -0.5, EPOCH_MS + 0.5]
    near = [EPOCH_MS + 2.5, EARLIEST_MS - 0.5, LATEST_MS + 0.5, LATEST_MS + 0.4]
    return [edge / unit for edge in [*edges, *near]]


def odd_values(project: Project, name: str, kind: Any) -> st.SearchStrategy[Any]:
    """Values of one field: mostly ones that are let in, and those at the edge of something."""
    if isinstance(kind, list):
        present = odd_values(project, name, next(branch for branch in kind if branch != "null"))
        return st.integers(0, 5).flatmap(lambda die: present if die else st.none())
    if isinstance(kind, dict) and kind["type"] == "enum":
        return st.sampled_from(kind["symbols"])
    kind = kind if isinstance(kind, str) else kind["type"]
    edges: list[Any] = {"string": ODD_TEXTS, **ODD_NUMBERS}[kind]
    usual = USUAL[kind]
    if name == project.event.time and kind in {"long", "double"}:
        number = int if kind == "long" else float
        edges = [number(time) for time in odd_times(project) if abs(time) < 2**63]
        latest = min(LATEST_MS / project.time_to_ms, 2.0**62)
        usual = st.floats(0, latest).map(number)
    odd = st.sampled_from(edges) | VALUES[kind]
    return st.integers(0, 5).flatmap(lambda die: usual if die else odd)


@st.composite
def events(draw: st.DrawFn) -> tuple[Project, Schema, list[bytes]]:
    """A project and a batch of its events as bytes."""
    project = draw(projects())
    schema = Schema.of(project.event_schema)
    record = st.fixed_dictionaries(
        {field["name"]: odd_values(project, field["name"], field["type"]) for field in schema.parsed["fields"]}
    )
    return project, schema, [write(schema, each) for each in draw(st.lists(record, min_size=1, max_size=12))]


def exact(row: list[float]) -> list[bytes]:
    """Numbers so that ``==`` compares bits."""
    return [b"nan" if value != value else struct.pack(">d", value) for value in row]  # noqa: PLR0124  # NaN is not itself


def admitted(
    project: Project, schema: Schema, value: bytes, largest_bytes: int, received_ms: int, learned: LearnedRules | None
) -> tuple[Any, ...] | None:
    """What is taken from the event record by record; None if it is refused or flagged."""
    values = read(schema, value)
    assert values is not None
    try:
        identity = identify(project, values)
        check_size(len(value), largest_bytes)
        if check_expectations(project, values, received_ms=received_ms, learned=learned):
            return None
    except ContractError:
        return None
    row = Inputs(project.features).row(values)
    return identity.event_id, identity.entity, identity.time_ms, exact(row)


def judge(project: Project, schema: Schema, written: list[bytes], largest_bytes: int, *more: Any) -> Any:
    """What is taken from the events by the column."""
    columnar = Columnar.of(schema)
    columns = EventColumns(project, Inputs(project.features), largest_bytes)
    assert columnar is not None
    assert columns.can_read(columnar)
    return columns.judge(columnar.decode(written), [len(value) for value in written], *more)


@given(events(), st.sampled_from([30, 60, 100_000]), st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_refused_or_flagged_is_suspected_and_the_rest_is_the_same(drawn, largest_bytes, data):
    """No event gets in by the column that would not by itself, or not without a flag; the others are read alike."""
    project, schema, written = drawn
    learned = data.draw(learned_rules(project))
    received_ms = [data.draw(st.sampled_from(RECEIVED_MS)) for _ in written]
    judged = judge(project, schema, written, largest_bytes, received_ms, learned)
    pairs = zip(written, received_ms, strict=True)
    expected = [admitted(project, schema, value, largest_bytes, at_ms, learned) for value, at_ms in pairs]
    rows = list(zip(judged.event_id, judged.entity, judged.time_ms, map(exact, judged.values), strict=True))

    assert {row for row, one in enumerate(expected) if one is None} <= set(judged.suspects)
    assert len(rows) == len(written)
    for row in set(range(len(written))) - set(judged.suspects):
        assert expected[row] == rows[row]
    assert [int] * len(rows) == [type(row[2]) for row in rows]
    assert sorted(set(judged.suspects)) == judged.suspects


NICE: dict[str, st.SearchStrategy[Any]] = {
    "id": st.text(min_size=1, max_size=1000),
    "who": st.sampled_from(["a", "ü"]),
    "at": st.integers(0, LATEST_MS),
    "x": st.floats(-10, 10),
}


@given(st.lists(st.fixed_dictionaries(NICE), min_size=1, max_size=20))
def test_good_events_are_not_suspected(records):
    """So that they go the fast way; also at the very edge of what is expected."""
    project, schema = make_project(EVENT), Schema.of(EVENT)

    assert [] == judge(project, schema, [write(schema, record) for record in records], 100_000).suspects


WIDE: dict[str, Any] = {
    **EVENT,
    "fields": [
        *EVENT["fields"],
        {"name": "n", "type": "long", "default": 0},
        {"name": "side", "type": ["null", "string"], "default": None},
    ],
}
GOOD = {"id": "e", "who": "w", "at": EPOCH_MS, "x": 1.0, "n": 1, "side": "BUY"}
OPEN = LearnedRules("learned-1", "version 1", (LearnedField("side", "reject"), LearnedField("n", "reject")))
FAR_S = 2**53 / 1000
CLOSED = LearnedRules("learned-1", "version 1", (LearnedField("side", "flag", category="flag", categories=SIDE_SET),))


@pytest.mark.parametrize(
    ("rule", "learned", "bad", "received_ms"),
    [
        pytest.param({"field": "n", "max": 2.0**53}, None, {"n": 2**53 + 1}, 0, id="past what a float can tell"),
        pytest.param({"kind": "values", "field": "side", "allowed": ["BUY"]}, None, {"side": None}, 0, id="no text"),
        pytest.param({"kind": "values", "field": "n", "allowed": [1, 2]}, None, {"n": 3}, 0, id="another number"),
        pytest.param({"kind": "compare", "check": "n <= x or side != 'BUY'"}, None, {"n": 2}, 0, id="a comparison"),
        pytest.param(
            {"kind": "fresh", "within_s": FAR_S}, None, {"at": 0}, 2**53 + 1, id="older than a float can tell"
        ),
        pytest.param({"kind": "fresh", "ahead_s": 1}, None, {"at": EPOCH_MS + 1001}, EPOCH_MS, id="ahead"),
        pytest.param({"field": "x"}, OPEN, {"side": None}, 0, id="a text that never was missing"),
        pytest.param({"field": "x"}, CLOSED, {"side": None}, 0, id="a category that never was missing"),
        pytest.param({"field": "x"}, CLOSED, {"side": "buy"}, 0, id="an unseen category"),
    ],
)
def test_one_bad_event_among_good_ones_is_the_one_suspect(rule, learned, bad, received_ms):
    """Each kind of rule finds its row, and only that one; cases that random events seldom meet."""
    project, schema = make_project(WIDE, expectations=[rule]), Schema.of(WIDE)
    written = [write(schema, each) for each in (GOOD, {**GOOD, **bad}, GOOD)]
    received = [EPOCH_MS, received_ms, EPOCH_MS]

    assert admitted(project, schema, written[1], 100_000, received_ms, learned) is None
    assert [1] == judge(project, schema, written, 100_000, received, learned).suspects


def test_what_nobody_requires_may_be_missing():
    """A field without an expectation, or with one that does not require it: NaN, and no suspicion."""
    project = make_project(EVENT, expectations=[{"field": "x", "min": 0, "required": False}])
    schema = Schema.of(EVENT)
    values = [None, float("nan"), 1.0]
    written = [write(schema, {"id": "e", "who": "w", "at": 1, "x": value}) for value in values]
    judged = judge(project, schema, written, 100_000)

    assert [] == judged.suspects
    assert [[b"nan"], [b"nan"], exact([1.0])] == [exact(row) for row in judged.values]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("id", "bytes", id="id of bytes"),
        pytest.param("id", "double", id="id a fraction"),
        pytest.param("who", ["int", "string"], id="entity of two types"),
        pytest.param("at", ["null", "long", "string"], id="time of two types"),
        pytest.param("x", ["null", "double", "string"], id="feature of two types"),
    ],
)
def test_odd_types_are_left_to_the_other_way(name, kind):
    """Record by record every value is looked at; the columns do not try."""
    fields = [{**field, "type": kind} if field["name"] == name else field for field in EVENT["fields"]]
    project = make_project({**EVENT, "fields": fields})
    columnar = Columnar.of(Schema.of(project.event_schema))
    assert columnar is not None

    assert not EventColumns(project, Inputs(project.features), 100).can_read(columnar)
