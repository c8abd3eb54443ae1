"""Ingest on the memory bus: bad input, restarts, snapshots, traces."""

import contextlib
from collections import Counter

import pytest

from millrace.bus.clock import LoopClock
from millrace.bus.context import Context
from millrace.bus.deadletter import why
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project
from millrace.contracts.schemas import newest
from services.ingest.shell import IngestService
from tests.support import EPOCH_MS, MINUTE_MS, World, forget_positions, running, tiny_project, until


@pytest.fixture
async def world(tmp_path):
    """The tiny project on an empty log."""
    return await World.create(tiny_project(tmp_path))


def ingest(world: World) -> contextlib.AbstractAsyncContextManager[IngestService]:
    """A running ingest."""
    context = world.context("ingest")
    return running(context, IngestService(context, max_records=50, trace_share=0.0))


async def test_bad_records_become_dead_letters_and_the_next_good_one_is_served(world):
    """Each kind of bad record ends as a dead letter with its reason and its bytes; good ones around it go on."""
    good, duplicate, last = [await world.event(id=name) for name in ("good", "good", "last")]
    await world.send(
        topics.EVENTS,
        good,
        ("w", b"not avro"),
        ("w", b"\0\0\0\x03\xe7rest"),
        await world.event(id="high", x=99.0),
        await world.event(id="none", x=None),
        duplicate,
        last,
    )
    async with ingest(world):
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 5)
        samples = await until(lambda: world.records(topics.SAMPLES), 2)
    reasons = [why(letter)["reason"] for letter in letters]

    assert ["undecodable", "unknown-schema", "out-of-range", "missing-field", "duplicate-event"] == reasons
    assert letters[0].value == b"not avro"
    assert why(letters[2]) == {
        "reason": "out-of-range", "message": "field 'x' is 99.0, expected -10.0 to 10.0", "topic": "tiny-events",
        "partition": "0", "offset": "3",
    }  # fmt: skip
    assert [record.key for record in samples] == [b"w", b"w"]
    assert [value["event_id"] for value in await world.values(topics.SAMPLES)] == ["good", "last"]


async def test_a_bad_label_is_a_dead_letter(world):
    """A class that the project does not have is named in the reason."""
    await world.send(topics.EVENTS, await world.event(id="a"))
    await world.send(
        topics.LABELS, await world.label("a", "maybe", EPOCH_MS + 1), await world.label("b", 1.0, EPOCH_MS)
    )
    async with ingest(world):
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 2)

    assert [why(letter)["reason"] for letter in letters] == ["bad-label", "label-without-event"]
    assert "'maybe' is neither one of ['no', 'yes']" in why(letters[0])["message"]


