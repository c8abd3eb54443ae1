"""Which dead letters are meant, read from the log; and which of them were sent back already."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from millrace.bus.deadletter import why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError
from millrace.contracts.events import AuditRecorded
from millrace.contracts.project import Project
from millrace.contracts.schemas import newest
from millrace.contracts.topics import AUDIT_EVENTS, DEAD_LETTERS, topic_name

REPLAYED = "replay-dead-letter"
"""The audit log's action for one letter that was sent back; its subject is topic/partition/offset of the letter."""


class Place(NamedTuple):
    """A letter in its topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters: all conditions hold. ``since_ms`` and ``until_ms`` (exclusive) are times of refusal.

    ``topic`` is the name of the topic that the refused record came from. Without ``places`` all letters are looked at.
    """

    reason: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    topic: str | None = None
    places: tuple[Place, ...] = ()

    @property
    def words(self) -> str:
        """The choice in words, for the audit log."""
        parts = [
            self.reason and f"reason {self.reason}",
            self.topic and f"from {self.topic}",
            self.since_ms is not None and f"since {time_text(self.since_ms)}",
            self.until_ms is not None and f"until {time_text(self.until_ms)}",
            self.places and f"at {', '.join(f'{place.partition}/{place.offset}' for place in self.places)}",
        ]
        return "; ".join(part for part in parts if part) or "all letters"

    def holds(self, record: Record) -> bool:
        """Whether the letter is meant, as far as it can tell itself."""
        told = why(record)
        return (
            self.reason in {None, told["reason"]}
            and self.topic in {None, told["topic"]}
            and (self.since_ms is None or record.timestamp_ms >= self.since_ms)
            and (self.until_ms is None or record.timestamp_ms < self.until_ms)
            and (not self.places or Place(record.partition, record.offset) in self.places)
        )


class Replayed(NamedTuple):
    """When a letter was sent back, and by which run (the id of its audit event)."""

    time_ms: int
    run: str | None


class NotThereError(BusError):
    """There is no record at the place that was named."""

    retryable = False


class Span(NamedTuple):
    """Offsets of one partition of the dead letters, half-open."""

    partition: int
    start: int
    stop: int


async def spans(transport: Transport, project: Project, choice: Choice) -> list[Span]:
    """What has to be read for the choice, as of now. Letters written later are left to another run.

    The broker finds the times: what is older or younger is not read.
    """
    topic = topic_name(DEAD_LETTERS, project)
    if choice.places:
        for place in choice.places:
            await letter_at(transport, topic, *place)  # names the place that there is not
        return [Span(partition, offset, offset + 1) for partition, offset in sorted(set(choice.places))]
    found = []
    for partition in range(project.partitions):
        start, stop = await transport.bounds(topic, partition)
        if choice.since_ms is not None:
            start = max(start, await transport.offset_at(topic, partition, choice.since_ms))
        if choice.until_ms is not None:
            stop = min(stop, await transport.offset_at(topic, partition, choice.until_ms))
        if start < stop:
            found.append(Span(partition, start, stop))
    return found


async def chosen(transport: Transport, project: Project, choice: Choice, span: Span) -> AsyncIterator[list[Record]]:
    """The letters of a span that are meant, in offset order."""
    topic = topic_name(DEAD_LETTERS, project)
    async for batch in transport.read(topic, *span):
        if letters := [record for record in batch if choice.holds(record)]:
            yield letters


async def letter_at(transport: Transport, topic: str, partition: int, offset: int) -> Record:
    """The record at that place. Raises ``NotThereError`` if there is none, naming the offsets that there are."""
    begin, end = await transport.bounds(topic, partition)
    if begin <= offset < end:
        async for batch in transport.read(topic, partition, offset, offset + 1):
            return batch[0]
    raise NotThereError(
        f"{topic}/{partition} has no record at offset {offset}; its offsets are {begin} to {end - 1}, with gaps where "
        "transactions ended"
    )


async def replayed_before(
    transport: Transport, codec: Codec, project: Project, until: int | None = None
) -> dict[str, Replayed]:
    """When each letter of the project was sent back, by topic/partition/offset, as the audit log says.

    ``until`` waits until all below that offset is decided; None takes what is visible now.
    """
    topic, mine = topic_name(AUDIT_EVENTS, project), topic_name(DEAD_LETTERS, project)
    start, end = await transport.bounds(topic, 0)
    stop, schema = end if until is None else until, newest(AuditRecorded.schema_name)
    found: dict[str, Replayed] = {}
    if start >= stop:
        return found
    async for batch in transport.read(topic, 0, start, stop):
        for record in batch:
            event = await codec.decode_record(record.value, schema)
            if event["action"] == REPLAYED and event["subject"].rsplit("/", 2)[0] == mine:
                found.setdefault(event["subject"], Replayed(event["recorded_at_ms"], event["caused_by"]))
    return found


def time_text(time_ms: int) -> str:
    """A time for people.

    >>> time_text(1_600_000_000_000)
    '2020-09-13T12:26:40.000+00:00'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
