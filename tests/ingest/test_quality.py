"""Windows of arriving events: cut by count alone, judged against what serves, and schemas that lose something."""

import gzip
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv

from millrace.contracts.columnar import Columnar
from millrace.contracts.events import ExpectationsLearned
from millrace.contracts.project import Project, load_project
from millrace.contracts.schemas import Schema
from millrace.expectations.learn import learn
from millrace.expectations.window import learn_volume
from services.ingest.quality import QualityWatch
from services.ingest.skew import skew
from tests.support import EPOCH_MS, EVENT, MINUTE_MS, MODEL

ELECTRICITY = Path(__file__).parents[2] / "examples" / "electricity"
KIND = {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}
SCHEMA = {
    **EVENT,
    "fields": [*EVENT["fields"], {"name": "place", "type": ["null", "string"]}, {"name": "kind", "type": KIND}],
}


def project_of(window_rows: int = 50, **changes: Any) -> Project:
    """The tiny project with a text and an enum, and windows of 50 records."""
    data = {"quality": {"window_rows": window_rows}}
    return Project.model_validate({**MODEL, "folder": Path(), "event_schema": SCHEMA, "data": data, **changes})


def events(count: int, first: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Healthy events, one a minute; ``changes`` are functions of the event's number."""
    rows = []
    for number in range(first, first + count):
        row = {"id": str(number), "who": "w", "at": EPOCH_MS + number * MINUTE_MS, "x": (number * 7 % 100) / 10}
        row |= {"place": "north" if number % 3 else "south", "kind": "AB"[number % 2]}
        rows.append(row | {name: of(number) for name, of in changes.items()})
    return rows


def batch(rows: list[dict[str, Any]]) -> Any:
    """The events as they come out of the codec."""
    columnar = Columnar.of(Schema.of(SCHEMA))
    return columnar.batch({name: [row[name] for row in rows] for name in columnar.arrow.names})


def learned_of(rows: list[dict[str, Any]]) -> ExpectationsLearned:
    """What is learned of these events."""
    fields, pairs = learn(pa.Table.from_batches([batch(rows)]), skip={"id", "who", "at"})
    return ExpectationsLearned(
        expectations_id="e", model="tiny", run_id="r", artifact_sha256="", feature_set="", rows=len(rows),
        fields=fields, correlations=pairs, events_per_hour=60.0, learned_at_ms=0,
    )  # fmt: skip


LEARNED = learned_of(events(2000))


def brief(windows: list[Any]) -> list[Any]:
    """First, until and what was found, of each window."""
    return [(one.first, one.until, [(each.check, each.subject) for each in one.findings]) for one in windows]


def test_a_healthy_stream_raises_nothing():
    """Windows like training are complete, numbered, and without findings."""
    judged = QualityWatch(project_of(), first=300).see(batch(events(120, 2000)), LEARNED)

    assert [(300, 350, []), (350, 400, [])] == brief(judged)
    assert [50, 50] == [one.rows for one in judged]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"x": lambda number: None if number % 3 else 1.5}, [("missing-share", "x"), ("constant", "x")]),
        ({"x": lambda number: float("nan") if number % 2 else number / 10}, [("missing-share", "x")]),
        ({"place": lambda number: None if number % 2 else "north"}, [("missing-share", "place")]),
        ({"place": lambda number: "east" if number % 2 else "north"}, [("new-category", "place")]),
        ({"kind": lambda number: "ABC"[number % 3]}, [("new-category", "kind")]),
        ({"at": lambda number: EPOCH_MS + number * 60 * MINUTE_MS}, [("volume", "stream")]),
        ({"at": lambda number: EPOCH_MS + number * MINUTE_MS if number % 5 else 2**62}, []),  # no times of events
        ({"x": lambda number: number * 1e6}, []),  # one by one, and by the monitor
    ],
)
def test_what_only_many_events_show(changes, expected):
    """Each fault is found under its name in a window of 50, by the column and one by one."""
    rows = events(50, 2000, **changes)
    by_row = QualityWatch(project_of())

    assert [(0, 50, expected)] == brief(QualityWatch(project_of()).see(batch(rows), LEARNED))
    assert [(0, 50, expected)] == brief([one for row in rows for one in by_row.see_row(row, LEARNED)])