async def test_a_restart_goes_on_as_if_nothing_had_happened(world):
    """Features, duplicates and snapshots after a restart are those of an undisturbed run."""
    times = [EPOCH_MS + number * MINUTE_MS for number in range(24)]
    events = [await world.event(id=f"e{n}", at=at, x=float(n % 7)) for n, at in enumerate(times)]
    labels = [await world.label(f"e{n}", n % 2, at + MINUTE_MS // 2) for n, at in enumerate(times)]
    await world.send(topics.EVENTS, *events[:12])
    await world.send(topics.LABELS, *labels[:12])
    async with ingest(world):
        await world.until(topics.SAMPLES, 24)
    await world.send(topics.EVENTS, events[3], *events[12:])
    await world.send(topics.LABELS, *labels[12:])
    async with ingest(world):
        await world.until(topics.SAMPLES, 48)
        await world.until(topics.DATA_SNAPSHOTS, 2)
    samples = await world.values(topics.SAMPLES)
    rows = [sample for sample in samples if sample["kind"] == "EVENT"]
    expected = [(float(n % 7), float(n % 7 - (n - 1) % 7), float((n - 1) % 2)) for n in range(1, 24)]

    assert [tuple(row["features"]) for row in rows[1:]] == expected
    assert [why(letter)["reason"] for letter in await world.records(topics.DEAD_LETTERS)] == ["duplicate-event"]
    snapshots = await world.values(topics.DATA_SNAPSHOTS)
    assert [10, 20] == sorted({snapshot["labelled_rows"] for snapshot in snapshots})
    assert len({snapshot["snapshot_id"] for snapshot in snapshots}) == 2


async def test_positions_that_the_broker_forgot_are_found_again(world):
    """A group away for long has no positions any more: the samples tell what was read, and nothing comes twice."""
    await world.send(topics.EVENTS, await world.event(id="a"), await world.event(id="b", at=EPOCH_MS + 1))
    async with ingest(world):
        await world.until(topics.SAMPLES, 2)
    assert forget_positions(world.log)
    await world.send(topics.EVENTS, await world.event(id="c", at=EPOCH_MS + 2))
    async with ingest(world):
        await world.until(topics.SAMPLES, 3)

    assert [] == await world.records(topics.DEAD_LETTERS)


async def test_a_snapshot_names_the_offset_after_its_last_label(world):
    """Reading the range again gives exactly the rows that the snapshot counts."""
    times = [EPOCH_MS + number * MINUTE_MS for number in range(13)]
    await world.send(topics.EVENTS, *[await world.event(id=f"e{n}", at=at) for n, at in enumerate(times)])
    await world.send(topics.LABELS, *[await world.label(f"e{n}", 1, at + 30_000) for n, at in enumerate(times)])
    async with ingest(world):
        await world.until(topics.SAMPLES, 26)
        await world.until(topics.DATA_SNAPSHOTS, 1)
    snapshot = (await world.values(topics.DATA_SNAPSHOTS))[0]
    until_offset = snapshot["ranges"][0]["until_offset"]
    records, values = await world.records(topics.SAMPLES), await world.values(topics.SAMPLES)
    kinds = [value["kind"] for record, value in zip(records, values, strict=True) if record.offset < until_offset]

    assert (kinds.count("EVENT"), kinds.count("LABEL")) == (snapshot["rows"], snapshot["labelled_rows"]) == (10, 10)


@pytest.mark.parametrize(
    ("name", "reason", "truncated"),
    [("large garbage", "undecodable", True), ("large id", "bad-id", True), ("far future", "bad-time", False)],
)
async def test_no_single_record_stops_a_partition(world, name, reason, truncated):
    """Too large for a record with its reasons: the reasons are kept, the value is cut and its size is told."""
    records = {
        "large garbage": ("w", b"x" * 999_900),
        "large id": await world.event(id="a" * 999_800),
        "far future": await world.event(at=2**63 - 1),
    }
    await world.send(topics.EVENTS, records[name])
    await world.send(topics.EVENTS, await world.event(id="next"))
    async with ingest(world):
        samples = await world.until(topics.SAMPLES, 1)
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 1)

    assert [("next", reason)] == [(samples[0]["event_id"], why(letters[0])["reason"])]
    size = str(len(records[name][1])).encode() if truncated else None
    assert size == letters[0].header("millrace.truncated")
    assert records[name][1].startswith(letters[0].value)


async def test_an_event_that_fits_no_sample_is_refused(tmp_path):
    """A valid event, but in a sample it would be larger than a record may be."""
    project = tiny_project(tmp_path)
    note = {"name": "note", "type": "string", "default": ""}
    project = project.model_copy(
        update={"event_schema": {**project.event_schema, "fields": [*project.event_schema["fields"], note]}}
    )
    world = await World.create(project)
    await world.send(topics.EVENTS, await world.event(id="large", note="n" * 985_000))
    await world.send(topics.EVENTS, await world.event(id="next"))
    async with ingest(world):
        samples = await world.until(topics.SAMPLES, 1)
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 1)

    assert [("next", "too-large")] == [(samples[0]["event_id"], why(letters[0])["reason"])]
    assert "fit into a sample" in why(letters[0])["message"]


class Frozen(LoopClock):
    """A clock whose log times are all the same, so that two runs can be compared byte for byte."""

    def now_ms(self) -> int:
        """The one time."""
        return EPOCH_MS


