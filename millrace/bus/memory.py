"""The transport in memory: what tests and the simulation run on, held to the same suite as Kafka's.

Everything happens in one event loop, without threads, wall time or randomness of its own. Give each transport a
``random.Random`` and its seed decides how much of what is available each fetch hands over and when each commit's
steps take place: another seed is another interleaving, the same seed the same one.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from millrace.bus.clock import Clock
from millrace.bus.memory_log import SESSION_TIMEOUT_S, TRANSACTION_TIMEOUT_S, CommitFault, Membership, MemoryLog
from millrace.bus.transport import GroupListener, Handler
from millrace.bus.types import RECORD_BYTES_MAX, Bounds, Lag, OutRecord, Record, TopicPartition
from millrace.contracts.errors import (
    BusError,
    RecordTooLargeError,
    TopicMismatchError,
    UnclearError,
)
from millrace.contracts.topics import TopicSpec

__all__ = ["CommitFault", "MemoryLog", "MemoryTransport"]

DELAY_S = 0.01  # longest delay drawn with an ``rng``: about the p50 of a transaction on the real thing
READ_MAX = 1000  # records in one batch of ``read``


class MemoryTransport:
    """One connection to a shared :class:`MemoryLog`. Without ``log`` it has one of its own, at ``.log``.

    ``clock`` gives the log time of what is written here. :meth:`crash` is kill -9 for simulations.
    """

    def __init__(
        self, clock: Clock, rng: random.Random | None = None, *, log: MemoryLog | None = None, client_id: str = "memory"
    ) -> None:
        self.log = MemoryLog() if log is None else log
        self.clock = clock
        self.crashed = False
        self._rng = rng
        self.client_id = client_id
        self._producers: list[MemoryProducer] = []
        self._members: list[MemoryMember] = []
        self.memberships: list[tuple[str, Membership]] = []
        self._burials: list[asyncio.Task[None]] = []

    async def pause(self) -> None:
        """Let others run: for a drawn time, or not at all."""
        if self._rng is not None:
            await asyncio.sleep(self._rng.random() * DELAY_S)

    def draw(self, most: int) -> int:
        """How many of ``most`` records to hand over."""
        return most if self._rng is None else self._rng.randint(1, most)

    async def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing."""
        for spec in specs:
            self.log.create(spec)

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """The readable offsets of the partition."""
        return self.log.bounds(TopicPartition(topic, partition))

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int:
        """The first visible offset whose log time is at or after ``time_ms``; the end if there is none."""
        at = TopicPartition(topic, partition)
        begin, end = self.log.bounds(at)
        records, _ = self.log.read(at, begin, end - begin)
        return next((record.offset for record in records if record.timestamp_ms >= time_ms), end)

    async def read(self, topic: str, partition: int, start: int, stop: int | None) -> AsyncIterator[list[Record]]:
        """Batches from ``start`` up to ``stop`` (exclusive); with ``stop`` None, for ever as records become stable."""
        at, position = TopicPartition(topic, partition), start
        while stop is None or position < stop:
            records, after = self.log.read(at, position, self.draw(READ_MAX))
            wanted = [record for record in records if stop is None or record.offset < stop]
            if wanted:
                yield wanted
            elif after == position:
                await self.log.changed([at], None)
            position = after

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The group's committed positions; None where there is none."""
        await self.pause()
        return {at: self.log.position(group, at) for at in partitions}

    async def producer(self, transactional_id: str) -> "MemoryProducer":
        """Become the owner of the id: fence the earlier owner and settle its transaction."""
        await self.pause()
        self._refuse_after_crash()
        producer = MemoryProducer(self, transactional_id)
        self._producers.append(producer)
        return producer

    async def join(
        self,
        group: str,
        topics: Sequence[str],
        listener: GroupListener,
        *,
        ends: bool = True,  # noqa: ARG002  # known
    ) -> "MemoryMember":
        """Join the group on co-partitioned topics."""
        self._refuse_after_crash()
        counts = {topic: self.log.partitions(topic) for topic in topics}
        if len(set(counts.values())) != 1:
            raise TopicMismatchError(f"group {group} needs topics with equal partitions, got {counts}")
        member = MemoryMember(self, group, tuple(topics), listener)
        self._members.append(member)
        self.memberships.append((group, member.membership))
        try:
            await self.log.enter(group, member.membership)
        except BaseException:  # cancellation too: what was begun is undone, and it goes on
            await member.close()  # given up, or the partitions could not be shared: leave no ghost behind
            raise
        return member

    async def subscribe(self, group: str, topics: Sequence[str], handler: Handler) -> None:
        """Hand every record of these topics to the handler, at least once, until cancelled."""
        self._refuse_after_crash()
        subscription = _Subscription(self, group, tuple(topics), handler)
        self.memberships.append((group, subscription.membership))
        try:
            await self.log.enter(group, subscription.membership)
            await subscription.run()
        finally:
            if not self.crashed:
                await self.log.leave(group, subscription.membership)

    async def close(self) -> None:
        """Close everything that was opened here."""
        for member in self._members:
            await member.close()
        for producer in self._producers:
            await producer.close()

    async def crash(self) -> None:
        """Die as by kill -9: close nothing. The caller cancels the tasks that use this transport.

        The group notices after the session timeout, and the log aborts what is open after the transaction timeout,
        unless a new owner of the id is quicker.
        """
        self.crashed = True
        loop = asyncio.get_running_loop()
        for producer in self._producers:
            loop.call_later(TRANSACTION_TIMEOUT_S, self.log.expire, producer.transactional_id, producer.epoch)
        self._burials = [asyncio.create_task(self._bury(group, member)) for group, member in self.memberships]

    async def _bury(self, group: str, member: Membership) -> None:
        await asyncio.sleep(SESSION_TIMEOUT_S)
        await self.log.leave(group, member, politely=False)

    def _refuse_after_crash(self) -> None:
        if self.crashed:
            raise BusError("this transport has crashed")


