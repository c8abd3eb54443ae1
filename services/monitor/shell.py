"""The monitor's effects: follow the observations, publish what was found, each frame's findings exactly once.

**Following.** The state of a partition is a function of its observations. Whoever gets the partition takes the newest
saved state (``saving.py``), reads the observations again whose predictions still wait for labels, and goes on from
there; where nothing is saved that fits, from the beginning of their retention (30 days). ``next_offset`` is the state's
place. A record below it is a repeat and is skipped; when one above it comes, what lies between is read from the log
first. Start, restart, rebalance and a lost group position are all this one case. The arithmetic, some milliseconds a
frame, is done on the event loop.

**Publishing.** All that one frame's findings say is one transaction, and it moves a position of its own: group
``millrace-monitor-<model>-published``, in which nobody is a member. So after any failure the log itself tells
whether a frame's findings are out: below that position nothing is published again, from there on everything is. If
the broker has forgotten the position, the newest finding in ``model-metrics``, ``drift-events`` and
``rollout-evidence`` tells instead.

**More processes.** Each owns the partitions that the group gives it, and ``millrace.monitor.<model>.<partition>`` as
their producer: whoever wakes up after having lost a partition is fenced and ends. Alarms are decided for the model as a
whole, so their transactions go through the one id ``millrace.monitor.<model>``, obtained anew for each: obtain it, read
the control topics to their end, decide, commit. If another process obtained it meanwhile the commit is refused, and the
decision is taken again with what the other has written. So no two processes ask for a retrain at once.
"""

import asyncio
from collections.abc import Mapping, Sequence

from fastapi import FastAPI

from millrace.bus.context import Context
from millrace.bus.retry import backoff_s
from millrace.bus.transport import Producer
from millrace.bus.types import Record, TopicPartition
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, FencedError, MillraceError
from millrace.contracts.events import ObservationsRecorded, RetrainModel
from millrace.contracts.topics import topic_name
from millrace.telemetry import counting
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import ERRORS, LANE_RECOVERIES
from services.monitor.control import Control, published_until
from services.monitor.core import ask_again, decide
from services.monitor.facts import Place, Unreadable
from services.monitor.partition import Partition, about
from services.monitor.policy import Policy
from services.monitor.publish import WRITES, Told, count, count_saved, count_written, out_records
from services.monitor.restart import Restart
from services.monitor.watch import Drift, Finding, Watch

log = get_logger(__name__)
HOLES = 1000  # offsets without a record, of transactions' marks and aborted ones, that are looked through
ASK_AGAIN_S = 1.0  # between two looks at whether the retrain that an alarm found open has ended


