"""The exactly-once loop: one *lane* for each partition number, each with a transactional id of its own.

A lane turns records of partition ``p`` of its input topics into records elsewhere. The loop around it does the rest:

1. become the owner of ``<group>.<p>``; whoever had it is fenced and its transaction settled,
2. read the committed positions and let the lane rebuild its state to match them,
3. fetch, process, commit outputs and positions in one transaction, again and again.

Whatever goes wrong in 3 leads back to 1, once the group has confirmed that the number is still ours: state in memory is
thrown away, the log says what happened. Only being fenced does not: then another process does this work, and this one
says so and ends.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from millrace.bus.retry import backoff_s
from millrace.bus.transport import GroupMember, Producer, Transport
from millrace.bus.types import OutRecord, Record, TopicPartition
from millrace.contracts.errors import FencedError, MillraceError
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import COMMIT_SECONDS, ERRORS, LAG_RECORDS, LANE_RECOVERIES, STABLE_LAG_RECORDS

log = get_logger(__name__)
FEW = 4  # a fetch of less than this part of what it may bring makes a small transaction
GATHER_S_MAX = 0.01
SILENCE_S = 2.0  # without an answer from the broker, idle or not; then this process is not ready (it polls each 0.5 s)


@dataclass(frozen=True, slots=True)
class Step:
    """What a lane wants after looking at some records.

    ``positions`` are the next offsets by input topic, at or before what was handed over: a lane may hold records back.
    ``paused`` topics are not fetched until a later step leaves them out. ``wait_s`` bounds the time to the next call.
    ``seek`` moves reading elsewhere once the step is committed.
    """

    outputs: Sequence[OutRecord] = ()
    positions: Mapping[str, int] = field(default_factory=dict)
    paused: frozenset[str] = frozenset()
    wait_s: float = 0.1
    seek: Mapping[str, int] = field(default_factory=dict)


class Lane(Protocol):
    """The work of one partition number. Never called concurrently with itself."""

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Forget everything, rebuild the state as of these positions, and say where each topic is to be read from."""
        ...

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """Look at the records (perhaps none) and say what to write. The state may already be as if it were written."""
        ...

    def written(self, offsets: Sequence[int]) -> None:
        """The outputs of the last step are committed at these offsets."""
        ...

    async def close(self) -> None:
        """The number is no longer ours, or all ends: stop whatever was begun beside. Never raises."""
        ...


