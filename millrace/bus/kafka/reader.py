"""One partition, read from one offset on."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import KafkaError, OffsetOutOfRangeError

from millrace.bus.kafka.settings import KafkaSettings, bounded, stop
from millrace.bus.types import Lag, Record, TopicPartition
from millrace.contracts.errors import BusError, OffsetGoneError


def ours(_key: bytes | None) -> bytes | None:
    """Marks a consumer, as its key's deserializer, whose records are made as ours at once. Never called."""
    raise AssertionError("the mark is looked at, not called")


class OurRecords(PartitionRecords):  # type: ignore[misc]  # aiokafka publishes no types
    """Makes a :class:`Record` where aiokafka would make its own and we ours of it: a third of the cost of reading.

    aiokafka has no hook for that. So its name for this class is bound to ours, once; consumers without the mark (those
    of Faust and of groups) get what they always got.
    """

    def _consumer_record(self, tp: KafkaPartition, record: Any) -> Any:
        if self._key_deserializer is not ours:
            return super()._consumer_record(tp, record)
        headers = tuple(record.headers) if record.headers else ()
        fields = (tp.topic, tp.partition, record.offset, record.timestamp, record.key, record.value, headers)
        return tuple.__new__(Record, fields)

    @classmethod
    def install(cls) -> None:
        """Take the place of aiokafka's own."""
        fetcher.PartitionRecords = cls


class Reader:
    """One partition from one offset on.

    ``position`` is the offset after what was handed over, ``left`` how much the broker had more when it last sent some.
    While there is more, aiokafka asks for it ahead. At the end that would be wrong: the broker answers as soon as there
    is one record, and that one would wait here for the end of a transaction while forty more gather at the broker. So
    a reader at the end rests, and the broker is asked when the lane asks: one answer with all that has come.
    """

    def __init__(self, settings: KafkaSettings, at: TopicPartition, start: int) -> None:
        self.at = at
        self.position = start
        self.left = 0
        self._settings = settings
        self._partition = KafkaPartition(at.topic, at.partition)
        self._consumer: AIOKafkaConsumer | None = None
        self._heard_s = asyncio.get_running_loop().time()
        self._rests = False
        self._answer: int | None = None  # when the broker last answered, by another clock: only its changes count

    @property
    def silence_s(self) -> float:
        """How long the broker has given no answer, as of the last ``take``; 0 if it gave records then."""
        return asyncio.get_running_loop().time() - self._heard_s

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(
                **self._settings.client(),
                group_id=None,
                isolation_level="read_committed",
                auto_offset_reset="none",
                enable_auto_commit=False,
                key_deserializer=ours,
                max_partition_fetch_bytes=self._settings.fetch_bytes,
            )
            self._consumer = consumer
            try:
                async with bounded(f"reading {self.at}", self._settings.call_timeout_ms):
                    await consumer.start()
                    there = self.at.topic in await consumer.topics()
            except BaseException:  # cancellation too: what was begun is undone, and it goes on
                await self.close()
                raise
            if not there:
                await self.close()
                raise BusError(f"topic {self.at.topic} does not exist; create it first")
            consumer.assign([self._partition])
            consumer.seek(self._partition, self.position)
        return self._consumer

    async def take(self, max_records: int, timeout_s: float) -> list[Record]:
        """The next records, or none after the time is over."""
        consumer = await self._started()
        if self._rests:
            consumer.resume(self._partition)
            self._rests, self._heard_s = False, asyncio.get_running_loop().time()  # the broker is asked only now
        try:
            found = await consumer.getmany(self._partition, timeout_ms=int(timeout_s * 1000), max_records=max_records)
            self.position = await consumer.position(self._partition)
        except OffsetOutOfRangeError as error:
            msg = f"{self.at.topic}/{self.at.partition}: offset {self.position} is not in the log any more"
            raise OffsetGoneError(msg) from error
        except KafkaError as error:
            raise BusError(f"reading {self.at}: {error!r}") from error
        answer = consumer.last_poll_timestamp(self._partition)
        if found or answer != self._answer:
            self._heard_s, self._answer = asyncio.get_running_loop().time(), answer
        self.left = (consumer.last_stable_offset(self._partition) or 0) - self.position
        records: list[Record] = found.get(self._partition, [])
        if records and self.left <= 0:
            consumer.pause(self._partition)
            self._rests = True
        return records

    @property
    def lag(self) -> Lag | None:
        """How far the newest answer of the broker lies ahead; None while there was none."""
        end = self._consumer and self._consumer.highwater(self._partition)
        stable = self._consumer and self._consumer.last_stable_offset(self._partition)
        if end is None or stable is None:
            return None
        return Lag(max(0, stable - self.position), max(0, end - stable))

    async def close(self) -> None:
        """Close the connection. Never raises."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stop(consumer, self._settings.close_timeout_ms)