class Seen(Codec):
    """A codec that keeps count of how it was read."""

    batches = 0
    records = 0

    async def columnar(self, values, reader):
        """Count it if it is by the column."""
        columnar = await super().columnar(values, reader)
        self.batches += columnar is not None
        return columnar

    async def decode_record(self, data, reader=None):
        """Count it."""
        self.records += 1
        return await super().decode_record(data, reader)


def with_map(project: Project) -> Project:
    """The project with a field that no column can hold."""
    tags = {"name": "tags", "type": {"type": "map", "values": "int"}, "default": {}}
    fields = [*project.event_schema["fields"], tags]
    return project.model_copy(update={"event_schema": {**project.event_schema, "fields": fields}})


async def ingested(project: Project, *, garbage: bool, **more: object) -> tuple[list[Record], Counter[str], Seen]:
    """Samples, reasons of dead letters, and the codec, of a run in which each third record is refused.

    It is a duplicate; or, at the same offset, garbage, so that not one fetch can be read by the column.
    """
    world = await World.create(project)
    world.clock = Frozen(EPOCH_MS)
    events, labels = [await world.event(id="first", **more)], []
    for number in range(120):
        who, at = ("w", "ü", "\U0001f40e")[number % 3], EPOCH_MS + number * 10_000
        x = (number * 0.37) % 12 - 1 if number % 17 else -0.0  # some are more than 10, which is refused
        events.append(await world.event(id=f"e{number}", who=who, at=at, x=x, **more))
        labels.append(await world.label(f"e{number}", ("no", 1.0)[number % 2], at + 30_000, who))
        if number % 2:
            events.append((who, b"garbage") if garbage else await world.event(id="first", at=at, **more))
            labels.append((who, b"\0garbage") if garbage else await world.label("e1", 1.0, at + 30_000, who))
    await world.send(topics.EVENTS, *events)
    await world.send(topics.LABELS, *labels)
    codec = Seen(world.schemas)

    async def outcomes() -> list[Record]:
        return [*await world.records(topics.SAMPLES), *await world.records(topics.DEAD_LETTERS)]

    context = Context(project, world.transport(), codec, world.clock, "ingest")
    async with running(context, IngestService(context, max_records=50, trace_share=0.0)):
        await until(outcomes, len(events) + len(labels))
    letters = await world.records(topics.DEAD_LETTERS)
    return await world.records(topics.SAMPLES), Counter(why(letter)["reason"] for letter in letters), codec


async def test_by_the_column_or_one_by_one_the_samples_are_the_same(tmp_path):
    """Bytes, keys and order: what was read at once in one run and record by record in the other."""
    project = tiny_project(tmp_path)
    fast, fast_reasons, fast_codec = await ingested(project, garbage=False)
    slow, slow_reasons, slow_codec = await ingested(project, garbage=True)

    assert [(one.key, one.value) for one in fast] == [(one.key, one.value) for one in slow]
    assert {"out-of-range": 8, "label-without-event": 8, "duplicate-event": 60, "duplicate-label": 60} == fast_reasons
    assert {"out-of-range": 8, "label-without-event": 8, "undecodable": 60, "unknown-schema": 60} == slow_reasons
    assert fast_codec.batches > 3
    assert (8, 0, 361) == (fast_codec.records, slow_codec.batches, slow_codec.records), "only suspects one by one; all"


async def test_a_schema_that_no_column_can_hold_gives_the_same_samples(tmp_path):
    """But for the event itself, which has a field more."""
    fast, _, _ = await ingested(tiny_project(tmp_path), garbage=False)
    slow, _, codec = await ingested(with_map(tiny_project(tmp_path)), garbage=False, tags={"a": 1})
    fields = [name for name in newest("sample-recorded").field_names if name != "event"]
    read = [[await codec.decode_record(one.value) for one in run] for run in (fast, slow)]

    assert [str([one[name] for name in fields]) for one in read[0]] == [
        str([one[name] for name in fields]) for one in read[1]
    ]
