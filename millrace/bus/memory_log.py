"""The broker's half of the in-memory transport: partitions, transactions and groups, as Kafka keeps them.

It lives in one event loop. Its time is the loop's, so under a virtual-time loop waiting costs nothing and always
happens in the same order. Where Kafka has a rule, this has the same one:

- A transaction's marker takes an offset in every partition that the transaction wrote to.
- Readers see nothing at or above the last stable offset, which is where the oldest open transaction began.
- A transactional id has an epoch. Initialising it aborts what is open and makes every earlier epoch a stranger.
- A rebalance is eager: everybody gives up everything, then ranges over the sorted member ids are handed out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from millrace.bus.partitioner import partition_of
from millrace.bus.types import Bounds, OutRecord, Record, TopicPartition
from millrace.contracts.errors import BusError, FencedError, OffsetGoneError, TopicMismatchError
from millrace.contracts.topics import TopicSpec

CommitFault = Literal["lost", "unanswered"]
"""How a commit can end unclearly: it never reached the log, or it did and the answer was lost."""

SESSION_TIMEOUT_S = 6.0  # after this the group gives a dead member's partitions away; Kafka's transport has the same
TRANSACTION_TIMEOUT_S = 15.0  # after this the log aborts a dead owner's transaction; Kafka's transport has the same
REBALANCE_TIMEOUT_S = 30.0  # longest wait for a member that does not come back from ``revoked``


@dataclass(eq=False, slots=True)
class Transaction:
    """Records and positions that become visible together or never."""

    owner: str
    epoch: int
    state: Literal["open", "committed", "aborted"] = "open"
    first: dict[TopicPartition, int] = field(default_factory=dict)
    positions: dict[tuple[str, TopicPartition], int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Partition:
    """Entries are kept densely, markers (no record) among them: the entry at offset ``o`` is ``entries[o - begin]``."""

    begin: int = 0
    entries: list[tuple[Record | None, Transaction]] = field(default_factory=list)
    open: dict[int, Transaction] = field(default_factory=dict)
    waiters: dict[asyncio.Future[None], None] = field(default_factory=dict)  # a set would wake them in chance order

    @property
    def end(self) -> int:
        return self.begin + len(self.entries)

    @property
    def stable(self) -> int:
        return min(self.open, default=self.end)


@dataclass(eq=False, slots=True)
class Membership:
    """One member as its group sees it. The callbacks are told partitions, of every topic of the group."""

    member_id: str
    topics: tuple[str, ...]
    assigned: Callable[[frozenset[TopicPartition]], Awaitable[None]]
    revoked: Callable[[frozenset[TopicPartition]], Awaitable[None]]
    failed: Callable[[BaseException], None]
    owned: frozenset[TopicPartition] = frozenset()


@dataclass(eq=False, slots=True)
class _Group:
    members: dict[str, Membership] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    joined: int = 0


class MemoryLog:
    """What every :class:`~millrace.bus.memory.MemoryTransport` of one simulated cluster shares.

    ``commit_fault`` is asked before each commit, with its transactional id, whether it shall end unclearly.
    """

    def __init__(self) -> None:
        self._topics: dict[str, list[_Partition]] = {}
        self._epochs: dict[str, int] = {}
        self._open: dict[str, Transaction] = {}
        self._positions: dict[tuple[str, TopicPartition], int] = {}
        self._groups: dict[str, _Group] = {}
        self._faults: list[CommitFault] = []
        self.commit_fault: Callable[[str], CommitFault | None] = lambda _owner: None
        self.fenced = 0  # how many calls of a former owner were refused: a test of fencing must see it grow

    # Topics and reading

    def create(self, spec: TopicSpec) -> None:
        """Create the topic unless it is there with as many partitions."""
        partitions = self._topics.setdefault(spec.name, [_Partition() for _ in range(spec.partitions)])
        if len(partitions) != spec.partitions:
            msg = f"topic {spec.name} has {len(partitions)} partitions, {spec.partitions} are needed"
            raise TopicMismatchError(msg)

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has."""
        if topic not in self._topics:
            raise BusError(f"topic {topic} does not exist; create it first")
        return len(self._topics[topic])

    def _at(self, at: TopicPartition) -> _Partition:
        if at.partition not in range(self.partitions(at.topic)):
            raise BusError(f"topic {at.topic} has no partition {at.partition}")
        return self._topics[at.topic][at.partition]

    def bounds(self, at: TopicPartition) -> Bounds:
        """First offset and last stable offset."""
        partition = self._at(at)
        return Bounds(partition.begin, partition.stable)

    def end_of(self, at: TopicPartition) -> int:
        """The offset after the newest record, of an open transaction too."""
        return self._at(at).end

    def read(self, at: TopicPartition, start: int, max_records: int) -> tuple[list[Record], int]:
        """Up to ``max_records`` visible records from ``start``, and the position after them."""
        partition = self._at(at)
        if not partition.begin <= start <= partition.end:
            msg = f"{at.topic}/{at.partition}: offset {start} is not in the log, which has {partition.begin} to "
            raise OffsetGoneError(f"{msg}{partition.end}")
        found: list[Record] = []
        offset, stable = start, partition.stable
        while offset < stable and len(found) < max_records:
            record, transaction = partition.entries[offset - partition.begin]
            if record is not None and transaction.state == "committed":
                found.append(record)
            offset += 1
        return found, max(offset, start)

    async def changed(self, partitions: Iterable[TopicPartition], timeout_s: float | None) -> None:
        """Wait until one of the partitions has become longer or more stable, or the time is over."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        watched = [self._at(at) for at in partitions]
        for partition in watched:
            partition.waiters[future] = None
        try:
            await asyncio.wait([future], timeout=timeout_s)
        finally:
            future.cancel()
            for partition in watched:
                partition.waiters.pop(future, None)

    def delete_before(self, at: TopicPartition, offset: int) -> None:
        """What retention does: everything below ``offset`` is gone."""
        partition = self._at(at)
        del partition.entries[: max(0, offset - partition.begin)]
        partition.begin = max(partition.begin, offset)

    # Transactions

    def init_producer(self, owner: str) -> int:
        """Fence earlier owners of the transactional id, abort what they left open, return the new epoch."""
        self._epochs[owner] = self._epochs.get(owner, -1) + 1
        if owner in self._open:
            self._end(self._open[owner], commit=False)
        return self._epochs[owner]

    def check_owner(self, owner: str, epoch: int) -> None:
        """Raise ``FencedError`` unless this is the newest owner."""
        if self._epochs[owner] != epoch:
            self.fenced += 1
            raise FencedError(f"{owner}: epoch {epoch} is over, {self._epochs[owner]} owns it now")

    def begin(self, owner: str, epoch: int) -> Transaction:
        """Open a transaction."""
        self.check_owner(owner, epoch)
        assert owner not in self._open, "a producer commits one transaction at a time"
        self._open[owner] = Transaction(owner, epoch)
        return self._open[owner]

    def append(self, transaction: Transaction, out: OutRecord, timestamp_ms: int) -> int:
        """Write one record, not yet visible."""
        self.check_owner(transaction.owner, transaction.epoch)
        number = partition_of(out.key, self.partitions(out.topic)) if out.partition is None else out.partition
        at = TopicPartition(out.topic, number)
        partition = self._at(at)
        record = Record(out.topic, number, partition.end, timestamp_ms, out.key, out.value, out.headers)
        if at not in transaction.first:
            transaction.first[at] = partition.end
            partition.open[partition.end] = transaction
        partition.entries.append((record, transaction))
        return record.offset

    def end(self, transaction: Transaction, *, commit: bool) -> None:
        """Decide the transaction. Its markers take an offset in each partition it wrote to."""
        self.check_owner(transaction.owner, transaction.epoch)
        if transaction.state == "open":
            self._end(transaction, commit=commit)

    def _end(self, transaction: Transaction, *, commit: bool) -> None:
        transaction.state = "committed" if commit else "aborted"
        del self._open[transaction.owner]
        if commit:
            self._positions.update(transaction.positions)
        for at, first in transaction.first.items():
            partition = self._at(at)
            del partition.open[first]
            partition.entries.append((None, transaction))
            for waiter in list(partition.waiters):
                if not waiter.done():
                    waiter.set_result(None)

    def expire(self, owner: str, epoch: int) -> None:
        """The transaction timeout of a dead owner: abort what it left open, and fence it."""
        if self._epochs[owner] == epoch and owner in self._open:
            self.init_producer(owner)

    def abandon(self, owner: str, epoch: int) -> None:
        """An owner closes: abort what it left open, if the id is still its own."""
        if self._epochs[owner] == epoch and owner in self._open:
            self._end(self._open[owner], commit=False)

    def fail_next_commit(self, fault: CommitFault) -> None:
        """Let the next commit of anybody end unclearly; may be called several times for several commits."""
        self._faults.append(fault)

    def fault_of(self, owner: str) -> CommitFault | None:
        """What shall go wrong with the commit that ``owner`` is about to make."""
        return self._faults.pop(0) if self._faults else self.commit_fault(owner)

    # Groups

    def position(self, group: str, at: TopicPartition) -> int | None:
        """The group's committed position."""
        return self._positions.get((group, at))

    def commit_position(self, group: str, at: TopicPartition, position: int) -> None:
        """Commit a position outside of any transaction, as at-least-once consumers do."""
        self._positions[group, at] = position

    def member_id(self, group: str, client_id: str) -> str:
        """A new member's id: in joining order, so that sorted ids mean the same in every run."""
        found = self._groups.setdefault(group, _Group())
        found.joined += 1
        return f"{found.joined:06}-{client_id}"

    async def enter(self, group: str, member: Membership) -> None:
        """Join, and share the partitions anew."""
        self._groups[group].members[member.member_id] = member
        await self.rebalance(group)

    async def leave(self, group: str, member: Membership, *, politely: bool = True) -> None:
        """Leave, and share the partitions anew. Impolitely is how the dead leave: nobody calls their ``revoked``."""
        if self._groups[group].members.get(member.member_id) is not member:
            return
        async with self._groups[group].lock:
            if politely:
                await self._revoke(member)
            self._groups[group].members.pop(member.member_id, None)
        await self.rebalance(group)

    async def rebalance(self, group: str) -> None:
        """Everybody gives up everything; then each topic is ranged over the sorted members that want it."""
        found = self._groups[group]
        async with found.lock:
            await asyncio.gather(*(self._revoke(found.members[name]) for name in sorted(found.members)))
            for name, owned in self._shares(found.members).items():
                member = found.members[name]
                member.owned = owned
                try:
                    if owned:
                        await member.assigned(owned)
                except Exception as error:  # noqa: BLE001 - one member's failure is its own, and it is told
                    member.failed(error)

    async def _revoke(self, member: Membership) -> None:
        owned, member.owned = member.owned, frozenset()
        if not owned:
            return
        task = asyncio.ensure_future(member.revoked(owned))
        await asyncio.wait([task], timeout=REBALANCE_TIMEOUT_S)
        if task.done() and not task.cancelled() and (error := task.exception()):
            member.failed(error)

    def _shares(self, members: Mapping[str, Membership]) -> dict[str, frozenset[TopicPartition]]:
        shares: dict[str, set[TopicPartition]] = {name: set() for name in sorted(members)}
        for topic in sorted({topic for member in members.values() for topic in member.topics}):
            wanting = [name for name in shares if topic in members[name].topics]
            each, more = divmod(self.partitions(topic), len(wanting))
            for place, name in enumerate(wanting):
                first = place * each + min(place, more)
                last = first + each + (place < more)
                shares[name] |= {TopicPartition(topic, number) for number in range(first, last)}
        return {name: frozenset(share) for name, share in shares.items()}
