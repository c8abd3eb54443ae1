"""Shared: a memory log with dead letters, and a run that sends them back."""

from pathlib import Path
from typing import Any

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.operating.letters import Choice
from millrace.operating.replay import Replay
from millrace.operating.replay_run import Report, Run
from tests.support import EPOCH_MS, World, tiny_project

HEADERS = (("traceparent", b"00-1"), ("odd", b"\xff"))


def refused(offset: int, reason: str = "bad-time", topic: str = "tiny-events", partition: int = 0) -> OutRecord:
    """The dead letter of a record whose value is its offset."""
    return letter_of(Record(topic, partition, offset, EPOCH_MS, b"w", b"%d" % offset, HEADERS), reason)


def letter_of(record: Record, reason: str = "bad-time") -> OutRecord:
    """Its dead letter."""
    stream = record.topic.rsplit("-", 1)[0]
    return dead_letter(
        f"{stream}-dead-letters", record, stage="TRANSFORMATION", reason=reason, message="seen", error_class="E"
    )


async def world_with(folder: Path, *letters: OutRecord, partitions: int = 1) -> World:
    """A memory log with these dead letters, each in a transaction of its own."""
    world = await World.create(tiny_project(folder, partitions=partitions))
    producer = await world.transport().producer("test.dead-letters")
    for letter in letters:
        await producer.commit([letter])
    await producer.close()
    return world


def replay(world: World, choice: Choice = Choice(), *, now_ms: int = EPOCH_MS, **more: Any) -> Replay:  # noqa: B008
    """A run by ada."""
    run = Run("ada", now_ms, choice)
    return Replay(world.transport(), Codec(world.schemas), world.project, run, **more)


def figures(report: Report) -> tuple[int, int, int, int]:
    """Replayed, skipped, repeats, not possible."""
    return report.replayed, report.skipped, report.repeats, len(report.impossible)


async def events(world: World, partition: int = 0) -> list[bytes | None]:
    """The values in the events topic."""
    return [record.value for record in await world.records(topics.EVENTS, partition)]
