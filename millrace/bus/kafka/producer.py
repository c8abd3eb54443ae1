"""The one owner of a transactional id."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.errors import InvalidProducerEpoch, KafkaError, ProducerFenced
from aiokafka.producer import sender

from millrace.bus.failpoints import failpoint
from millrace.bus.kafka.settings import KafkaSettings, stop
from millrace.bus.partitioner import partition_of
from millrace.bus.types import RECORD_BYTES_MAX, OutRecord, TopicPartition
from millrace.contracts.errors import FencedError, RecordTooLargeError, UnclearError

UNCLEAR = (KafkaError, TimeoutError, OSError, AssertionError, asyncio.InvalidStateError)  # the last two are aiokafka's
NO_HEADERS: list[tuple[str, bytes]] = []  # aiokafka wants a list, and only reads it
Places = dict[tuple[str, int | None], list[int]]
Sent = tuple[asyncio.Future[Any], list[int]]  # a batch, and which of the records it holds
BATCH_BYTES_MAX = RECORD_BYTES_MAX + 40_000  # room for the framing of one largest record; below the broker's 1,048,588


class KafkaProducer:
    """The one owner of a transactional id."""

    def __init__(self, settings: KafkaSettings, transactional_id: str) -> None:
        self.closed = False
        self._settings = settings
        self._id = transactional_id
        self._open = False
        sender.BACKOFF_OVERRIDE = settings.retry_backoff_ms / 1000  # its 20 ms are more than a transaction takes
        self._producer = AIOKafkaProducer(
            **settings.client(),
            transactional_id=transactional_id,
            transaction_timeout_ms=settings.transaction_timeout_ms,
            retry_backoff_ms=settings.retry_backoff_ms,
            compression_type=settings.compression,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=BATCH_BYTES_MAX,
            acks="all",
        )

    async def start(self) -> None:
        """Fence the earlier owner. The broker answers once its transaction is aborted or committed everywhere."""
        await self._producer.start()

    async def commit(
        self,
        records: Sequence[OutRecord],
        group: str | None = None,
        positions: Mapping[TopicPartition, int] | None = None,
    ) -> list[int]:
        """Write all records and the group's positions in one transaction; returns the records' offsets."""
        places = _places(records)
        if not records and not positions:
            return []
        try:
            async with asyncio.timeout(self._settings.commit_timeout_ms / 1000):
                return await self._commit(records, places, group, positions)
        except UNCLEAR as error:
            if _is_fenced(error):
                raise FencedError(f"{self._id}: another owner has taken over") from error
            raise UnclearError(f"{self._id}: the commit ended with {error!r}") from error

    async def _commit(
        self,
        records: Sequence[OutRecord],
        places: Places,
        group: str | None,
        positions: Mapping[TopicPartition, int] | None,
    ) -> list[int]:
        await self._producer.begin_transaction()
        self._open = True
        failpoint("commit.begin")
        sent = await self._send_all(records, places)
        if positions:  # while the broker writes the records
            assert group is not None, "positions belong to a group"
            offsets = {KafkaPartition(*at): offset for at, offset in positions.items()}
            await self._producer.send_offsets_to_transaction(offsets, group)
            failpoint("commit.after-offsets")
        written = await self._written(sent, len(records))
        failpoint("commit.before-end")
        self._open = False  # from here on only the broker knows
        await self._producer.commit_transaction()
        failpoint("commit.after-end")
        return written

    async def _send_all(self, records: Sequence[OutRecord], places: Places) -> list[Sent]:
        """Hand the records over in batches, one sequence for each partition."""
        sent: list[Sent] = []
        for (topic, number), mine in (await self._placed(places, records)).items():
            sent += await self._send(topic, number, mine, records)
        for future, _ in sent:  # whoever fails first is raised; the others need not be complained of
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return sent

    async def _written(self, sent: Sequence[Sent], count: int) -> list[int]:
        """Wait for the offset of each record."""
        offsets = [0] * count
        for future, mine in sent:
            base = (await future).offset
            failpoint("commit.mid-send")
            if base < 0:  # a repeat of a batch that the broker has, but whose place it has forgotten
                raise UnclearError(f"{self._id}: the broker does not say where it put a batch")
            if mine and mine[-1] - mine[0] == len(mine) - 1:  # they stood together
                offsets[mine[0] : mine[-1] + 1] = range(base, base + len(mine))
                continue
            for place, index in enumerate(mine):
                offsets[index] = base + place
        return offsets

    async def _placed(self, places: Places, records: Sequence[OutRecord]) -> dict[tuple[str, int], list[int]]:
        """The same places, with a partition for the records that leave it to their key."""
        placed: dict[tuple[str, int], list[int]] = {}
        for (topic, number), mine in places.items():
            if number is not None:
                placed.setdefault((topic, number), []).extend(mine)
                continue
            count = len(await self._producer.partitions_for(topic))
            for place in mine:
                placed.setdefault((topic, partition_of(records[place].key, count)), []).append(place)
        for mine in placed.values():
            mine.sort()  # their order within a partition is the order in which they were given
        return placed

    async def _send(self, topic: str, number: int, places: list[int], records: Sequence[OutRecord]) -> list[Sent]:
        """One or more batches. What is large was checked before: a record that an empty batch refuses is a defect."""
        sent: list[Sent] = []
        batch, mine = self._producer.create_batch(), list[int]()
        for place in places:
            _, key, value, _, more = records[place]
            headers = list(more) if more else NO_HEADERS
            if batch.append(key=key, value=value, headers=headers, timestamp=None) is None:
                sent.append((await self._producer.send_batch(batch, topic, partition=number), mine))
                batch, mine = self._producer.create_batch(), []
                batch.append(key=key, value=value, headers=headers, timestamp=None)
            mine.append(place)
        sent.append((await self._producer.send_batch(batch, topic, partition=number), mine))
        return sent

    async def close(self) -> None:
        """Abort what is open and release the connection. Never raises."""
        if self.closed:
            return
        self.closed = True
        if self._open:
            with contextlib.suppress(Exception):  # the next owner or the transaction timeout aborts it as well
                async with asyncio.timeout(self._settings.close_timeout_ms / 1000):
                    await self._producer.abort_transaction()
        await stop(self._producer, self._settings.close_timeout_ms)
        self._acknowledge_failures()
        await self._producer.client.close()  # stop() never came to it if it was cut short; twice does no harm

    def _acknowledge_failures(self) -> None:
        """Aiokafka keeps the error it gave us in futures of its own, and the loop would log each as never retrieved."""
        for future in (self._producer._sender.sender_task, self._producer._txn_manager.wait_for_transaction_end()):  # noqa: SLF001
            if future is not None and future.done() and not future.cancelled():
                future.exception()


def _places(records: Sequence[OutRecord]) -> Places:
    """Where each topic's and partition's records stand. Raises ``RecordTooLargeError``."""
    places: Places = {}
    for place, record in enumerate(records):
        topic, key, value, number, headers = record
        size = len(value or b"") + len(key or b"") if not headers else record.size_bytes
        if size > RECORD_BYTES_MAX:
            raise RecordTooLargeError(f"{topic}: {size} bytes, most is {RECORD_BYTES_MAX}")
        at = (topic, number)
        if at in places:
            places[at].append(place)
        else:
            places[at] = [place]
    return places


def _is_fenced(error: BaseException | None) -> bool:
    """Whether a newer owner is behind it. The causes count too: aiokafka wraps what its sender failed on."""
    while error is not None:
        if isinstance(error, ProducerFenced | InvalidProducerEpoch):
            return True
        error = error.__cause__
    return False
