"""Decides about finished runs: takes them from the log, asks the core, writes the answer in one transaction.

Rules:

- The state is always exactly what the log says: nothing enters it before the log has confirmed it.
- The transactional id is obtained when there is something to decide, not at start. So a second process is a warm
  standby: it folds the log, gets no record while the first one lives, and fences nobody. Once it gets one it takes the
  id over, reads what the former owner still wrote, and only then decides. A former owner that wakes up is fenced by its
  own next commit, and ends.
- A commit without a clear answer is not repeated: the producer is given up, the id obtained anew, the log read again,
  and whatever is still undecided is decided again, with the same ids.
"""

import asyncio
from collections.abc import Mapping, Sequence

from millrace.bus.context import Context
from millrace.bus.failpoints import failpoint
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread
from millrace.bus.transport import Producer
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import (
    ArtifactError,
    ArtifactStoreUnavailableError,
    BusError,
    ContractError,
    FencedError,
    MillraceError,
)
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
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import RECORDS_IN, RECORDS_OUT, VERSIONS_DECIDED
from services.registry.core import ACTOR, State, decide, evolve, refusal
from services.registry.effects import decoded, patiently

log = get_logger(__name__)
FOLDED: Mapping[TopicRow, type[Event]] = {  # decisions before runs, so that few runs are ever pending
    topics.MODEL_VERSIONS: ModelVersionChanged,
    topics.DEPLOYMENTS: DeploymentDecided,
    topics.TRAINING_RUNS: TrainingRunChanged,
}
WRITTEN: Mapping[type[Event], TopicRow] = {
    ModelVersionChanged: topics.MODEL_VERSIONS,
    DeploymentDecided: topics.DEPLOYMENTS,
    AuditRecorded: topics.AUDIT_EVENTS,
    AlertRaised: topics.ALERTS,
}