class MonitorService:
    """Watches one model.

    Args:
        context: project, transport, codec and clock.
        policy: what counts.
    """

    def __init__(self, context: Context, policy: Policy) -> None:
        model = context.project.model
        self._context = context
        self._policy = policy
        self._open_ms = round(context.project.monitors.open_s * 1000)
        self._topic = topic_name(topics.OBSERVATIONS, context.project)
        self._group = f"millrace-monitor-{model}"
        self._published_group = f"{self._group}-published"
        self._transactional_id = f"millrace.monitor.{model}"
        self._control = Control(context)
        self._restart = Restart(context, policy, self._control)
        self._told = Told(context)
        self._partitions: dict[int, Partition] = {}
        self._trouble: str | None = "not connected yet"

    async def run(self) -> None:
        """Work until cancelled."""
        await self._context.codec.prepare(self._context.project, *WRITES)
        await self._control.refresh()
        self._trouble = None
        await self._context.transport.subscribe(self._group, [self._topic], self._handle)

    def checks(self) -> Mapping[str, str | None]:
        """Ready while the bus answers. Being behind is no reason not to be ready."""
        return {"bus": self._trouble}

    def add_routes(self, app: FastAPI) -> None:
        """``/monitor``: how far each partition is, and what became of its labels."""

        @app.get("/monitor")
        async def monitor() -> dict[str, object]:
            """Place and counts of each partition."""
            return {str(partition.number): about(partition) for partition in self._partitions.values()}

    async def _handle(self, record: Record) -> None:
        """Take one record, again and again while the bus is in trouble; what is done stays done in between."""
        failures = 0
        while True:
            try:
                await self._take(record)
            except MillraceError as error:
                if not error.retryable:
                    raise
                failures += 1
                self._trouble = str(error)
                LANE_RECOVERIES.labels("monitor").inc()
                ERRORS.labels("monitor", type(error).__name__).inc()
                log.warning("monitor tries again", partition=record.partition, failures=failures, error=str(error))
                await self._disown(record.partition)
                await asyncio.sleep(backoff_s(failures))
            else:
                self._trouble = None
                return

    async def _take(self, record: Record) -> None:
        partition = await self._partition(record.partition)
        await self._publish(partition)
        await self._ask_again(partition)
        if record.offset < partition.next_offset:
            return
        observed = await self._decode(record)
        if not isinstance(observed, ObservationsRecorded) or observed.from_offset != partition.next_sample:
            await self._read_gap(partition, record.offset)
        if record.offset >= partition.next_offset:
            await self._frame(partition, record.offset, observed)

    async def _partition(self, number: int) -> Partition:
        if number not in self._partitions:
            self._partitions[number] = Partition(number, Watch(self._policy, self._control.profile))
        partition = self._partitions[number]
        if partition.producer is None:
            await self._own(partition)
        if not partition.is_restored:
            await self._restart.begin(partition)
            self._told.begin(partition)
            await self._publish(partition)
        return partition

    async def _own(self, partition: Partition) -> None:
        """Fence whoever published for this partition before; then what is published is settled and can be read."""
        await self._disown(partition.number)
        partition.producer = await self._context.transport.producer(f"{self._transactional_id}.{partition.number}")
        published = await self._read_published(partition.number)
        if published is None:
            partition.silent_until = await published_until(self._context, partition.number)
        partition.published = published or 0

    async def _disown(self, number: int) -> None:
        partition = self._partitions.get(number)
        if partition is not None and partition.producer is not None:
            producer, partition.producer = partition.producer, None
            await producer.close()

    async def _read_published(self, number: int) -> int | None:
        at = TopicPartition(self._topic, number)
        published = (await self._context.transport.committed(self._published_group, [at]))[at]
        end = (await self._context.transport.bounds(self._topic, number)).end
        return published if published is None or published <= end else None  # it is of a topic that was made anew

    async def _read_gap(self, partition: Partition, until: int) -> None:
        """Take what lies between the state and the record in hand; somebody else had the partition meanwhile."""
        if not await self._missed(partition, until):
            return
        await self._own(partition)
        if await self._restart.forward(partition):
            self._told.begin(partition)
        async for records in self._context.transport.read(self._topic, partition.number, partition.next_offset, until):
            for record in records:
                await self._frame(partition, record.offset, await self._decode(record))
                await asyncio.sleep(0)  # a long replay leaves room for heartbeats

    async def _missed(self, partition: Partition, until: int) -> bool:
        """Whether there is any record between; offsets have holes."""
        start = partition.next_offset
        if until - start > HOLES:
            return True
        return any(
            [records async for records in self._context.transport.read(self._topic, partition.number, start, until)]
        )

    async def _decode(self, record: Record) -> ObservationsRecorded | str:
        """The event, or why there is none."""
        counting.taken("monitor", record.topic, [record.value])
        try:
            return await self._context.codec.decode(ObservationsRecorded, record.value)
        except ContractError as error:
            return str(error)

    async def _frame(self, partition: Partition, offset: int, observed: ObservationsRecorded | str) -> None:
        """Bring the state past this record, then publish what it showed unless that was done before."""
        findings: Sequence[Finding | Unreadable]
        partition.saving = None
        try:
            if isinstance(observed, str):
                findings = [Unreadable(self._topic, offset, observed)]
            else:
                await self._restart.know(observed.champion_version)
                findings = partition.take(offset, observed)
        except ContractError as error:
            findings = [Unreadable(self._topic, offset, str(error))]
        partition.next_offset = offset + 1
        partition.next_sample = None if isinstance(observed, str) else observed.until_offset
        if offset >= partition.published:
            self._told.tell(partition, findings)
        silent = not isinstance(observed, str) and observed.from_offset < partition.silent_until
        if silent:
            partition.saving = None
        else:
            partition.pending = findings
            await self._publish(partition)

    async def _publish(self, partition: Partition) -> None:
        """Write the pending findings, unless the log says that they are out."""
        is_news = partition.is_rebased or partition.next_offset > partition.published
        if is_news and (partition.pending or partition.saving):
            if any(isinstance(found, Drift) and found.severity == "ALARM" for found in partition.pending):
                await self._publish_alarm(partition)
            else:
                assert partition.producer is not None, "a partition in hand has its producer"
                await self._commit(partition, partition.producer)
        partition.pending, partition.saving, partition.is_rebased = [], None, False

    async def _publish_alarm(self, partition: Partition) -> None:
        """Decide for the model as a whole, as its only process for a moment."""
        failures = 0
        while True:
            producer = await self._context.transport.producer(self._transactional_id)
            try:
                partition.published = await self._read_published(partition.number) or 0
                if partition.next_offset > partition.published:
                    await self._control.refresh()
                    await self._commit(partition, producer)
            except FencedError:
                failures += 1
                log.info("another process decides about the model; deciding again", failures=failures)
                await asyncio.sleep(backoff_s(failures))
            else:
                return
            finally:
                await producer.close()

    async def _ask_again(self, partition: Partition) -> None:
        """An alarm that found a retrain open asks when that one has ended without a new version."""
        alarm, now_s = partition.alarm, self._context.clock.monotonic_s()
        if alarm is None or now_s < partition.ask_at_s:
            return
        if partition.next_offset < partition.published:  # reading again: a newer alarm may have taken its place
            return
        partition.ask_at_s = now_s + ASK_AGAIN_S
        request, settled = await self._asks(partition, alarm)
        if settled:
            partition.alarm = None
        if request is None:
            return
        producer = await self._context.transport.producer(self._transactional_id)
        try:
            request, _ = await self._asks(partition, alarm)
            if request is not None:
                records = out_records(self._context, [request])
                await producer.commit(records)
                count_written(records)
                count(self._context, [request])
        except FencedError:
            log.info("another process decides about the model; looking again later")
        finally:
            await producer.close()

    async def _asks(self, partition: Partition, alarm: Drift) -> tuple[RetrainModel | None, bool]:
        state = await self._control.refresh()
        newest_ms, now_ms = partition.watch.newest_time_ms, self._context.clock.now_ms()
        return ask_again(state, self._place(partition), alarm, newest_ms, now_ms)

    def _place(self, partition: Partition) -> Place:
        project = self._context.project
        samples, budget = topic_name(topics.SAMPLES, project), project.monitors.decision.requests_per_day
        return Place(project.model, samples, partition.number, self._open_ms, budget)

    async def _commit(self, partition: Partition, producer: Producer) -> None:
        now_ms = self._context.clock.now_ms()
        events = decide(self._control.state, self._place(partition), partition.pending, now_ms)
        records = out_records(self._context, events)
        saving = [] if partition.saving is None else self._restart.records(partition, partition.saving, now_ms)
        at = TopicPartition(self._topic, partition.number)
        await producer.commit([*records, *saving], self._published_group, {at: partition.next_offset})
        partition.published = partition.next_offset
        count_written([*records, *saving])
        count(self._context, events)
        if saving:
            count_saved(self._context, partition.number, saving)
