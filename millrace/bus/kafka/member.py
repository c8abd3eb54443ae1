"""A member of a consumer group: it says which partition numbers are ours, and reads those."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError

from millrace.bus.kafka.reader import Reader
from millrace.bus.kafka.settings import KafkaSettings, bounded, stop
from millrace.bus.transport import GroupListener
from millrace.bus.types import Lag, Record, TopicPartition
from millrace.contracts.errors import BusError, TopicMismatchError
from millrace.telemetry.log import get_logger

log = get_logger(__name__)

NEVER_MS = 2**31 - 1
WATCH_S = 1.0  # how often the membership is asked whether it is still well

Ends = Callable[[Iterable[TopicPartition]], Awaitable[dict[TopicPartition, int]]]


class KafkaMember(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka publishes no types
    """A member of a consumer group. ``ends`` asks the broker where partitions end; ``asks``: with each fetch.

    What a reader was told with its last records is older than the fetch that asks, and stays so for as long as the
    broker keeps its next request waiting. So each fetch looks for itself, while it waits for records.
    """

    def __init__(
        self, settings: KafkaSettings, group: str, topics: tuple[str, ...], listener: GroupListener, ends: Ends,
        *, asks: bool,
    ) -> None:  # fmt: skip
        self.closed = False
        self._settings = settings
        self._group = group
        self._topics = topics
        self._listener = listener
        self._owned: frozenset[int] = frozenset()
        self._readers: dict[TopicPartition, Reader] = {}
        self._ends = ends
        self._asks = asks
        self._looks: dict[int, dict[TopicPartition, int]] = {}  # by number: the ends, as of its last fetch
        self._turns: Counter[int] = Counter()  # by number: lanes that took turns with each other would starve a topic
        self._silence_s: dict[int, float] = {}  # by number, as of its last fetch
        self._error: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answered = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._consumer = AIOKafkaConsumer(
            **settings.client(),
            group_id=group,
            session_timeout_ms=settings.session_timeout_ms,
            heartbeat_interval_ms=settings.session_timeout_ms // 6,
            rebalance_timeout_ms=settings.rebalance_timeout_ms,
            max_poll_interval_ms=NEVER_MS,  # it is never polled for records
            partition_assignment_strategy=(RangePartitionAssignor,),  # the same numbers of each topic
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # of no effect: its partitions are paused, and nobody takes its records
            fetch_max_bytes=1,
            max_partition_fetch_bytes=1,
        )

    async def start(self) -> None:
        """Join, and wait for the first assignment, which may be empty."""
        await self._consumer.start()
        self._consumer.subscribe(topics=self._topics, listener=self)
        self._spawn(self._watch())
        await self._answered.wait()

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch(self) -> None:
        """The group's refusals (authorisation, a broken coordinator) come out of a consumer only when it is polled."""
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                await self._consumer.getmany(timeout_ms=0)
            except KafkaError as error:
                if error.retriable:
                    log.warning("group membership is in trouble", group=self._group, error=repr(error))
                else:
                    self._fail(BusError(f"group {self._group}: {error!r}"))

    def _fail(self, error: BaseException) -> None:
        if not self._error.done():
            self._error.set_exception(error)
            self._error.exception()  # seen: the loop need not complain if nobody asks

    async def on_partitions_assigned(self, assigned: set[KafkaPartition]) -> None:
        """Called by aiokafka, which would swallow what this raises."""
        by_topic = {topic: {at.partition for at in assigned if at.topic == topic} for topic in self._topics}
        numbers = frozenset(by_topic[self._topics[0]])
        try:
            self._consumer.pause(*assigned)
            self._check_numbers(by_topic)
            if numbers and not self.closed:
                self._owned = numbers
                await self._listener.assigned(numbers)
        except Exception as error:  # noqa: BLE001 - kept, and raised by failure() and fetch()
            self._fail(error)
        self._answered.set()

    def _check_numbers(self, by_topic: dict[str, set[int]]) -> None:
        if len({frozenset(numbers) for numbers in by_topic.values()}) != 1:
            raise TopicMismatchError(f"group {self._group}: not the same numbers of each topic: {by_topic}")

    async def on_partitions_revoked(self, revoked: set[KafkaPartition]) -> None:  # noqa: ARG002 - all of them, always
        """Called by aiokafka, which would swallow what this raises."""
        await self._give_up()

    async def _give_up(self) -> None:
        numbers, self._owned = self._owned, frozenset()
        try:
            if numbers:
                await self._listener.revoked(numbers)
        except Exception as error:  # noqa: BLE001 - kept, and raised by failure() and fetch()
            self._fail(error)
        readers, self._readers = list(self._readers.values()), {}
        await asyncio.gather(*(reader.close() for reader in readers))

    async def confirm(self, number: int) -> None:
        """Return once the group has said, after this call, that this member still owns the number."""
        confirmed = False
        if number in self._owned:
            async with bounded(f"group {self._group}: heartbeat", self._settings.session_timeout_ms):
                confirmed = await self._consumer._coordinator._do_heartbeat()  # noqa: SLF001 - there is no public word
        if not confirmed or number not in self._owned:
            raise BusError(f"group {self._group}: it does not confirm that partition {number} is still ours")

    async def failure(self) -> None:
        """Wait until the membership fails, and raise why."""
        await asyncio.shield(self._error)

    async def fetch(self, number: int, topics: Iterable[str], max_records: int, timeout_s: float) -> list[Record]:
        """The next records of partition ``number`` of these topics, or an empty list after ``timeout_s``."""
        if self._error.done():
            self._error.result()
        self._looks[number] = {}
        readers = self._in_turn(number, topics)
        look = asyncio.create_task(self._look(number, max_records)) if self._asks else None
        try:
            records = await self._take(readers, max_records)
            if not records and timeout_s > 0:
                records = await self._first(readers, max_records, timeout_s)
            self._looks[number] = await look if look is not None else {}
        finally:
            if look is not None:
                look.cancel()
        self._silence_s[number] = 0.0 if records else max((reader.silence_s for reader in readers), default=0.0)
        return records

    async def _look(self, number: int, max_records: int) -> dict[TopicPartition, int]:
        """The ends of those topics that the fetch may reach the end of. Unknown ones are left out."""
        near = [at for at, reader in self._readers.items() if at.partition == number and reader.left <= max_records]
        if not near:
            return {}
        try:
            return await self._ends(near)
        except BusError:  # nothing is lost: it stays unknown, and the lane goes on
            return {}

    def _in_turn(self, number: int, topics: Iterable[str]) -> list[Reader]:
        """The readers of these topics, every other time in reverse, lest a long backlog of one hide the others."""
        self._turns[number] += 1
        readers = [self._readers[at] for topic in topics if (at := TopicPartition(topic, number)) in self._readers]
        return readers[::-1] if self._turns[number] % 2 else readers

    @staticmethod
    async def _take(readers: list[Reader], max_records: int) -> list[Record]:
        """What has already been sent."""
        records: list[Record] = []
        for reader in readers:
            if len(records) < max_records:
                records += await reader.take(max_records - len(records), 0)
        return records

    @staticmethod
    async def _first(readers: list[Reader], max_records: int, timeout_s: float) -> list[Record]:
        """What comes first, from whichever topic. Cancelling the others loses nothing: they had nothing to take."""
        tasks = [asyncio.create_task(reader.take(max_records, timeout_s)) for reader in readers]
        if not tasks:
            await asyncio.sleep(timeout_s)
            return []
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        found: list[Record] = []
        for each in ended:
            if isinstance(each, list):
                found += each
            elif not isinstance(each, asyncio.CancelledError):
                raise each
        return found

    def seek(self, topic: str, number: int, offset: int) -> None:
        """The next fetch of that partition starts at ``offset``."""
        at = TopicPartition(topic, number)
        if at in self._readers:
            self._spawn(self._readers[at].close())
        self._readers[at] = Reader(self._settings, at, offset)
        self._looks.get(number, {}).pop(at, None)

    def caught_up(self, topic: str, number: int) -> bool:
        """Whether all that was stable during the number's last fetch has been fetched. False while unknown."""
        at = TopicPartition(topic, number)
        reader, end = self._readers.get(at), self._looks.get(number, {}).get(at)
        return reader is not None and end is not None and reader.position >= end

    def silence_s(self, number: int) -> float:
        """How long the broker has left the number's last fetch without any answer, be it "nothing new"."""
        return self._silence_s.get(number, 0.0)

    def lag(self, topic: str, number: int) -> Lag | None:
        """How far behind its reader of that partition is, as the broker last told it; None while unknown."""
        reader = self._readers.get(TopicPartition(topic, number))
        return None if reader is None else reader.lag

    async def close(self) -> None:
        """Leave the group. Never raises."""
        if self.closed:
            return
        self.closed = True
        await self._give_up()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await stop(self._consumer, self._settings.close_timeout_ms)