class Decider:
    """One model's decisions. ``bus_fault`` and ``artifacts_fault`` say what keeps it from deciding."""

    def __init__(self, context: Context, artifacts: ArtifactStore, in_thread: InThread) -> None:
        self._context = context
        self._artifacts = artifacts
        self._in_thread = in_thread
        self._state = State(context.project.model)
        self._kinds = {topic_name(row, context.project): kind for row, kind in FOLDED.items()}
        self._read_to = dict.fromkeys(self._kinds, 0)
        self._producer: Producer | None = None
        self._alerts: dict[str, AlertRaised] = {}
        self.bus_fault: str | None = "the log has not been read yet"
        self.artifacts_fault: str | None = None

    @property
    def state(self) -> State:
        """What is known."""
        return self._state

    async def start(self) -> None:
        """Make the topics writable and fold the log; patient with a bus that is not there yet."""
        await patiently(lambda: self._context.codec.prepare(self._context.project, *WRITTEN.values()))
        failures = 0
        while self.bus_fault is not None:
            try:
                await self._catch_up()
                self.bus_fault = None
            except BusError as error:
                failures += 1
                await self._recover(error, failures)
        log.info(
            "registry ready", process=self._context.process, champion=self._state.champion, epoch=self._state.epoch
        )

    async def handle(self, record: Record) -> None:
        """Take one record of ``training-runs``; returns when nothing waits for a decision any more.

        Raises ``FencedError`` when a newer process has taken over.
        """
        RECORDS_IN.labels(ACTOR, record.topic).inc()
        if record.key != self._context.project.model.encode():
            return
        try:
            run = await decoded(self._context.codec, TrainingRunChanged, record)
        except ContractError as error:
            self._alert(
                "undecodable-run",
                f"{record.topic}/{record.offset}",
                f"a record about a run cannot be read, so nothing is decided about it: {error}; train again",
            )
        else:
            self._state = evolve(self._state, run)
        await self._settle()

    async def close(self) -> None:
        """Give the transactional id back."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def _settle(self) -> None:
        """Decide about every run that waits, oldest first, however often the bus or the store gives no answer."""
        failures = 0
        while self._state.pending or self._alerts:
            try:
                if self._producer is None:
                    await self._take_over()
                else:
                    await self._commit(await self._next_events(), self._producer)
                    failures = 0
                self.bus_fault = self.artifacts_fault = None
            except FencedError:
                log.exception("fenced: another registry decides about this model now")
                raise
            except MillraceError as error:
                failures += 1
                await self._recover(error, failures)

    async def _take_over(self) -> None:
        """Own the transactional id, then learn what the former owner did with it."""
        model = self._context.project.model
        self._producer = await self._context.transport.producer(f"millrace.{ACTOR}.{model}")
        await self._catch_up()

    async def _recover(self, error: MillraceError, failures: int) -> None:
        """After trouble with the bus only the log is believed; raises what trying again cannot mend."""
        if not error.retryable:
            raise error
        if isinstance(error, ArtifactStoreUnavailableError):
            self.artifacts_fault = str(error)
        else:
            self.bus_fault = str(error)
            await self.close()
        log.warning("registry must try again", error=str(error), kind=type(error).__name__, attempt=failures)
        await asyncio.sleep(backoff_s(failures))

    async def _catch_up(self) -> None:
        """Fold what the log holds beyond what is known."""
        for topic, kind in self._kinds.items():
            end = (await self._context.transport.bounds(topic, 0)).end
            if end <= self._read_to[topic]:
                continue
            async for batch in self._context.transport.read(topic, 0, self._read_to[topic], end):
                for record in batch:
                    await self._fold(kind, record)
            self._read_to[topic] = end

    async def _fold(self, kind: type[Event], record: Record) -> None:
        if record.key != self._context.project.model.encode():
            return
        try:
            event = await decoded(self._context.codec, kind, record)
        except ContractError:
            if kind is TrainingRunChanged:  # whoever handles it says so, once
                return
            log.exception("the registry's own log cannot be read", topic=record.topic, offset=record.offset)
            raise
        why = refusal(self._state, event)
        if why is not None:
            self._alert("event-ignored", f"{record.topic}/{record.offset}", f"{why}; it was ignored")
        self._state = evolve(self._state, event)

    async def _next_events(self) -> tuple[Event, ...]:
        if self._alerts:
            return tuple(self._alerts.values())
        run = next(iter(self._state.pending.values()))
        fault = await self._artifact_fault(run.artifact_sha256)
        return decide(self._state, run, self._context.project.gates, fault, self._context.clock.now_ms())

    async def _artifact_fault(self, digest: str | None) -> str | None:
        """What is wrong with the artefact. A store that does not answer is not an artefact that is missing."""
        if digest is None:
            return None
        try:
            await self._in_thread(self._artifacts.get, digest)
        except ArtifactStoreUnavailableError:
            raise
        except ArtifactError as error:
            return str(error)
        return None

    async def _commit(self, events: Sequence[Event], producer: Producer) -> None:
        """Write all events in one transaction, and only then believe them."""
        records = [self._record(event) for event in events]
        failpoint("registry.mid-decision")
        offsets = await producer.commit(records)
        for event, record, offset in zip(events, records, offsets, strict=True):
            self._state = evolve(self._state, event)
            if record.topic in self._read_to:
                self._read_to[record.topic] = offset + 1
            if isinstance(event, AlertRaised):
                self._alerts.pop(event.alert_id, None)
            RECORDS_OUT.labels(ACTOR, record.topic).inc()
            if isinstance(event, DeploymentDecided):
                self._context.lineage.deployment(event)
            _tell(event)

    def _record(self, event: Event) -> OutRecord:
        topic = topic_name(WRITTEN[type(event)], self._context.project)
        key = event.actor if isinstance(event, AuditRecorded) else self._context.project.model
        return OutRecord(topic, key.encode(), self._context.codec.encode(topic, event))

    def _alert(self, reason: str, place: str, message: str) -> None:
        log.error(reason, place=place, message=message)
        alert = AlertRaised(
            alert_id=f"alert/{reason}/{place}",
            service=ACTOR,
            severity="WARNING",
            reason=reason,
            subject=self._context.project.model,
            message=f"{place}: {message}",
            raised_at_ms=self._context.clock.now_ms(),
        )
        self._alerts[alert.alert_id] = alert


def _tell(event: Event) -> None:
    """Log and count a decision about a run; what follows from it is in the same transaction."""
    if isinstance(event, ModelVersionChanged) and event.status in {"REGISTERED", "REJECTED"}:
        VERSIONS_DECIDED.labels(event.model, event.status).inc()
        log.info("decided", run=event.run_id, status=event.status, version=event.version, reasons=event.reasons)
