"""What happens in the demo, step by step: a first model, five faults, a retrain, and the rest of the stream."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from millrace.bus.clock import Clock
from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import IncompatibleSchemaError, ProjectError
from millrace.contracts.events import AuditRecorded, Event, ModelVersionChanged, RetrainModel, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import subject, topic_name
from millrace.demo.dataset import DatasetFile
from millrace.demo_data.figures import first_learned
from millrace.demo_data.inject import Plan, clean
from millrace.demo_data.project import dropped, incompatible
from millrace.demo_data.read import Told
from millrace.demo_data.report import Refusal
from millrace.demo_data.send import Sender
from millrace.demo_data.training import newest_of

POLL_S = 0.05
STALLED_S = 90.0  # nothing new on any topic for this long: a service that is killed over and over is back by then
OPERATOR = "demo-data"
NOT_TRIED = Refusal(status=None, message="the incompatible schema was not tried")


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is sent, and how fast: rows a second, 0 is as fast as possible. ``stop`` of None is the whole file."""

    first_rows: int = 6_000
    fault_rows: int = 8_000
    stop: int | None = None
    fault_rate: float = 700.0
    rest_rate: float = 1_500.0

    def check(self, project: Project, file: DatasetFile) -> None:
        """Refuse sizes with which the demo could not come to its end. Raises ``ProjectError``."""
        needed, faults_until = project.training.first_rows, self.first_rows + self.fault_rows
        if self.first_rows < needed:
            raise ProjectError(
                f"{self.first_rows} rows before the faults give no first model; training.first_rows is {needed}"
            )
        last = min(self.stop or file.rows, file.rows)
        if last < faults_until:
            raise ProjectError(
                f"the faults end at row {faults_until}, but only {last} rows are sent ({file.path} has {file.rows}); "
                "use fewer first rows or fault rows"
            )


@dataclass(frozen=True, slots=True)
class Means:
    """What the story is told with."""

    project: Project
    file: DatasetFile
    transport: Transport
    registry: SchemaRegistry
    codec: Codec
    changed: Codec
    sender: Sender
    live: Told
    clock: Clock