def test_a_record_that_cannot_be_read_counts_and_tells_nothing():
    """Windows are places in the log; shares are of the events that could be read."""
    watch = QualityWatch(project_of())
    judged = [one for _ in range(30) for one in watch.see_unreadable(LEARNED)]
    judged += watch.see(batch(events(20, 2000, place=lambda _: None)), LEARNED)
    judged += [one for _ in range(50) for one in watch.see_unreadable(LEARNED)]

    assert [(0, 50, [("missing-share", "place")]), (50, 100, [])] == brief(judged)
    assert [20, 0] == [one.rows for one in judged]
    assert "field 'place' is missing in 20 of 20 events (100.0%)" in judged[0].findings[0].message


def test_without_a_serving_version_only_what_was_declared_is_judged():
    """A declared null share needs nothing learned; a field without one is not judged then."""
    rows = batch(events(50, x=lambda number: None if number < 3 else 1.0, place=lambda _: None))

    assert [(0, 50, [])] == brief(QualityWatch(project_of()).see(rows, None))
    for most, expected in ((0.05, [("null-share", "x")]), (0.06, [])):
        watch = QualityWatch(project_of(), null_shares={"x": most, "kind": 0.0})
        assert [(0, 50, expected)] == brief(watch.see(rows, None))
    with pytest.raises(ValueError, match="a null share is declared of \\['who'\\]"):
        QualityWatch(project_of(), null_shares={"who": 0.5})


def test_a_partition_has_its_part_of_the_volume():
    """A fall to a fifth, of which four partitions explain three quarters, is none."""
    rows = batch(events(50, at=lambda number: EPOCH_MS + number * 5 * MINUTE_MS))

    assert [[("volume", "stream")], []] == [
        brief(QualityWatch(project_of(partitions=partitions)).see(rows, LEARNED))[0][2] for partitions in (1, 4)
    ]


PIECES = st.lists(st.tuples(st.sampled_from(["batch", "rows", "unreadable"]), st.integers(0, 130)), max_size=8)


@given(pieces=PIECES, seed=st.integers(0, 99))
def test_windows_do_not_depend_on_how_events_are_cut(pieces, seed):
    """The same records in batches, one by one, or mixed: the same windows with the same findings."""
    random = np.random.default_rng(seed)
    rows, place = [], 0
    cut = QualityWatch(project_of())
    judged: list[Any] = []
    for how, count in pieces:
        some = [None] if count % 2 else [None, 1.0, 2.0]
        part = events(count, place, x=lambda _, some=some: random.choice(some), kind=lambda _: random.choice([*"ABC"]))
        place += count
        rows += [None] * count if how == "unreadable" else part
        if how == "batch":
            judged += cut.see(batch(part), LEARNED)
        for row in part if how != "batch" else ():
            judged += cut.see_row(row, LEARNED) if how == "rows" else cut.see_unreadable(LEARNED)
    straight = QualityWatch(project_of())
    expected = [
        one for row in rows for one in (straight.see_row(row, LEARNED) if row else straight.see_unreadable(LEARNED))
    ]

    assert len(rows) // 50 == len(judged)
    assert expected == judged


def test_only_fields_that_were_learned_and_are_still_there_are_compared():
    """A field that the project dropped, or that became a text, is left aside; it is no error."""
    kinds = [each if each["name"] != "x" else {"name": "x", "type": ["null", "string"]} for each in SCHEMA["fields"]]
    schema = {**SCHEMA, "fields": [each for each in kinds if each["name"] != "place"]}
    features = [{"name": "last", "kind": "label_lag"}]
    project = project_of(event_schema=schema, expectations=[], features=features)
    columnar = Columnar.of(Schema.of(schema))
    rows = events(50, x=lambda _: "one")
    other = columnar.batch({name: [row[name] for row in rows] for name in columnar.arrow.names})

    assert [(0, 50, [])] == brief(QualityWatch(project).see(other, LEARNED))


