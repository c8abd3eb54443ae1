"""Ingest on the memory bus: bad input, restarts, snapshots, traces."""

import contextlib

import pytest

from millrace.bus.deadletter import why
from millrace.contracts import topics
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
