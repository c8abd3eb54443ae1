"""What a transport promises. ``memory.py`` and ``kafka.py`` keep it; tests/test_every_transport.py holds both to it.

**Offsets.** A record's offset is its place in its partition, growing but not dense: transaction markers take places
too. A *position* is the offset of the next record to read, so "committed 7" means 6 is done. ``Bounds.end`` is the
last stable offset: everything below it is decided, nothing at or above it is shown.

**Visibility.** All reading is read_committed. A record of an open or aborted transaction is never seen by anybody.

**Transactions.** ``Producer.commit`` writes records and positions together or not at all. A transactional id has one
owner: obtaining a producer aborts what an earlier owner left open and *fences* it, so that each of its later calls
raises ``FencedError``. Positions committed by the earlier owner are settled when ``producer()`` returns; only then
may they be read. Any other failure of ``commit`` raises ``UnclearError``: it may or may not have happened. The caller
closes the producer, obtains the same id again and reads the committed positions; they tell. Readers see a transaction
soon after ``commit`` returned, not before: its markers are still being written.

**Groups.** Partition *numbers* are assigned, not partitions: the owner of number ``p`` reads partition ``p`` of every
topic of the group. A number has one owner at a time. ``revoked`` is awaited before the number goes to somebody else;
a member that does not come back from it in time loses the number anyway and is fenced by its transactional id.
Reading starts where ``seek`` says: the transport itself never moves a position to "latest" or "earliest".

**Retention.** Reading an offset that the broker has removed raises ``OffsetGoneError``; it never jumps.

**At least once.** ``subscribe`` hands over one record at a time, in partition order, and advances the group's position
only after the handler returned. A crash repeats the last records, so handlers are idempotent. An exception from the
handler ends ``subscribe`` with that exception: nothing is skipped.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

from millrace.bus.types import Bounds, Lag, OutRecord, Record, TopicPartition
from millrace.contracts.topics import TopicSpec

Handler = Callable[[Record], Awaitable[None]]


class Producer(Protocol):
    """The one owner of a transactional id."""

    async def commit(
        self,
        records: Sequence[OutRecord],
        group: str | None = None,
        positions: Mapping[TopicPartition, int] | None = None,
    ) -> list[int]:
        """Write all records and the group's positions in one transaction.

        Returns the offset given to each record, in their order. Raises ``FencedError`` if a newer owner exists,
        ``UnclearError`` if the outcome is unknown. After either, only ``close`` may be called.
        ``RecordTooLargeError`` is raised before anything is written; the producer stays usable.
        """
        ...

    async def close(self) -> None:
        """Release the connection. An open transaction is aborted. Never raises; safe to call twice."""
        ...


class GroupListener(Protocol):
    """Told about the partition numbers that this member owns."""

    async def assigned(self, numbers: frozenset[int]) -> None:
        """These numbers are owned from now on. Nothing is fetched for them before ``seek``."""
        ...

    async def revoked(self, numbers: frozenset[int]) -> None:
        """These numbers are about to be lost: finish or give up the transaction in hand, then return."""
        ...


class GroupMember(Protocol):
    """A member of a consumer group."""

    async def fetch(self, number: int, topics: Iterable[str], max_records: int, timeout_s: float) -> list[Record]:
        """The next records of partition ``number`` of these topics, or an empty list after ``timeout_s``.

        Records of one topic come in offset order. Topics left out keep their position (back-pressure), and membership
        is kept alive however long the caller takes between two calls.
        """
        ...

    def seek(self, topic: str, number: int, offset: int) -> None:
        """The next fetch of that partition starts at ``offset``."""
        ...

    def caught_up(self, topic: str, number: int) -> bool:
        """Whether all that was stable during the number's last fetch has been fetched. False while unknown.

        It is known of every topic that has been sought, also of one that the fetch left out or had no room for.
        """
        ...

    def silence_s(self, number: int) -> float:
        """How long the broker has left the number's last fetch without any answer, be it "nothing new"."""
        ...

    def lag(self, topic: str, number: int) -> Lag | None:
        """How far behind its reader of that partition is, as the broker last told it; None while unknown."""
        ...

    async def confirm(self, number: int) -> None:
        """Return once the group has said, after this call, that this member still owns the number.

        Raises a retryable ``BusError`` if it says otherwise, or nothing: ``revoked`` follows, or it can be asked again.
        Who was away for long must ask before it fences anybody: its work may have a new owner.
        """
        ...

    async def failure(self) -> None:
        """Wait until the membership fails for good, and raise why: a listener's error, or the group's refusal."""
        ...

    async def close(self) -> None:
        """Leave the group. ``revoked`` is called for what is still owned. Never raises; safe to call twice."""
        ...


class Transport(Protocol):
    """A connection to the log. See the module's docstring for the semantics."""

    async def create_topics(self, specs: Iterable[TopicSpec]) -> None:
        """Create the topics that are missing. Raises ``TopicMismatchError`` for one that has other partitions."""
        ...

    async def bounds(self, topic: str, partition: int) -> Bounds:
        """The readable offsets of the partition."""
        ...

    async def offset_at(self, topic: str, partition: int, time_ms: int) -> int:
        """The first offset whose log time is at or after ``time_ms``; the end if there is none."""
        ...

    def read(self, topic: str, partition: int, start: int, stop: int | None) -> AsyncIterator[list[Record]]:
        """Batches from ``start`` up to ``stop`` (exclusive); with ``stop`` None, for ever as records become stable."""
        ...

    async def committed(self, group: str, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int | None]:
        """The group's committed positions; None where there is none."""
        ...

    async def producer(self, transactional_id: str) -> Producer:
        """Become the owner of the id: fence the earlier owner and settle its transaction."""
        ...

    async def join(
        self, group: str, topics: Sequence[str], listener: GroupListener, *, ends: bool = True
    ) -> GroupMember:
        """Join the group on co-partitioned topics. Their partition counts must be equal.

        ``ends`` False: ``caught_up`` will not be asked, and may stay unknown; that saves a question with each fetch.
        """
        ...

    async def subscribe(self, group: str, topics: Sequence[str], handler: Handler) -> None:
        """Hand every record of these topics to the handler, at least once, until cancelled."""
        ...

    async def close(self) -> None:
        """Close everything that was opened here."""
        ...
