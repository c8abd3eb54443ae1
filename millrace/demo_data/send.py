"""Sends what the plan says, each once and in order, and remembers the bytes: they are found again in the topics.

A batch is what is due since the last one, in one transaction. After a transaction whose outcome is unclear, the events
topic tells whether it happened.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from millrace.bus.clock import Clock
from millrace.bus.retry import backoff_s
from millrace.bus.transport import Producer, Transport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import MAGIC, Codec
from millrace.contracts.columnar import HEADER_BYTES
from millrace.contracts.errors import BusError
from millrace.contracts.events import LabelObserved
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.demo_data.inject import Sending

BATCH_S = 0.02
BATCH_ROWS = 500
TRIES = 8
UNKNOWN_ID = 2_000_000_011  # a schema id that no registry here has given away
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent and the bytes of its event; ``number`` counts from 0 in the order of sending."""

    number: int
    sending: Sending
    value: bytes


class Sender:
    """The one producer of the demo's stream.

    Args:
        transport: where to.
        codec: writes events as the project's schema says, and labels.
        changed: writes events with the schema that lacks a field; prepared when that schema is registered.
        project: names the topics.
        clock: paces.
        sleep: waits for the next batch.
    """

    def __init__(
        self, transport: Transport, codec: Codec, changed: Codec, project: Project, clock: Clock,
        sleep: Sleep = asyncio.sleep,
    ) -> None:  # fmt: skip
        self._transport = transport
        self._codecs = {"current": codec, "unknown": codec, "dropped": changed}
        self._project = project
        self._clock = clock
        self._sleep = sleep
        self._events = topic_name(topics.EVENTS, project)
        self._labels = topic_name(topics.LABELS, project)
        self._producer: Producer | None = None
        self.sent: list[Sent] = []
        """Everything committed so far."""
        self.labels = 0
        """How many labels went with it."""
        self.bad: Counter[str] = Counter()
        """Bad events so far, by fault."""

    async def send(self, sendings: Iterator[Sending], rate: float) -> None:
        """Send these, ``rate`` of them a second; 0 is as fast as possible.

        Raises:
            BusError: the log cannot be written, however often it is tried.
        """
        begin_s, done = self._clock.monotonic_s(), 0
        while True:
            due = int((self._clock.monotonic_s() - begin_s) * rate) + 1 if rate else done + BATCH_ROWS
            wanted = min(due - done, BATCH_ROWS)
            batch = list(islice(sendings, wanted)) if wanted > 0 else []
            if batch:
                await self._commit(batch)
                done += len(batch)
            elif wanted > 0:
                return
            if rate:
                await self._sleep(BATCH_S)

    async def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            await self._producer.close()
            self._producer = None

    async def _commit(self, batch: Sequence[Sending]) -> None:
        values = [self._value(one) for one in batch]
        records = [record for one, value in zip(batch, values, strict=True) for record in self._records(one, value)]
        await self._write(records)
        for one, value in zip(batch, values, strict=True):
            self.sent.append(Sent(len(self.sent), one, value))
            self.labels += one.label is not None
            if one.fault is not None:
                self.bad[one.fault] += 1

    async def _write(self, records: Sequence[OutRecord]) -> None:
        """One transaction, exactly once."""
        for attempt in range(1, TRIES + 1):
            try:
                if self._producer is None and await self._recover(records[0]):
                    return
                assert self._producer is not None, "recovering makes one"
                await self._producer.commit(records)
            except BusError as error:
                await self.close()
                if not error.retryable or attempt == TRIES:
                    raise
                await self._sleep(backoff_s(attempt))
            else:
                return

    async def _recover(self, first: OutRecord) -> bool:
        """Become the producer; whether the batch that begins with this event is in the log already."""
        self._producer = await self._transport.producer(f"millrace.publish.{self._project.stream}")
        before = sum(sent.value == first.value for sent in self.sent)
        found = 0
        for partition in range(self._project.partitions):
            bounds = await self._transport.bounds(self._events, partition)
            async for records in self._transport.read(self._events, partition, bounds.begin, bounds.end):
                found += sum(record.value == first.value for record in records)
        return found > before

    def _value(self, one: Sending) -> bytes:
        value = self._codecs[one.writing].encode_record(self._events, one.event)
        if one.writing == "unknown":
            return bytes([MAGIC]) + UNKNOWN_ID.to_bytes(HEADER_BYTES - 1, "big") + value[HEADER_BYTES:]
        return value

    def _records(self, one: Sending, value: bytes) -> list[OutRecord]:
        key = one.entity.encode()
        event = OutRecord(self._events, key, value)
        if one.label is None:
            return [event]
        label = LabelObserved(event_id=one.event_id, label=one.label, label_time_ms=one.label_time_ms)
        return [event, OutRecord(self._labels, key, self._codecs["current"].encode(self._labels, label))]