class Lanes:
    """Runs one lane for each partition number that the group assigns to this process.

    ``make_lane`` builds the lane of a number; ``max_records`` bounds one fetch. ``group`` names the transactional ids
    too: whatever shares the work shares the ids, and nobody else. ``ends`` False: the lanes do not look at
    ``caught_up``. Use :meth:`run` and :meth:`trouble`; the other public methods are the group's callbacks.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        service: str,
        group: str,
        topics: Sequence[str],
        make_lane: Callable[[int], Lane],
        max_records: int,
        ends: bool = True,
    ) -> None:
        self._transport = transport
        self._service = service
        LANE_RECOVERIES.labels(service)  # from the start, so that the first one is an increase
        self._group = group
        self._topics = tuple(topics)
        self._make_lane = make_lane
        self._max_records = max_records
        self._ends = ends
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waits_since_s: dict[int, float] = {}  # by number: since when the broker has been asked for something
        self._silence_s: dict[int, float] = {}
        self._gather_s: dict[int, float] = {}
        self._recovers: dict[int, str] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closing: set[int] = set()
        self._member: asyncio.Future[GroupMember] | None = None
        self._failed: asyncio.Future[None] | None = None

    @property
    def joined(self) -> bool:
        """Whether the group has answered. A member owns nothing when there are more members than partitions."""
        return self._member is not None and self._member.done()

    def trouble(self) -> str | None:
        """Why this process may not get its work done at the moment; None if nothing is known against it."""
        if not self.joined or self._loop is None:
            return "the consumer group has not answered yet"
        now_s = self._loop.time()
        for number in sorted(self._tasks):
            if number in self._recovers:
                return f"partition {number} recovers: {self._recovers[number]}"
            waited_s = max(self._silence_s.get(number, 0.0), now_s - self._waits_since_s.get(number, now_s))
            if waited_s > SILENCE_S:
                return f"partition {number} has had no answer from the broker for {waited_s:.0f} s"
        return None

    async def run(self) -> None:
        """Work until cancelled, or until a lane fails for good; then its error is raised."""
        self._loop = loop = asyncio.get_running_loop()
        self._failed, self._member = loop.create_future(), loop.create_future()
        member = await self._transport.join(self._group, self._topics, self, ends=self._ends)
        self._member.set_result(member)
        watch = asyncio.ensure_future(member.failure())
        try:
            await asyncio.wait([self._failed, watch], return_when=asyncio.FIRST_COMPLETED)
            await (self._failed if self._failed.done() else watch)
        finally:
            watch.cancel()
            await member.close()
            await _cancel(list(self._tasks.values()))  # none is left, unless the membership could not be closed

    async def assigned(self, numbers: frozenset[int]) -> None:
        """Start a lane for each number."""
        for number in sorted(numbers):
            self._closing.discard(number)
            task = asyncio.create_task(self._run_lane(number), name=f"{self._group}-{number}")
            task.add_done_callback(self._lane_ended)
            self._tasks[number] = task
        log.info("lanes assigned", group=self._group, numbers=sorted(numbers))

    async def revoked(self, numbers: frozenset[int]) -> None:
        """Let each lane finish its transaction, then end it."""
        self._closing |= numbers
        tasks = [self._tasks.pop(number) for number in sorted(numbers) if number in self._tasks]
        if not self.joined:
            await _cancel(tasks)  # they wait for a membership that may never come: joining was given up
        await asyncio.gather(*tasks, return_exceptions=True)  # an error has already reached run() through _lane_ended
        log.info("lanes revoked", group=self._group, numbers=sorted(numbers))

    def _lane_ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failed is not None and not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # seen: run() raises it unless it was cancelled meanwhile

    async def _run_lane(self, number: int) -> None:
        """A lane from the time when the number is ours until it is not."""
        assert self._member is not None, "a lane starts only after run()"
        member = await asyncio.shield(self._member)
        lane = self._make_lane(number)
        try:
            await self._own(lane, number, member)
        finally:
            await lane.close()

    async def _own(self, lane: Lane, number: int, member: GroupMember) -> None:
        """Recover, work, and after trouble recover again, until the number is revoked."""
        failures = 0
        while number not in self._closing:
            try:
                self._recovers.setdefault(number, "its state is being rebuilt from the log")
                self._waits_since_s.pop(number, None)
                if failures:  # it may have been away for long, and another process be at work by now
                    await member.confirm(number)
                async with self._owned(number) as producer:
                    positions = await self._recover(lane, number, member)
                    step = Step()
                    while number not in self._closing:
                        step = await self._step(lane, number, member, producer, step, positions)
                        failures = 0
                        self._recovers.pop(number, None)
            except FencedError:
                log.exception("fenced: another process owns this partition", group=self._group, partition=number)
                raise
            except MillraceError as error:
                if not error.retryable:
                    raise
                failures += 1
                self._recovers[number] = str(error)
                LANE_RECOVERIES.labels(self._service).inc()
                ERRORS.labels(self._service, type(error).__name__).inc()
                log.warning("lane recovers", group=self._group, partition=number, failures=failures, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    @asynccontextmanager
    async def _owned(self, number: int) -> AsyncIterator[Producer]:
        producer = await self._transport.producer(f"{self._group}.{number}")
        try:
            yield producer
        finally:
            await producer.close()

    async def _recover(self, lane: Lane, number: int, member: GroupMember) -> dict[str, int]:
        """Settled offsets -> the lane's state -> where reading goes on. Returns the committed positions by topic."""
        partitions = [TopicPartition(topic, number) for topic in self._topics]
        committed = await self._transport.committed(self._group, partitions)
        starts = await lane.recover({at.topic: offset for at, offset in committed.items()})
        for topic, offset in starts.items():
            member.seek(topic, number, offset)
        return {at.topic: offset for at, offset in committed.items() if offset is not None}

    async def _step(
        self, lane: Lane, number: int, member: GroupMember, producer: Producer, last: Step, positions: dict[str, int]
    ) -> Step:
        """Fetch, process, commit. ``positions`` (by topic, as committed) is brought up to date."""
        wanted = [topic for topic in self._topics if topic not in last.paused]
        await self._gather(number)
        records = await member.fetch(number, wanted, self._max_records, last.wait_s)
        self._measure(member, number)
        step = await lane.process(records, {topic: member.caught_up(topic, number) for topic in self._topics})
        moved = {topic: offset for topic, offset in step.positions.items() if positions.get(topic) != offset}
        if step.outputs or moved:
            self._waits_since_s[number] = began_s = asyncio.get_running_loop().time()
            offsets = await producer.commit(
                step.outputs, self._group, {TopicPartition(topic, number): offset for topic, offset in moved.items()}
            )
            self._waits_since_s.pop(number)
            COMMIT_SECONDS.labels(self._service).observe(took_s := asyncio.get_running_loop().time() - began_s)
            if len(records) < self._max_records // FEW:
                self._gather_s[number] = min(GATHER_S_MAX, took_s / 2)
            positions.update(moved)
            lane.written(offsets)
        for topic, offset in step.seek.items():
            member.seek(topic, number, offset)
        return step

    async def _gather(self, number: int) -> None:
        """After a small transaction let records gather for half as long as it took.

        A transaction costs the broker and this process the same for one record as for a thousand. Where processors are
        scarce more of them make each slower; where they are not it takes little time, and so does this.
        """
        if (pause_s := self._gather_s.pop(number, 0.0)) > 0:
            await asyncio.sleep(pause_s)

    def _measure(self, member: GroupMember, number: int) -> None:
        self._silence_s[number] = member.silence_s(number)
        for topic in self._topics:
            lag = member.lag(topic, number)
            if lag is not None:
                LAG_RECORDS.labels(self._service, topic, number).set(lag.records)
                STABLE_LAG_RECORDS.labels(self._service, topic, number).set(lag.hidden)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
