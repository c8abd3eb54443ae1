"""The saved state: recovery begins there, and leads to where reading everything leads."""

import contextlib

import pytest

from millrace.bus.memory import MemoryLog
from millrace.bus.types import OutRecord, TopicPartition
from millrace.contracts import topics
from millrace.contracts.events import FeatureProfile
from millrace.contracts.project import Project
from millrace.contracts.registry_client import LocalSchemas
from services.ingest.announcing import Announcer
from services.ingest.lane import IngestLane
from services.ingest.rows import SnapshotDue
from services.ingest.saving import Saved, StateTopic
from services.ingest.shell import IngestService
from tests.support import EPOCH_MS, MINUTE_MS, World, running, tiny_project, until

RULES = [{"field": "x", "min": -10, "max": 10}, {"kind": "jump", "field": "x", "most": 7, "on": "flag"}]
EVERY = 100


def project_of(folder, **data) -> Project:
    """Saved every hundred events; the rules look back, and so do the features."""
    return tiny_project(
        folder,
        expectations=RULES,
        data={"state_every_rows": EVERY, **data},
        dedupe={"events": 1000},
        features=[
            {"name": "x", "kind": "value", "field": "x"},
            {"name": "mean", "kind": "rolling_mean", "field": "x", "rows": 50},
            {"name": "hour", "kind": "rolling_count", "field": "x", "span_s": 3600},
            {"name": "last", "kind": "label_share", "rows": 20},
        ],
    )


def ingest(world: World) -> contextlib.AbstractAsyncContextManager[IngestService]:
    """A running ingest that takes 30 records at once."""
    context = world.context("ingest")
    return running(context, IngestService(context, max_records=30, trace_share=0.0))