class MemoryProducer:
    """The one owner of a transactional id."""

    def __init__(self, transport: MemoryTransport, transactional_id: str) -> None:
        self.transactional_id = transactional_id
        self.epoch = transport.log.init_producer(transactional_id)
        self._transport = transport
        self._closed = False

    async def commit(
        self,
        records: Sequence[OutRecord],
        group: str | None = None,
        positions: Mapping[TopicPartition, int] | None = None,
    ) -> list[int]:
        """Write all records and the group's positions in one transaction; returns the records' offsets."""
        too_large = next((record for record in records if record.size_bytes > RECORD_BYTES_MAX), None)
        if too_large is not None:
            raise RecordTooLargeError(f"{too_large.topic}: {too_large.size_bytes} bytes, most is {RECORD_BYTES_MAX}")
        if self._closed:
            raise UnclearError(f"{self.transactional_id}: the producer is closed")
        log, pause = self._transport.log, self._transport.pause
        transaction = log.begin(self.transactional_id, self.epoch)
        await pause()
        if positions:
            assert group is not None, "positions belong to a group"
            transaction.positions = {(group, at): offset for at, offset in positions.items()}
        now_ms = self._transport.clock.now_ms()
        offsets = [log.append(transaction, record, now_ms) for record in records]
        await pause()
        fault = log.fault_of(self.transactional_id)
        if fault != "lost":
            log.end(transaction, commit=True)
        if fault is not None:
            self._closed = True
            raise UnclearError(f"{self.transactional_id}: injected fault: {fault}")
        return offsets

    async def close(self) -> None:
        """Abort what is open, unless somebody else owns the id by now."""
        self._closed = True
        if not self._transport.crashed:
            self._transport.log.abandon(self.transactional_id, self.epoch)