def test_the_real_stream_raises_nothing():
    """Electricity, learned on 8500 rows at ten places and judged over the 4000 that follow: 80 windows, no finding."""
    project = load_project(ELECTRICITY)
    table = csv.read_csv(pa.BufferReader(gzip.decompress((ELECTRICITY / "electricity.csv.gz").read_bytes())))
    names = [each["name"] for each in project.event_schema["fields"][3:]]
    times = EPOCH_MS + np.arange(table.num_rows) * 30 * MINUTE_MS
    columns = {project.event.time: pa.array(times)} | {name: table[name].cast(pa.float64()) for name in names}
    whole = pa.table(columns).combine_chunks().to_batches()[0]
    judged = []
    for start in range(0, table.num_rows - 12_500, 3_300):
        rows = whole.slice(start, 8500)
        fields, _ = learn(pa.Table.from_batches([rows]), skip={project.event.time})
        volume = learn_volume(rows[project.event.time].to_numpy())
        learned = LEARNED.model_copy(update={"fields": fields, "rows": 8500, "events_per_hour": volume})
        judged += QualityWatch(project).see(whole.slice(start + 8500, 4000), learned)

    assert (80, 2.0, []) == (len(judged), volume, [one for each in judged for one in each.findings])


def field(kind: Any, **more: Any) -> dict[str, Any]:
    """A record with one field."""
    return {"type": "record", "name": "Bid", "fields": [{"name": "f", "type": kind, **more}]}


def side(*symbols: str, **more: Any) -> dict[str, Any]:
    """An enum."""
    return {"type": "enum", "name": "Side", "symbols": symbols, **more}


@pytest.mark.parametrize(
    ("reader", "writer", "expected"),
    [
        (field("double"), field("double"), None),
        (field(["null", "double"], default=None), field("double"), None),
        (field("double"), field("int"), ("WARNING", "written as int, the project's schema has double")),
        (field("double"), field(["null", "float"]), ("WARNING", "may be null now")),
        (field("long"), field("double"), ("ALARM", "type changed from double to long")),
        (field("string"), field("double"), ("ALARM", "type changed from double to string")),
        (field(["null", "double"], default=None), {**field("int"), "fields": []}, ("ALARM", "not written any more")),
        (field(side("A", "B")), field(side("A", "B")), None),
        (field(side("A", "B")), field(side("A")), None),
        (field(side("A", "B")), field(side("A", "B", "C")), ("ALARM", "enum lacks C")),
        (field(side("A", "B", default="A")), field(side("A", "C")), ("WARNING", "may be C")),
        (field("double", aliases=["g"]), {**field(""), "fields": [{"name": "g", "type": "long"}]}, ("WARNING", "long")),
    ],
)
def test_a_schema_that_loses_something(reader, writer, expected):
    """Lost and unreadable fields are alarms, narrower ones warnings; what nobody uses is left alone."""
    findings = skew(reader, writer, {"f"})

    assert ([expected[0]] if expected else []) == [one.severity for one in findings][:1]
    for one in findings[:1]:
        assert ("schema-skew", "f") == (one.check, one.subject)
        assert expected[1] in one.message
    assert [] == skew(reader, writer, {"other"})


def test_a_schema_is_compared_once():
    """One finding for each new writer's schema, however many batches it wrote."""
    watch = QualityWatch(project_of())
    narrow = {**SCHEMA, "fields": [each for each in SCHEMA["fields"] if each["name"] != "x"]}
    found = [
        watch.see_schema(schema_id, schema, {"x"}) for schema_id, schema in ((1, SCHEMA), (2, narrow), (2, narrow))
    ]

    assert [[], ["ALARM"], []] == [[one.severity for one in each] for each in found]
    assert ["x"] == [one.subject for one in itertools.chain(*found)]
