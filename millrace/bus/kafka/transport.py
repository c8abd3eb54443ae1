"""A connection to a Kafka cluster."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError

from millrace.bus.kafka.member import KafkaMember
from millrace.bus.kafka.producer import KafkaProducer
from millrace.bus.kafka.reader import OurRecords, Reader
from millrace.bus.kafka.settings import KafkaSettings, Sparingly, bounded, stop
from millrace.bus.streams import run_agents
from millrace.bus.transport import GroupListener, Handler
from millrace.bus.types import Bounds, Record, TopicPartition
from millrace.contracts.errors import BusError, TopicMismatchError
from millrace.contracts.topics import TopicSpec

READ_MAX = 5000  # records in one batch of ``read``
LOOK_MS = 1000  # longest wait for where partitions end; a broker that is slower than this leaves it unknown


class KafkaTransport:
    """A connection to a Kafka cluster. ``options`` are the fields of :class:`KafkaSettings`."""

    def __init__(self, bootstrap_servers: str, client_id: str, **options: Any) -> None:
        Sparingly.install()
        OurRecords.install()
        self.settings = KafkaSettings(bootstrap_servers, client_id, **options)
        self._admin: AIOKafkaAdminClient | None = None
        self._asker: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._opened: list[Reader | KafkaMember | KafkaProducer] = []

    def _call(self, what: str) -> contextlib.AbstractAsyncContextManager[None]:
        return bounded(what, self.settings.call_timeout_ms)

    async def _to_administer(self) -> AIOKafkaAdminClient:
        async with self._lock:
            if self._admin is None:
                admin = AIOKafkaAdminClient(**self.settings.client())
                await admin.start()
                self._admin = admin
        return self._admin

    @contextlib.asynccontextmanager
    async def _asking(self, what: str, timeout_ms: int | None = None) -> AsyncIterator[None]:
        """Like ``_call``; and if there is no answer, the next question goes out on new connections.

        aiokafka closes a dead connection only after the whole time that a request may take, which a caller who waits
        less never lets pass. A network that went silent without a word would then be asked again for ever.
        """
        try:
            async with bounded(what, timeout_ms or self.settings.call_timeout_ms):
                yield
        except BusError:
            asker, self._asker = self._asker, None
            admin, self._admin = self._admin, None
            for task in (asker and stop(asker, self.settings.close_timeout_ms), admin and _close(admin)):
                if task is not None:
                    self._closing.add(closing := asyncio.create_task(task))
                    closing.add_done_callback(self._closing.discard)
            raise

    async def _to_ask(self) -> AIOKafkaConsumer:
        async with self._lock:
            if self._asker is None:
                asker = AIOKafkaConsumer(**self.settings.client(), group_id=None, isolation_level="read_committed")
                try:
                    await asker.start()
                except BaseException:  # cancellation too: what was begun is undone, and it goes on
                    await stop(asker, self.settings.close_timeout_ms)
                    raise
                self._asker = asker
        return self._asker

    async def _partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of these topics has, led by somebody; 0 if it does not exist."""
        described = await (await self._to_administer()).describe_topics(list(topics))
        return {
            topic["topic"]: sum(1 for partition in topic["partitions"] if partition["leader"] >= 0)
            for topic in described
        }

    async def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing, and wait until they can be used."""
        wanted = {spec.name: spec for spec in specs}
        async with self._call("creating topics"):
            there = await self._partitions(wanted)
            missing = [self._new_topic(spec) for name, spec in wanted.items() if not there.get(name)]
            if missing:
                response = await (await self._to_administer()).create_topics(missing)
                for name, code, message in response.topic_errors:
                    if code not in {0, TopicAlreadyExistsError.errno}:
                        raise BusError(f"creating topic {name}: error {code}, {message}")
            while any(not count for count in there.values()):
                await asyncio.sleep(0.02)
                there = await self._partitions(wanted)
        for name, spec in wanted.items():
            if there[name] != spec.partitions:
                raise TopicMismatchError(f"topic {name} has {there[name]} partitions, {spec.partitions} are needed")

    def _new_topic(self, spec: TopicSpec) -> NewTopic:
        configs = {
            "retention.ms": str(spec.retention_ms),
            "cleanup.policy": "compact" if spec.compacted else "delete",
            "message.timestamp.type": "LogAppendTime" if spec.log_append_time else "CreateTime",
        }
        return NewTopic(spec.name, spec.partitions, self.settings.replication_factor, topic_configs=configs)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """The readable offsets of the partition."""
        at = KafkaPartition(topic, partition)
        async with self._asking(f"bounds of {topic}/{partition}"):
            asker = await self._to_ask()
            begin, end = await asyncio.gather(asker.beginning_offsets([at]), asker.end_offsets([at]))
            return Bounds(begin[at], end[at])  # read_committed: the end is the last stable offset

    async def _ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """The last stable offsets, in one request to each broker."""
        async with self._asking("ends of partitions", LOOK_MS):
            ends = await (await self._to_ask()).end_offsets([KafkaPartition(*at) for at in partitions])
            return {TopicPartition(*at): end for at, end in ends.items()}

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int:
        """The first offset whose log time is at or after ``time_ms``; the end if there is none."""
        end = (await self.bounds(topic, partition)).end
        at = KafkaPartition(topic, partition)
        async with self._asking(f"offset of {topic}/{partition} at {time_ms}"):
            found = (await (await self._to_ask()).offsets_for_times({at: max(0, time_ms)}))[at]
            return end if found is None else min(end, int(found.offset))

    async def read(self, topic: str, partition: int, start: int, stop: int | None) -> AsyncIterator[list[Record]]:
        """Batches from ``start`` up to ``stop`` (exclusive); with ``stop`` None, for ever as records become stable."""
        patience_s = 1.0 if stop is None else 0.05  # a marker just before the stop is seen only when the time is over
        reader = Reader(self.settings, TopicPartition(topic, partition), start)
        self._opened.append(reader)
        try:
            while stop is None or reader.position < stop:
                records = [
                    record for record in await reader.take(READ_MAX, patience_s) if stop is None or record.offset < stop
                ]
                if records:
                    yield records
        finally:
            self._opened.remove(reader)
            await reader.close()

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The group's committed positions, asked of the broker now; None where there is none."""
        wanted = [KafkaPartition(*at) for at in partitions]
        async with self._asking(f"positions of {group}"):
            found = await (await self._to_administer()).list_consumer_group_offsets(group, partitions=wanted)
        if missing := [at for at in wanted if at not in found]:
            raise BusError(f"positions of {group}: no answer for {missing}; its coordinator may be loading")
        return {TopicPartition(*at): found[at].offset if found[at].offset >= 0 else None for at in wanted}

    async def producer(self, transactional_id: str) -> "KafkaProducer":
        """Become the owner of the id: fence the earlier owner and settle its transaction."""
        producer = KafkaProducer(self.settings, transactional_id)
        try:
            async with self._call(f"becoming {transactional_id}"):
                await producer.start()
        except BaseException:  # cancellation too: what was begun is undone, and it goes on
            await producer.close()
            raise
        self._forget_closed()
        self._opened.append(producer)
        return producer

    async def join(
        self, group: str, topics: Sequence[str], listener: GroupListener, *, ends: bool = True
    ) -> "KafkaMember":
        """Join the group on co-partitioned topics. Returns once the group has answered."""
        async with self._call(f"joining {group}"):
            counts = await self._partitions(topics)
        if not all(counts.get(topic) for topic in topics):
            raise BusError(f"group {group}: one of these topics does not exist: {counts}; create it first")
        if len(set(counts.values())) != 1:
            raise TopicMismatchError(f"group {group} needs topics with equal partitions, got {counts}")
        member = KafkaMember(self.settings, group, tuple(topics), listener, self._ends, asks=ends)
        try:
            async with bounded(f"joining {group}", self.settings.join_timeout_ms):
                await member.start()
        except BaseException:  # cancellation too: what was begun is undone, and it goes on
            await member.close()
            raise
        self._forget_closed()
        self._opened.append(member)
        return member

    async def subscribe(self, group: str, topics: Sequence[str], handler: Handler) -> None:
        """Hand every record of these topics to the handler, at least once, until cancelled."""
        async with self._call(f"subscribing {group}"):
            counts = await self._partitions(topics)
        if not all(counts.get(topic) for topic in topics):
            raise BusError(f"group {group}: one of these topics does not exist: {counts}; create it first")
        await run_agents(
            self.settings.bootstrap_servers,
            group,
            topics,
            handler,
            client_id=self.settings.client_id,
            session_timeout_s=self.settings.session_timeout_ms / 1000,
            client_options=self.settings.client_options,
        )

    def _forget_closed(self) -> None:
        self._opened = [each for each in self._opened if not getattr(each, "closed", False)]

    async def close(self) -> None:
        """Close everything that was opened here."""
        for opened in list(self._opened):
            await opened.close()
        admin, self._admin = self._admin, None
        asker, self._asker = self._asker, None
        if asker is not None:
            await stop(asker, self.settings.close_timeout_ms)
        if admin is not None:
            await _close(admin)
        await asyncio.gather(*self._closing)


async def _close(admin: AIOKafkaAdminClient) -> None:
    with contextlib.suppress(Exception):  # closing: whatever it is, there is nothing left to do with the client
        await admin.close()
