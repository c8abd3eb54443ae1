"""Reads the demo's topics back, read_committed: while it happens, and once more from the first offset at the end.

Nothing else about a run is believed: no counter of a service, no log.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from millrace.bus.deadletter import why
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import run_together
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, RegistryUnavailableError
from millrace.contracts.events import (
    DataQualityJudged,
    Event,
    ExpectationsLearned,
    LabelObserved,
    PredictionMade,
    SampleRecorded,
)
from millrace.contracts.project import Project
from millrace.contracts.schemas import newest
from millrace.contracts.topics import TopicRow, topic_name
from millrace.demo.control import CONTROL, Control
from millrace.demo.ledger import Place
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
SAID: dict[TopicRow, type[Event]] = {
    **CONTROL, topics.EXPECTATIONS: ExpectationsLearned, topics.DATA_QUALITY: DataQualityJudged,
}  # fmt: skip
DATA = (topics.SAMPLES, topics.PREDICTIONS, topics.DEAD_LETTERS)
INPUTS = (topics.EVENTS, topics.LABELS)


@dataclass(frozen=True, slots=True)
class Received:
    """An event as it stands on the topic. ``time_ms`` is when its producer sent it."""

    place: Place
    value: bytes | None
    time_ms: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """An event that became a sample, with the flags that it carries."""

    place: Place
    flags: tuple[str, ...]
    event: bytes | None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: why, and what it was about."""

    reason: str
    message: str
    value: bytes | None


@dataclass(slots=True)
class Told:
    """What the topics tell. ``admitted``, ``refused`` and ``labels_refused`` are by the place of what was received.

    ``predicted`` has the log times of the predictions for each sample, by the sample's place.
    """

    control: Control
    received: list[Received] = field(default_factory=list)
    labels: int = 0
    admitted: dict[Place, list[Admitted]] = field(default_factory=dict)
    refused: dict[Place, list[Letter]] = field(default_factory=dict)
    labels_joined: int = 0
    labels_refused: dict[Place, Letter] = field(default_factory=dict)
    predicted: dict[Place, list[int]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    """Events by what caught them: the reason of a dead letter, or a flag."""

    @property
    def seen(self) -> tuple[int, int, int, int]:
        """Grows with everything that happens."""
        data = len(self.admitted) + len(self.refused)
        return data, self.labels_joined + len(self.labels_refused), len(self.predicted), len(self.control.said)

    def is_complete(self, events: int, labels: int) -> bool:
        """Whether so many events and labels have ended somewhere, and each sample of the model's time is scored."""
        first = self.control.first_offsets()
        data, label_ends, _, _ = self.seen
        return (
            data >= events
            and label_ends >= labels
            and all(
                one.place in self.predicted
                for found in self.admitted.values()
                for one in found
                if is_scored(one.place, first)
            )
        )


def is_scored(place: Place, first: dict[int, int]) -> bool:
    """Whether a sample at this place is to be scored: ``first`` are the offsets from which on events are."""
    return place[0] in first and place[1] >= first[place[0]]


class Reader:
    """Reads one project's topics."""

    def __init__(self, transport: Transport, codec: Codec, project: Project) -> None:
        self._transport = transport
        self._codec = codec
        self._project = project
        self._rows = {topic_name(row, project): row for row in (*DATA, *INPUTS, *SAID)}
        self._events = topic_name(topics.EVENTS, project)
        self._sample, self._prediction = newest(SampleRecorded.schema_name), newest(PredictionMade.schema_name)

    def new(self) -> Told:
        """Nothing read yet."""
        return Told(Control(self._project.model))

    async def follow(self, told: Told) -> None:
        """Read samples, predictions, dead letters and decisions as they come, until cancelled."""
        await run_together(*(self._follow(told, *part) for part in self._partitions((*DATA, *SAID))))

    async def read_all(self) -> Told:
        """Read every topic from its first offset to its end."""
        told = self.new()
        for name, partition in self._partitions((*INPUTS, *DATA, *SAID)):
            bounds = await self._transport.bounds(name, partition)
            async for records in self._transport.read(name, partition, bounds.begin, bounds.end):
                for record in records:
                    await self._take(told, record)
        told.control.said.sort(key=lambda said: said.log_ms)
        return told

    async def label_of(self, value: bytes | None) -> str:
        """The event id of a label's record."""
        return (await self._codec.decode(LabelObserved, value)).event_id

    def _partitions(self, rows: tuple[TopicRow, ...]) -> list[tuple[str, int]]:
        return [
            (topic_name(row, self._project), partition)
            for row in rows
            for partition in range(row.partitions or self._project.partitions)
        ]

    async def _follow(self, told: Told, name: str, partition: int) -> None:
        """One partition for ever. A broker that is away is asked again where reading stopped."""
        position, failures = 0, 0
        while True:
            try:
                async for records in self._transport.read(name, partition, position, None):
                    failures = 0
                    for record in records:
                        await self._take(told, record)
                        position = record.offset + 1
            except (BusError, RegistryUnavailableError) as error:
                if not error.retryable:
                    raise
                failures += 1
                log.warning("reading again", topic=name, partition=partition, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    async def _take(self, told: Told, record: Record) -> None:
        row = self._rows[record.topic]
        place = (record.partition, record.offset)
        if row is topics.EVENTS:
            told.received.append(Received(place, record.value, record.timestamp_ms))
        elif row is topics.LABELS:
            told.labels += 1
        elif row is topics.SAMPLES:
            _sample(told, place, await self._codec.decode_record(record.value, self._sample))
        elif row is topics.PREDICTIONS:
            one = await self._codec.decode_record(record.value, self._prediction)
            scored = (one["sample_partition"], one["sample_offset"])
            told.predicted.setdefault(scored, []).append(record.timestamp_ms)
        elif row is topics.DEAD_LETTERS:
            self._letter(told, record)
        else:
            told.control.add(record.timestamp_ms, await self._codec.decode(SAID[row], record.value))

    def _letter(self, told: Told, record: Record) -> None:
        seen = why(record)
        source = (int(seen["partition"]), int(seen["offset"]))
        letter = Letter(seen["reason"], seen["message"], record.value)
        if seen["topic"] == self._events:
            told.refused.setdefault(source, []).append(letter)
            told.reasons[letter.reason] += 1
        else:
            told.labels_refused[source] = letter


def _sample(told: Told, place: Place, sample: dict[str, Any]) -> None:
    if sample["kind"] == "LABEL":
        told.labels_joined += 1
        return
    source = (sample["source_partition"], sample["source_offset"])
    flags = tuple(flag for flag in (sample["flags"] or "").split(",") if flag)
    told.admitted.setdefault(source, []).append(Admitted(place, flags, sample["event"]))
    told.reasons.update(flags)