class Story:
    """One telling.

    Args:
        means: connections, and what is read back meanwhile.
        pace: how much is sent, and how fast.
        is_in_force: whether ingest holds events to the expectations of this id.
        phase: told what comes next, in words.
    """

    def __init__(
        self, means: Means, pace: Pace, is_in_force: Callable[[str], bool], phase: Callable[[str], None]
    ) -> None:
        self._means, self._pace, self._is_in_force, self._phase = means, pace, is_in_force, phase
        self._stop = min(pace.stop or means.file.rows, means.file.rows)
        self.plan = Plan.of(pace.first_rows, pace.first_rows + pace.fault_rows)
        self.in_force = 0
        """Number of the first event that is sent after the learned expectations came into force."""
        self.refusal = NOT_TRIED
        self.request_id = ""

    async def tell(self) -> str | None:
        """Do it all. Returns what never happened, or None if all is well."""
        sender = self._means.sender
        try:
            for chapter in (self._first_model, self._faults, self._retrain, self._rest):
                missing = await chapter()
                if missing is not None:
                    return missing
        finally:
            await sender.close()
        return None

    # ---- chapters ----------------------------------------------------------------------------------------------

    async def _first_model(self) -> str | None:
        means, live = self._means, self._means.live
        self._phase(f"sending the first {self._pace.first_rows:,} rows, all of them good")
        await means.sender.send(map(clean, means.file.slice(0, self._pace.first_rows)), rate=0)
        self._phase("waiting for the first model, and for what it learned about its rows")
        if not await self._until(lambda: bool(live.control.first_offsets())):
            return "no version began to serve"
        if not await self._until(self._first_in_force):
            return "what the first version learned did not come into force"
        if not await self._until(self._all_done):
            return "not every event was decided and scored before the faults"
        return None

    async def _faults(self) -> str | None:
        means = self._means
        self.in_force = len(means.sender.sent)
        self._phase("a schema that breaks old readers is offered to the registry")
        await self._change_schema()
        self._phase("good rows with five faults among them")
        rows = means.file.slice(self.plan.start, self.plan.stop)
        await means.sender.send(self.plan.sendings(rows), self._pace.fault_rate)
        if not await self._until(self._all_done):
            return "not every event was decided and scored after the faults"
        return None

    async def _retrain(self) -> str | None:
        self._phase("an operator asks for a retrain on all of that")
        await self._ask()
        if not await self._until(self._is_answered):
            return "the retrain did not end"
        return None

    async def _rest(self) -> str | None:
        means = self._means
        self._phase("the rest of the stream, all of it good")
        await means.sender.send(map(clean, means.file.slice(self.plan.stop, self._stop)), self._pace.rest_rate)
        self._phase("waiting until everything is decided, scored and trained")
        if not await self._until(self._all_done):
            return "not every event was decided and scored"
        if not await self._until(lambda: all(run.status != "STARTED" for run in newest_of(means.live.control))):
            return "a training run did not end"
        return None

    # ---- steps -------------------------------------------------------------------------------------------------

    async def _change_schema(self) -> None:
        """Offer the schema that must be refused, then register the one that looks harmless."""
        means = self._means
        events = topic_name(topics.EVENTS, means.project)
        schema = means.project.event_schema
        try:
            await means.registry.register(subject(events), incompatible(schema))
        except IncompatibleSchemaError as error:
            self.refusal = Refusal(status=409, message=str(error))
        else:
            self.refusal = Refusal(status=None, message="the registry took a schema that no old record fits")
        await means.changed.prepare_topic(events, dropped(schema))

    async def _ask(self) -> None:
        """What ``millrace retrain`` writes: the request, and the audit record that says who asked and why."""
        means, now_ms = self._means, self._means.clock.now_ms()
        model = means.project.model
        self.request_id = f"retrain/{model}/operator/{OPERATOR}/{now_ms}"
        reason = "train on the rows among which there were faults"
        request = RetrainModel(
            request_id=self.request_id, model=model, reason="OPERATOR", caused_by=None, message=reason,
            since_time_ms=None, until=(), requested_by=OPERATOR, requested_at_ms=now_ms,
        )  # fmt: skip
        audit = AuditRecorded(
            audit_id=f"audit/{self.request_id}", actor=OPERATOR, action="retrain", subject=model, reason=reason,
            caused_by=self.request_id, recorded_at_ms=now_ms,
        )  # fmt: skip
        said: tuple[tuple[str, str, Event], ...] = (
            (topics.RETRAIN_REQUESTS.suffix, model, request),
            (topics.AUDIT_EVENTS.suffix, OPERATOR, audit),
        )
        await means.codec.prepare(means.project, topics.RETRAIN_REQUESTS, topics.AUDIT_EVENTS)
        producer = await means.transport.producer(f"millrace.operator.{OPERATOR}.{model}")
        try:
            await producer.commit(
                [OutRecord(topic, key.encode(), means.codec.encode(topic, one)) for topic, key, one in said]
            )
        finally:
            await producer.close()

    # ---- conditions --------------------------------------------------------------------------------------------

    def _first_in_force(self) -> bool:
        learned = first_learned(self._means.live.control)
        return learned is not None and self._is_in_force(learned.expectations_id)

    def _all_done(self) -> bool:
        sender = self._means.sender
        return self._means.live.is_complete(len(sender.sent), sender.labels)

    def _is_answered(self) -> bool:
        """Whether a run that began after the request, or the one that it caused, has ended and was decided about."""
        control = self._means.live.control
        asked_ms = [one.requested_at_ms for one in control.of(RetrainModel) if one.request_id == self.request_id]
        decided = {change.run_id for change in control.of(ModelVersionChanged)}
        begun_since = {
            run.run_id
            for run in control.of(TrainingRunChanged)
            if run.status == "STARTED" and run.progress is None and any(run.changed_at_ms > at_ms for at_ms in asked_ms)
        }
        return any(
            run.status == "FAILED" or (run.status == "SUCCEEDED" and run.run_id in decided)
            for run in newest_of(control)
            if run.caused_by == self.request_id or run.run_id in begun_since
        )

    async def _until(self, condition: Callable[[], bool]) -> bool:
        """Wait for the condition; False if nothing happens on the topics for too long."""
        clock, live = self._means.clock, self._means.live
        seen, since_s = live.seen, clock.monotonic_s()
        while not condition():
            await asyncio.sleep(POLL_S)
            if live.seen != seen:
                seen, since_s = live.seen, clock.monotonic_s()
            elif clock.monotonic_s() - since_s > STALLED_S:
                return False
        return True