class MemoryMember:
    """A member of a consumer group."""

    def __init__(
        self, transport: MemoryTransport, group: str, topics: tuple[str, ...], listener: GroupListener
    ) -> None:
        self.group = group
        self._transport = transport
        self._log = transport.log
        self._topics = topics
        self._listener = listener
        self._error: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._positions: dict[TopicPartition, int] = {}
        self._stable: dict[TopicPartition, int] = {}
        self._turns: Counter[int] = Counter()  # by number: lanes that took turns with each other would starve a topic
        name = self._log.member_id(group, transport.client_id)
        self.membership = Membership(name, topics, self._assigned, self._revoked, self._failed)

    async def _assigned(self, owned: frozenset[TopicPartition]) -> None:
        if not self._transport.crashed:  # the dead stay members until the session timeout
            await self._listener.assigned(frozenset(at.partition for at in owned))

    async def _revoked(self, owned: frozenset[TopicPartition]) -> None:
        if self._transport.crashed:
            return
        try:
            await self._listener.revoked(frozenset(at.partition for at in owned))
        finally:
            for at in owned:
                self._positions.pop(at, None)
                self._stable.pop(at, None)

    def _failed(self, error: BaseException) -> None:
        if not self._error.done():
            self._error.set_exception(error)
            self._error.exception()  # seen: the loop need not complain if nobody asks

    async def confirm(self, number: int) -> None:
        """Return once the group has said, after this call, that this member still owns the number."""
        await self._transport.pause()
        if number not in {at.partition for at in self.membership.owned}:
            raise BusError(f"group {self.group}: it does not confirm that partition {number} is still ours")

    async def failure(self) -> None:
        """Wait until the membership fails, and raise why."""
        await asyncio.shield(self._error)

    async def fetch(self, number: int, topics: Iterable[str], max_records: int, timeout_s: float) -> list[Record]:
        """The next records of partition ``number`` of these topics, or an empty list after ``timeout_s``."""
        self._turns[number] += 1
        wanted = [at for topic in topics if (at := TopicPartition(topic, number)) in self._positions]
        wanted = wanted[::-1] if self._turns[number] % 2 else wanted  # lest a long backlog of one topic hide the others
        deadline = asyncio.get_running_loop().time() + timeout_s
        await self._transport.pause()
        while True:
            if self._error.done():
                self._error.result()
            records = self._take(wanted, self._transport.draw(max_records))
            self._look(number)
            if records:
                return records
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                await asyncio.sleep(0)  # a caller that polls without a timeout must not keep the others from running
                return []
            await self._log.changed(wanted, left)

    def _take(self, wanted: list[TopicPartition], most: int) -> list[Record]:
        found: list[Record] = []
        for at in wanted:
            if at not in self._positions:
                continue  # revoked while waiting
            records, self._positions[at] = self._log.read(at, self._positions[at], most - len(found))
            found += records
        return found

    def _look(self, number: int) -> None:
        for at in self._positions:  # those left out too: each fetch makes what was known before it stale
            if at.partition == number:
                self._stable[at] = self._log.bounds(at).end

    def seek(self, topic: str, number: int, offset: int) -> None:
        """The next fetch of that partition starts at ``offset``."""
        at = TopicPartition(topic, number)
        self._positions[at] = offset
        self._stable.pop(at, None)

    def caught_up(self, topic: str, number: int) -> bool:
        """Whether all that was stable during the number's last fetch has been fetched. False while unknown."""
        at = TopicPartition(topic, number)
        return at in self._stable and self._positions[at] >= self._stable[at]

    def silence_s(self, number: int) -> float:  # noqa: ARG002  # there is no broker that could be silent
        """Always 0."""
        return 0.0

    def lag(self, topic: str, number: int) -> Lag | None:
        """How far behind its reader of that partition is; None before the first fetch."""
        at = TopicPartition(topic, number)
        if at not in self._stable:
            return None
        stable = self._stable[at]
        return Lag(max(0, stable - self._positions[at]), max(0, self._log.end_of(at) - stable))

    async def close(self) -> None:
        """Leave the group."""
        if not self._transport.crashed:
            await self._log.leave(self.group, self.membership)


class _Subscription:
    """One caller of ``subscribe``: whatever it owns, one record at a time."""

    def __init__(self, transport: MemoryTransport, group: str, topics: tuple[str, ...], handler: Handler) -> None:
        self._transport = transport
        self._log = transport.log
        self._group = group
        self._handler = handler
        self._busy = asyncio.Lock()  # held while a record is in hand: a rebalance waits for it
        self._positions: dict[TopicPartition, int] = {}
        self._owned = asyncio.Event()
        name = self._log.member_id(group, transport.client_id)
        self.membership = Membership(name, topics, self._assigned, self._revoked, self._failed)

    async def _assigned(self, owned: frozenset[TopicPartition]) -> None:
        for at in sorted(owned):
            position = self._log.position(self._group, at)
            self._positions[at] = self._log.bounds(at).begin if position is None else position
        self._owned.set()

    async def _revoked(self, owned: frozenset[TopicPartition]) -> None:
        async with self._busy:
            for at in owned:
                self._positions.pop(at, None)
            self._owned.clear()

    def _failed(self, error: BaseException) -> None:
        raise AssertionError("the callbacks above have nothing that can fail") from error

    async def run(self) -> None:
        """Hand over records until cancelled or the handler fails."""
        while True:
            await self._owned.wait()
            await self._transport.pause()
            async with self._busy:
                handled = await self._handle_next()
            if not handled and self._positions:
                await self._log.changed(list(self._positions), 1.0)  # bounded: the partitions owned may change

    async def _handle_next(self) -> bool:
        for at in list(self._positions):
            records, after = self._log.read(at, self._positions[at], 1)
            for record in records:
                await self._handler(record)
            if records and not self._transport.crashed:
                self._log.commit_position(self._group, at, after)
            self._positions[at] = after
            if records:
                return True
        return False