async def feed(world: World, start: int, stop: int) -> None:
    """Events of three entities a minute apart, and their labels."""
    numbers = range(start, stop)
    times = {n: EPOCH_MS + n * MINUTE_MS for n in numbers}
    names = {n: "abc"[n % 3] for n in numbers}
    await world.send(
        topics.EVENTS,
        *[await world.event(id=f"e{n}", who=names[n], at=times[n], x=float(n * 7 % 17 - 8)) for n in numbers],
    )
    await world.send(
        topics.LABELS, *[await world.label(f"e{n}", n % 2, times[n] + MINUTE_MS // 2, names[n]) for n in numbers]
    )


def told(sample: dict) -> tuple:
    """What must not depend on how often ingest was started."""
    return (sample["kind"], sample["event_id"], repr(sample["features"]), sample["label"], sample["flags"])


async def test_a_restart_reads_on_from_the_saved_state(tmp_path, capsys):
    """Killed again and again: the same samples as in one go, and no recovery reads the log from its beginning."""
    whole, cut = [await World.create(project_of(tmp_path / name)) for name in ("whole", "cut")]
    await feed(whole, 0, 500)
    async with ingest(whole):
        await whole.until(topics.SAMPLES, 1000)
    for start in range(0, 500, 125):
        await feed(cut, start, start + 125)
        async with ingest(cut):
            await cut.until(topics.SAMPLES, 2 * (start + 125))
    saved = await cut.values(topics.FEATURE_STATE)
    said = [line for line in capsys.readouterr().out.splitlines() if "lane ready" in line]

    assert [told(one) for one in await whole.values(topics.SAMPLES)] == [
        told(one) for one in await cut.values(topics.SAMPLES)
    ]
    assert any("jump" in (one["flags"] or "") for one in await whole.values(topics.SAMPLES))
    assert len({one["until_offset"] for one in saved}) >= 3
    assert 5 == len(said)
    assert ["saved_until=None" in line for line in said] == [True, True, False, False, False]


async def test_a_saving_of_another_project_is_not_believed(tmp_path, capsys):
    """With other rules everything is read, and the samples are those that the new rules give."""
    world = await World.create(project_of(tmp_path / "a"))
    await feed(world, 0, 200)
    async with ingest(world):
        await world.until(topics.SAMPLES, 400)
        await until(lambda: world.records(topics.FEATURE_STATE), 1)
    world.project = project_of(tmp_path / "b", late={"policy": "flag"})
    await feed(world, 200, 210)
    async with ingest(world):
        await world.until(topics.SAMPLES, 420)
    said = [line for line in capsys.readouterr().out.splitlines() if "lane ready" in line]

    assert ["saved_until=None" in line for line in said] == [True, True]


@pytest.mark.parametrize("frame", [b"", b"no frame", b"\0" * 1000])
async def test_damaged_parts_are_left_aside(tmp_path, frame, capsys):
    """A part that cannot be read costs time, never a wrong feature, nor a record read twice, older than any id."""
    world = await World.create(project_of(tmp_path))
    await feed(world, 0, 1100)
    async with ingest(world):
        await world.until(topics.SAMPLES, 2200)
    end = (await world.transport().bounds(world.topic(topics.SAMPLES), 0)).end
    context = world.context("ingest")
    await context.codec.prepare(world.project, topics.FEATURE_STATE)
    records = StateTopic(context, 0).records(Saved(end, 0, {"rows": [frame], "rules": [], "announce": [b"[]"]}), 1)
    await (await world.transport().producer("vandal")).commit(records)
    await feed(world, 1100, 1110)
    async with ingest(world):
        samples = await world.until(topics.SAMPLES, 2220)
    features = {sample["event_id"]: sample["features"] for sample in samples if sample["kind"] == "EVENT"}

    assert "saved state is of no use" in capsys.readouterr().out
    assert 2220 == len(samples)
    assert [] == await world.records(topics.DEAD_LETTERS)
    assert float(1100 * 7 % 17 - 8) == features["e1100"][0]


async def test_many_short_lives_save_too(tmp_path):
    """What a life has read again counts for the next saving: recovery does not grow with the number of restarts."""
    world = await World.create(project_of(tmp_path))
    for start in range(0, 480, 60):
        await feed(world, start, start + 60)
        async with ingest(world):
            await world.until(topics.SAMPLES, 2 * (start + 60))
    saved = {one["until_offset"] for one in await world.values(topics.FEATURE_STATE)}

    assert len(saved) >= 3
    assert max(saved) > 600


async def test_a_saving_that_retention_has_overtaken_is_not_believed(tmp_path, capsys):
    """What is left of the log is the state then, and it is said loudly."""
    world = await World.create(project_of(tmp_path))
    await feed(world, 0, 250)
    async with ingest(world):
        await world.until(topics.SAMPLES, 500)
    newest = max(one["until_offset"] for one in await world.values(topics.FEATURE_STATE))
    world.log.delete_before(TopicPartition(world.topic(topics.SAMPLES), 0), newest + 10)
    left = len(await world.records(topics.SAMPLES))
    await feed(world, 250, 251)
    async with ingest(world):
        await until(lambda: world.records(topics.SAMPLES), left + 2)

    assert "retention has removed samples that were not in the saved state" in capsys.readouterr().out


def test_what_waits_for_the_lake_for_long_still_fits_into_records(tmp_path):
    """The newest snapshots are kept, cut into frames; of another version they are refused."""
    profile = tuple(
        FeatureProfile(name=f"feature_{at}", mean=1 / 3, std=1 / 7, min=-1.5, max=2.5, missing_share=0.1)
        for at in range(600)
    )
    context = World(project_of(tmp_path), LocalSchemas(), MemoryLog()).context("ingest")
    announcer, again = Announcer(context, 0, Away()), Announcer(context, 0, Away())
    for number in range(1, 100):
        announcer.add(SnapshotDue(number, number, number, 0, 0, profile), number)
    frames = announcer.save()
    again.restore(frames)

    assert max(map(len, frames)) <= 400_000
    assert frames == again.save()
    assert [] == again.take(1), "the lake has none of them"
    with pytest.raises(ValueError, match="version 9"):
        again.restore([b'{"version": 9, "waiting": []}'])


class Away:
    """A lake that has nothing yet."""

    position, version = 0, None

    def hurry(self, until_offset):
        """It cannot."""


async def test_only_a_whole_saving_counts(tmp_path):
    """Of the newest one a part is missing: the one before it is taken."""
    world = await World.create(project_of(tmp_path))
    context = world.context("ingest")
    await context.codec.prepare(world.project, topics.FEATURE_STATE)
    topic = StateTopic(context, 0)
    older = topic.records(Saved(100, 10, {"rows": [b"a", b"b"], "rules": [b"c"]}), 1)
    newer = topic.records(Saved(200, 20, {"rows": [b"d", b"e"]}), 2)
    producer = await world.transport().producer("writer")
    await producer.commit(older)
    await producer.commit([*newer[1:], OutRecord(newer[0].topic, b"0/rows/9", b"garbage", 0)])
    found = await topic.newest(300)

    assert Saved(100, 10, {"rows": [b"a", b"b"], "rules": [b"c"]}) == found
    assert await topic.newest(99) is None, "it is of samples that are not there"
    await producer.commit(newer)
    assert 200 == (await topic.newest(300)).until_offset


def test_a_lane_is_what_the_loop_drives():
    """Each call that the loop makes is there."""
    assert {"recover", "process", "written", "close"} <= set(vars(IngestLane))
