"""Dead letters with ingest itself: refused, the project mended, sent back, admitted once."""

import contextlib
from pathlib import Path

from millrace.bus.deadletter import replays, why
from millrace.contracts import topics
from services.ingest.shell import IngestService
from tests.cli.letters import figures, replay
from tests.support import EPOCH_MS, World, running, tiny_project, until


def ingest(world: World) -> contextlib.AbstractAsyncContextManager[IngestService]:
    """A running ingest."""
    context = world.context("ingest")
    return running(context, IngestService(context, max_records=50, trace_share=0.0))


async def test_after_the_fix_what_was_refused_is_admitted_once(tmp_path: Path) -> None:
    """The range was too narrow; what still is out of it comes back as a new letter that counts its replays."""
    world = await World.create(tiny_project(tmp_path / "narrow"))
    sent = [await world.event(id=name, x=x) for name, x in (("good", 1.0), ("high", 50.0), ("wild", 5_000.0))]
    await world.send(topics.EVENTS, *sent)
    async with ingest(world):
        await until(lambda: world.records(topics.DEAD_LETTERS), 2)
    world.project = tiny_project(tmp_path / "wide", expectations=[{"field": "x", "min": -10, "max": 100}])

    first = await replay(world).go()
    second = await replay(world, now_ms=EPOCH_MS + 1).go()
    async with ingest(world):
        await until(lambda: world.records(topics.DEAD_LETTERS), 3)
        await until(lambda: world.records(topics.SAMPLES), 2)

    again = (await world.records(topics.DEAD_LETTERS))[-1]
    samples = [value for value in await world.values(topics.SAMPLES) if value["kind"] == "EVENT"]
    assert [(2, 0, 0, 0), (0, 2, 0, 0)] == [figures(first), figures(second)]
    assert ["good", "high"] == [value["event_id"] for value in samples]
    assert ("out-of-range", 1, sent[2][1]) == (why(again)["reason"], replays(again), again.value)
