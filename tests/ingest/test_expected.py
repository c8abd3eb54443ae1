"""Expectations in force, windows judged, and the dead-letter limit, on the memory bus."""

import asyncio
import contextlib

import pytest

from millrace.bus.deadletter import why
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import DeploymentDecided, Event, ExpectationsLearned, FieldExpectation, Traffic
from millrace.contracts.topics import TopicRow
from services.ingest.limit import DeadLetterLimitError
from services.ingest.shell import IngestService
from tests.support import EPOCH_MS, MINUTE_MS, World, running, tiny_project, until

ARTIFACT = "ab" * 32
QUANTILES = (0.1, 0.5, 2.5, 5.0, 7.5, 9.5, 9.9)


def ingest(world: World, max_records: int = 50) -> contextlib.AbstractAsyncContextManager[IngestService]:
    """A running ingest."""
    context = world.context("ingest")
    return running(context, IngestService(context, max_records=max_records, trace_share=0.0))


async def say(world: World, row: TopicRow, event: Event) -> None:
    """Put an event on a control topic."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, row)
    topic = world.topic(row)
    producer = await world.transport().producer(f"test.{row.suffix}")
    await producer.commit([OutRecord(topic, b"k", codec.encode(topic, event), 0)])


def learned(*, missing_share: float = 0.0) -> ExpectationsLearned:
    """Training saw x from 0 to 10."""
    x = FieldExpectation(
        name="x", kind="NUMBER", missing_share=missing_share, min=0.0, max=10.0, mean=5.0, std=2.9,
        quantiles=QUANTILES, categories=(), category_shares=(),
    )  # fmt: skip
    return ExpectationsLearned(
        expectations_id="expectations/run-1",
        model="tiny",
        run_id="run-1",
        artifact_sha256=ARTIFACT,
        feature_set="f",
        rows=1000,
        fields=(x,),
        correlations=(),
        events_per_hour=None,
        learned_at_ms=EPOCH_MS,
    )


async def deploy(world: World, epoch: int = 1, artifact: str = ARTIFACT) -> None:
    """Make the version with that artefact the champion."""
    part = Traffic(variant="champion", version=epoch, share=1.0, artifact_sha256=artifact, feature_set="f")
    decided = DeploymentDecided(
        deployment_id=f"d{epoch}", model="tiny", epoch=epoch, traffic=(part,), scoring_since_ms=0, caused_by="",
        reason="", decided_by="", decided_at_ms=0,
    )  # fmt: skip
    await say(world, topics.DEPLOYMENTS, decided)


def loose(folder, **more):
    """The tiny project without declared expectations."""
    return tiny_project(folder, expectations=[], **more)


async def test_what_serves_decides_what_is_expected(tmp_path):
    """Nothing before the first deployment; then what its training rows taught; nothing if that was nothing."""
    world = await World.create(loose(tmp_path))
    await say(world, topics.EXPECTATIONS, learned())
    async with ingest(world):
        await world.send(topics.EVENTS, await world.event(id="before", x=1e6))
        await world.until(topics.SAMPLES, 1)
        await deploy(world)
        await world.send(topics.EVENTS, await world.event(id="fence", x=5.0))
        await world.until(topics.SAMPLES, 2)
    await world.send(topics.EVENTS, await world.event(id="wild", x=1e6), await world.event(id="none", x=None))
    async with ingest(world):
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 2)
    await deploy(world, 2, "cd" * 32)
    await world.send(topics.EVENTS, await world.event(id="after", x=1e6))
    async with ingest(world):
        samples = await world.until(topics.SAMPLES, 3)

    assert ["unseen-range", "unseen-missing"] == [why(letter)["reason"] for letter in letters]
    assert "in the training rows of run run-1" in why(letters[0])["message"]
    assert ["before", "fence", "after"] == [sample["event_id"] for sample in samples]


async def test_the_owner_may_flag_in_place_of_refusing(tmp_path):
    """The sample passes and says what it breaks."""
    world = await World.create(loose(tmp_path, data={"learned": {"range": "flag", "missing": "off"}}))
    await say(world, topics.EXPECTATIONS, learned())
    await deploy(world)
    names = {"wild": 1e6, "none": None, "good": 5.0}
    await world.send(topics.EVENTS, *[await world.event(id=name, x=x) for name, x in names.items()])
    async with ingest(world):
        samples = await world.until(topics.SAMPLES, 3)

    assert {"wild": "unseen-range:x", "none": None, "good": None} == {s["event_id"]: s["flags"] for s in samples}


async def bad_window(world: World, rows: int, bad: range) -> None:
    """Events a minute apart, of which some lack x."""
    await world.send(
        topics.EVENTS,
        *[
            await world.event(id=f"e{n}", at=EPOCH_MS + n * MINUTE_MS, x=None if n in bad else n % 10)
            for n in range(rows)
        ],
    )


@pytest.mark.parametrize("max_records", [7, 50, 1000])
async def test_a_window_with_too_much_missing_is_judged_and_vetoed(tmp_path, max_records):
    """It names the offsets of its events and of just their samples, however they were read; an alert says it too."""
    world = await World.create(loose(tmp_path, data={"quality": {"window_rows": 100}, "learned": {"missing": "off"}}))
    await say(world, topics.EXPECTATIONS, learned(missing_share=0.01))
    await deploy(world)
    await bad_window(world, 400, range(100, 180))
    async with ingest(world, max_records):
        (judged,) = await world.until(topics.DATA_QUALITY, 1)
        (alert,) = await world.until(topics.ALERTS, 1)
    samples = zip(await world.records(topics.SAMPLES), await world.values(topics.SAMPLES), strict=True)
    places = [record.offset for record, value in samples if value["source_offset"] in range(100, 200)]

    assert ("missing-share", "x", "ALARM", True) == (
        judged["check"], judged["subject"], judged["severity"], judged["vetoes"],
    )  # fmt: skip
    assert (100, 200, 0.8) == (judged["from_event_offset"], judged["until_event_offset"], judged["observed"])
    assert (min(places), max(places) + 1) == (judged["from_offset"], judged["until_offset"])
    assert ("data-quality-missing-share", "x") == (alert["reason"], alert["subject"])


async def test_a_declared_null_share_needs_no_model(tmp_path):
    """It is judged from the first window on; while it lasts each window is told, and somebody called once."""
    rules = [{"kind": "null_share", "field": "x", "most": 0.1}]
    world = await World.create(tiny_project(tmp_path, expectations=rules, data={"quality": {"window_rows": 100}}))
    await bad_window(world, 400, range(120, 290))
    async with ingest(world):
        judged = await world.until(topics.DATA_QUALITY, 2)
        await world.until(topics.SAMPLES, 400)
        alerts = await world.until(topics.ALERTS, 1)

    assert [("null-share", 0.8, True), ("null-share", 0.9, True)] == [
        (one["check"], one["observed"], one["vetoes"]) for one in judged
    ]
    assert ["data-quality-null-share"] == [alert["reason"] for alert in alerts]


async def test_without_the_veto_it_is_only_told(tmp_path):
    """The owner may train on it all the same."""
    quality = {"window_rows": 100, "veto": False}
    world = await World.create(loose(tmp_path, data={"quality": quality, "learned": {"missing": "off"}}))
    await say(world, topics.EXPECTATIONS, learned())
    await deploy(world)
    await bad_window(world, 100, range(50))
    async with ingest(world):
        (judged,) = await world.until(topics.DATA_QUALITY, 1)

    assert not judged["vetoes"]


async def test_too_many_dead_letters_stop_ingest_before_they_are_written(tmp_path):
    """It says so, in an alert and in its error, at each start until somebody decides; then it goes on."""
    limit = {"share": 0.5, "window_rows": 40}
    world = await World.create(tiny_project(tmp_path / "a", data={"dead_letters": limit}))
    good = [await world.event(id=f"g{n}") for n in range(30)]
    bad = [await world.event(id=f"b{n}", x=99.0) for n in range(60)]
    await world.send(topics.EVENTS, *good, *bad)
    for _ in range(3):
        context = world.context("ingest")
        with pytest.raises(DeadLetterLimitError, match=r"21 of the newest 40 records .* out-of-range"):
            async with asyncio.timeout(30):
                await IngestService(context, max_records=20, trace_share=0.0).run()
        await context.transport.close()
    letters = await world.records(topics.DEAD_LETTERS)
    alerts = await world.values(topics.ALERTS)
    world.project = tiny_project(tmp_path / "b", data={"dead_letters": {"share": 1.0}})
    async with ingest(world):
        everything = await until(lambda: world.records(topics.DEAD_LETTERS), 60)

    assert len(letters) <= 20
    assert {"dead-letter-limit"} == {alert["reason"] for alert in alerts}
    assert 1 == len({alert["alert_id"] for alert in alerts})
    assert 60 == len({why(letter)["offset"] for letter in everything}) == len(everything)


async def test_refusals_that_left_the_window_do_not_come_back_with_a_restart(tmp_path):
    """Old dead letters stay in their topic for weeks; beside what is known to be admitted they do not count."""
    world = await World.create(
        loose(tmp_path, data={"dead_letters": {"share": 0.3, "window_rows": 100}, "state_every_rows": 200},
              dedupe={"events": 1000})
    )  # fmt: skip
    numbers = range(1500)
    orphans = [await world.label(f"no{n}", 1, EPOCH_MS - 1) for n in range(29)]
    late = [await world.label(f"on{n}", 1, EPOCH_MS + 2000 * MINUTE_MS) for n in range(5)]
    events = [await world.event(id=f"e{n}", at=EPOCH_MS + n * MINUTE_MS) for n in numbers]
    labels = [await world.label(f"e{n}", 1, EPOCH_MS + n * MINUTE_MS + 1) for n in range(200)]
    await world.send(topics.LABELS, *orphans)
    async with ingest(world):
        await until(lambda: world.records(topics.DEAD_LETTERS), 29)
        await world.send(topics.EVENTS, *events)
        await world.send(topics.LABELS, *labels)
        await world.until(topics.SAMPLES, 1700)
    await world.send(topics.LABELS, *late)
    async with ingest(world):
        letters = await until(lambda: world.records(topics.DEAD_LETTERS), 34)

    assert 34 == len(letters)
    assert [] == await world.records(topics.ALERTS)
