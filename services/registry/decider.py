"""Decides about one model: takes what the log says, asks the core, writes the answer in one transaction.

Rules:

- The state is always exactly what the log says: nothing enters it before the log has confirmed it.
- The transactional id is obtained when there is something to decide, not at start. So a second process is a warm
  standby: it folds the log, gets no record while the first one lives, and fences nobody. Once it gets one it takes the
  id over, reads what the former owner still wrote, and only then decides. A former owner that wakes up is fenced by its
  own next commit, and ends.
- A commit without a clear answer is not repeated: the producer is given up, the id obtained anew, the log read again,
  and whatever is still undecided is decided again, with the same ids.
- A record is done when nothing waits for a decision any more, so whoever takes over is given what is left undone. What
  takes long, to look at a run's files, is done beside: until it is over the log is followed all the same, and what
  people ask for is answered meanwhile.
- Time alone can make something due. Who has been given records looks each second. A standby does too, and takes over
  what nobody has decided for ``OVERDUE_S``: the owner may have died while no record came.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from millrace.bus.context import Context
from millrace.bus.failpoints import failpoint
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread
from millrace.bus.transport import Producer
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import BusError, FencedError, MillraceError
from millrace.contracts.events import (
    AlertRaised,
    AuditRecorded,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    TrainingRunChanged,
)
from millrace.contracts.topics import TopicRow, topic_name
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Signer, Verifier
from millrace.telemetry import counting, trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import ERRORS
from services.registry.core import ACTOR, Policy, State, decide, unchecked
from services.registry.effects import patiently
from services.registry.files import Files
from services.registry.keys import PRODUCTION, foreign, sealed
from services.registry.reading import Reading
from services.registry.telling import begin_counting, measure, tell
from services.registry.tracing import Tracing

log = get_logger(__name__)
WRITTEN: Mapping[type[Event], TopicRow] = {
    ModelVersionChanged: topics.MODEL_VERSIONS,
    DeploymentDecided: topics.DEPLOYMENTS,
    AuditRecorded: topics.AUDIT_EVENTS,
    AlertRaised: topics.ALERTS,
}
TICK_S = 1.0
LOOK_S = 0.25  # how often the log is looked at while a run's files are
OVERDUE_S = 10.0  # longer than a decision takes, and than the group needs to find another owner


class Decider:
    """One model's decisions. ``bus_fault`` and ``artifacts_fault`` say what keeps it from deciding."""

    def __init__(
        self,
        context: Context,
        artifacts: ArtifactStore,
        in_thread: InThread,
        signers: Mapping[str, Signer],
        known: Verifier | None = None,
    ) -> None:
        self._context = context
        self._signers = signers
        self._policy = replace(Policy.of(context.project), signs=PRODUCTION in signers)
        keys = known or Verifier(signer.trusted for signer in signers.values())
        self._reading = Reading(context, partial(foreign, known=keys) if signers else None)
        self._files = Files(artifacts, in_thread)
        self._producer: Producer | None = None
        self._turn = asyncio.Lock()
        self._owns = self._has_ended = False
        self._overdue_since_s: float | None = None
        self.bus_fault: str | None = "the log has not been read yet"

    @property
    def state(self) -> State:
        """What is known."""
        return self._reading.state

    @property
    def topics(self) -> Sequence[str]:
        """The topics whose records :meth:`handle` takes."""
        return self._reading.topics

    @property
    def artifacts_fault(self) -> str | None:
        """Why runs have to wait; None if they need not."""
        return self._files.fault

    async def start(self) -> None:
        """Make the topics writable and fold the log; patient with a bus that is not there yet."""
        await patiently(lambda: self._context.codec.prepare(self._context.project, *WRITTEN.values()))
        failures = 0
        while self.bus_fault is not None:
            try:
                await self._reading.catch_up()
                self.bus_fault = None
            except BusError as error:
                failures += 1
                await self._recover(error, failures)
        begin_counting(self._context.project.model)
        measure(self.state)
        log.info("registry ready", process=self._context.process, champion=self.state.champion, epoch=self.state.epoch)

    async def handle(self, record: Record) -> None:
        """Take one record of ``topics``; returns when nothing waits for a decision any more.

        Raises ``FencedError`` when a newer process has taken over.
        """
        counting.taken(ACTOR, record.topic, [record.value])
        if record.key != self._context.project.model.encode():
            return
        async with self._turn:
            if not self._owns:  # what the former owner was given since the start is not handed over again
                self._reading.is_behind = self._owns = True
                await self._settle()
            await self._reading.take(record)
            await self._settle()

    async def watch(self) -> None:
        """Look each second whether something is due by the time alone, until a record brought the end."""
        while not self._has_ended:
            await asyncio.sleep(TICK_S)
            if self._has_ended or self._turn.locked():  # a record is in hand: who has it looks at the time as well
                continue
            async with self._turn:
                if self._owns or await self._is_overdue():
                    self._owns = self._reading.is_behind = True  # others may have written where only it should
                    await self._settle()

    async def close(self) -> None:
        """Give the transactional id back."""
        self._files.close()
        await self._give_up()

    async def _is_overdue(self) -> bool:
        """Whether a decision has been due for so long that its owner must be gone."""
        with contextlib.suppress(BusError):  # the next look will tell
            await self._reading.catch_up()
        now_s = self._context.clock.monotonic_s()
        if not self._due():
            self._overdue_since_s = None
            return False
        if self._overdue_since_s is None:
            self._overdue_since_s = now_s
        if now_s - self._overdue_since_s < OVERDUE_S:
            return False
        log.warning("nobody has decided what is due: taking over", process=self._context.process)
        return True

    async def _settle(self) -> None:
        """Decide about everything that is due, however often the bus or the store gives no answer."""
        failures = 0
        while True:
            try:
                more = await self._step()
            except FencedError:
                self._has_ended = True
                log.exception("fenced: another registry decides about this model now")
                raise
            except MillraceError as error:
                failures += 1
                await self._recover(error, failures)
            else:
                self.bus_fault, failures = None, 0
                if not more:
                    return

    async def _step(self) -> bool:
        """One thing towards the next decision; whether there may be more to do."""
        if self._reading.is_behind:
            await self._reading.catch_up()
        if events := tuple(self._reading.alerts.values()) or self._due():
            if self._producer is None:
                await self._take_over()
            else:
                await self._commit(events, self._producer)
            return True
        run = unchecked(self.state, self._files.checked)
        if run is not None:
            await self._look_at(run)
        return run is not None

    def _due(self) -> tuple[Event, ...]:
        return decide(self.state, self._policy, self._context.clock.now_ms(), self._files.checked)

    async def _take_over(self) -> None:
        """Own the transactional id, then learn what the former owner did with it."""
        model = self._context.project.model
        self._producer = await self._context.transport.producer(f"millrace.{ACTOR}.{model}")
        await self._reading.catch_up()

    async def _give_up(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def _recover(self, error: MillraceError, failures: int) -> None:
        """After trouble with the bus only the log is believed; raises what trying again cannot mend."""
        if not error.retryable:
            self._has_ended = True
            raise error
        ERRORS.labels(ACTOR, type(error).__name__).inc()
        self.bus_fault, self._reading.is_behind = str(error), True
        await self._give_up()
        log.warning("registry must try again", error=str(error), kind=type(error).__name__, attempt=failures)
        await asyncio.sleep(backoff_s(failures))

    async def _look_at(self, run: TrainingRunChanged) -> None:
        """Look at a run's files; for a moment only, and at the log then, as somebody may have asked for something."""
        if not await self._files.look(run, LOOK_S):
            await self._reading.catch_up()

    async def _commit(self, events: Sequence[Event], producer: Producer) -> None:
        """Write all events in one transaction, and only then believe them."""
        events = [sealed(event, self._signers) for event in events]
        tracing = Tracing(self.state, events, self._reading.traces)
        records = [self._record(event, tracing.context(event)) for event in events]
        failpoint("registry.mid-decision")
        offsets = await producer.commit(records)
        for event, record, offset in zip(events, records, offsets, strict=True):
            self._reading.written(event, record.topic, offset)
            counting.written(ACTOR, record.topic, [record.value])
            if isinstance(event, DeploymentDecided):
                self._context.lineage.deployment(event)
            if (span := tracing.span(event)) is not None:
                self._context.traces.add(span)
            tell(event, tracing.context(event))
        measure(self.state)

    def _record(self, event: Event, context: bytes | None) -> OutRecord:
        topic = topic_name(WRITTEN[type(event)], self._context.project)
        key = event.actor if isinstance(event, AuditRecorded) else self._context.project.model
        headers = () if context is None else ((trace.HEADER, context),)
        return OutRecord(topic, key.encode(), self._context.codec.encode(topic, event), headers=headers)
