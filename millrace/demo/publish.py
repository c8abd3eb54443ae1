"""Sends rows as events and labels, in order, at a given rate, each exactly once.

A batch is what is due since the last one, about 20 ms of the stream, in one transaction: readers see an event and its
label together or not at all. When the outcome of a transaction is unclear, the events topic tells whether it happened.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from millrace.bus.clock import Clock
from millrace.bus.retry import backoff_s
from millrace.bus.transport import Producer, Transport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, ContractError, ProjectError
from millrace.contracts.events import LabelObserved
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.demo.dataset import DatasetFile, Row
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
BATCH_S = 0.02
BATCH_ROWS = 500
RECOVERIES = 8  # in a row, 13 s together: a broker that was killed is back by then

Sleep = Callable[[float], Awaitable[None]]


class Publisher:
    """The one producer of a stream's file. A second one on the same stream takes over, and this one ends.

    Args:
        transport: where to.
        codec: writes events and labels.
        project: names the topics.
        clock: paces, and tells how late a batch is.
        sleep: waits for the next batch.
    """

    def __init__(
        self, transport: Transport, codec: Codec, project: Project, clock: Clock, sleep: Sleep = asyncio.sleep
    ) -> None:
        self._transport = transport
        self._codec = codec
        self._project = project
        self._clock = clock
        self._sleep = sleep
        self._events = topic_name(topics.EVENTS, project)
        self._labels = topic_name(topics.LABELS, project)
        self._producer: Producer | None = None
        self._ends: list[int] = []
        self.sent = 0
        """Rows committed so far, over all calls of ``send``."""
        self.labels = 0
        """How many of them had a label."""

    async def send(self, file: DatasetFile, start: int, stop: int, rate: float) -> None:
        """Send the rows from ``start`` up to ``stop``, ``rate`` of them a second; 0 is as fast as possible.

        May be cancelled between two batches without harm; ``sent`` tells how far it came.

        Raises:
            ProjectError: a row is not a record of the event's schema.
            BusError: the log cannot be written, however often it is tried; FencedError if somebody else publishes.
        """
        await self._codec.prepare(self._project, topics.EVENTS, topics.LABELS)
        rows = file.slice(start, stop)
        begin_s, done, count = self._clock.monotonic_s(), 0, max(0, min(stop, file.rows) - start)
        while done < count:
            due = count if not rate else int((self._clock.monotonic_s() - begin_s) * rate) + 1
            batch = list(islice(rows, min(due - done, BATCH_ROWS)))
            if batch:
                await self._commit(batch)
                done += len(batch)
                self.sent += len(batch)
                self.labels += sum(row.label is not None for row in batch)
            if rate:
                await self._sleep(BATCH_S)

    async def close(self) -> None:
        """Let go of the producer."""
        if self._producer is not None:
            await self._producer.close()
            self._producer = None

    async def _commit(self, rows: Sequence[Row]) -> None:
        records = [record for row in rows for record in self._records(row)]
        for attempt in range(1, RECOVERIES + 1):
            try:
                if self._producer is None and await self._recover(records[0]):
                    return
                assert self._producer is not None, "recovered"
                offsets = await self._producer.commit(records)
            except BusError as error:
                await self.close()
                if not error.retryable or attempt == RECOVERIES:
                    raise
                log.warning("publishing again", attempt=attempt, error=str(error))
                await self._sleep(backoff_s(attempt))
            else:
                self._note(records, offsets)
                return

    async def _recover(self, first: OutRecord) -> bool:
        """Become the producer; return whether the batch that begins with this event is in the log already."""
        self._producer = await self._transport.producer(f"millrace.publish.{self._project.stream}")
        bounds = [await self._transport.bounds(self._events, at) for at in range(self._project.partitions)]
        found = False
        for partition, begin in enumerate(self._ends):
            async for records in self._transport.read(self._events, partition, begin, bounds[partition].end):
                found = found or any(record.value == first.value for record in records)
        self._ends = [bound.end for bound in bounds]
        return found

    def _note(self, records: Sequence[OutRecord], offsets: Sequence[int]) -> None:
        """Remember how far the log has grown: what lies below needs no search after an unclear commit."""
        if self._project.partitions == 1:
            self._ends = [
                1 + max(at for record, at in zip(records, offsets, strict=True) if record.topic == self._events)
            ]

    def _records(self, row: Row) -> list[OutRecord]:
        """The row's event, and its label if it has one."""
        key = row.entity.encode()
        try:
            value = self._codec.encode_record(self._events, row.event)
        except ContractError as error:
            raise ProjectError(f"row {row.number} is no event of {self._events}: {error}") from error
        event = OutRecord(self._events, key, value)
        if row.label is None:
            return [event]
        label = LabelObserved(event_id=row.event_id, label=row.label, label_time_ms=row.label_time_ms)
        return [event, OutRecord(self._labels, key, self._codec.encode(self._labels, label))]
