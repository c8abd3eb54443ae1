"""The log as far as the registry has read it: its fold, and what could not be read. See ``decider.py`` for who reads.

Rules:

- Each record is folded once, in the order of its topic, whoever brings it: a reading of the whole log, or the group.
- What the registry itself wrote must be readable: with a hole in what it decided it might decide again.
- Anything else that cannot be read is left out, and told to an operator by whoever is handed it.
- A deployment is the registry's own if its parts are signed with its keys. Any other is told to an operator, and is
  not in force; but serving knows its epoch, so the next decision has a greater one.
- Measurements are many and only those of the rollout under way count, so reading of them begins where that began.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from millrace.bus.context import Context
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    AlertRaised,
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    RolloutMeasured,
    ServingStatusReported,
    TrainingRunChanged,
)
from millrace.contracts.topics import TopicRow, topic_name
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from services.registry.core import ACTOR, State, evolve, refusal
from services.registry.effects import decoded
from services.registry.state import usurped

log = get_logger(__name__)
OWN: Mapping[TopicRow, type[Event]] = {  # what was decided, before what waits for a decision, so that little ever waits
    topics.MODEL_VERSIONS: ModelVersionChanged,
    topics.DEPLOYMENTS: DeploymentDecided,
    topics.AUDIT_EVENTS: AuditRecorded,
}
TAKEN: Mapping[TopicRow, type[Event]] = {
    topics.TRAINING_RUNS: TrainingRunChanged,
    topics.REGISTRY_REQUESTS: ManageModel,
    topics.SERVING_STATUS: ServingStatusReported,
    topics.ROLLOUT_EVIDENCE: RolloutMeasured,
}
UNREADABLE: Mapping[type[Event], tuple[str, str]] = {
    TrainingRunChanged: ("undecodable-run", "about a run cannot be read, so nothing is decided about it; train again"),
    ManageModel: ("undecodable-request", "that asks for something cannot be read, so it gets no answer; ask again"),
    ServingStatusReported: ("undecodable-status", "about what serves cannot be read, so it is left out"),
    RolloutMeasured: ("undecodable-evidence", "about a rollout cannot be read; the next measurement makes up for it"),
    AuditRecorded: ("undecodable-audit", "of who decided what cannot be read; an approval or a freeze may be lost"),
}
MARGIN_MS = 60_000  # brokers' clocks may differ


class Foreign(Protocol):
    """Tells a deployment that is not the registry's; see ``keys.foreign``."""

    def __call__(self, event: DeploymentDecided, *, after_signed: bool) -> str | None:
        """What is wrong with it; None if nothing."""
        ...


class Reading:
    """One model's part of the log. ``alerts`` are what an operator has to be told about it, by id.

    ``traces`` are the contexts of runs, by id.
    """

    def __init__(self, context: Context, foreign: Foreign | None) -> None:
        self._foreign = foreign
        self._is_signed = False
        self._own: set[tuple[str, int]] = set()  # places of what this process wrote: folded when that was confirmed
        self.state = State(context.project.model)
        self.alerts: dict[str, AlertRaised] = {}
        self.traces: dict[str, bytes] = {}  # by run, the context of those that came with one
        self.is_behind = True
        self._context = context
        self._kinds = {topic_name(row, context.project): kind for row, kind in {**OWN, **TAKEN}.items()}
        self._evidence = topic_name(topics.ROLLOUT_EVIDENCE, context.project)
        self._read_to = dict.fromkeys(self._kinds, 0)
        self._begins: tuple[str | None, int] = (None, 0)  # the newest rollout, and the log time of its beginning
        self._is_placed = False  # whether reading of measurements has found where to begin

    @property
    def topics(self) -> Sequence[str]:
        """The topics whose records the group hands over."""
        return [topic_name(row, self._context.project) for row in TAKEN]

    async def catch_up(self) -> None:
        """Fold what the log holds beyond what is known."""
        for topic, kind in self._kinds.items():
            end = (await self._context.transport.bounds(topic, 0)).end
            if topic == self._evidence and not self._is_placed:
                self._read_to[topic] = await self._measurements_begin(end)
                self._is_placed = True
            if end <= self._read_to[topic]:
                continue
            async for batch in self._context.transport.read(topic, 0, self._read_to[topic], end):
                for record in batch:
                    await self._fold(kind, record)
            self._read_to[topic] = end
        self.is_behind = False

    async def _measurements_begin(self, end: int) -> int:
        """Where those of the rollout under way begin; the end if none is."""
        rollout_id, since_ms = self._begins
        if self.state.rollout_id is None or rollout_id != self.state.rollout_id:
            return end
        return await self._context.transport.offset_at(self._evidence, 0, since_ms - MARGIN_MS)

    async def _fold(self, kind: type[Event], record: Record) -> None:
        if record.offset < self._read_to[record.topic]:  # a reading that was broken off has folded it
            return
        if (record.topic, record.offset) in self._own:
            self._own.discard((record.topic, record.offset))
            return
        if kind is not AuditRecorded and record.key != self._context.project.model.encode():
            return
        try:
            event = await decoded(self._context.codec, kind, record)
        except ContractError as error:
            self._left_out(kind, record, error)
            return
        if isinstance(event, DeploymentDecided) and (fault := self._forged(event)) is not None:
            self._alert("deployment-forged", f"{record.topic}/{record.offset}", f"{event.deployment_id}: {fault}")
            self.state = usurped(self.state, event)
            self._read_to[record.topic] = record.offset + 1
            return
        why = refusal(self.state, event)
        if why is not None:
            self._alert("event-ignored", f"{record.topic}/{record.offset}", f"{why}; it was ignored")
        self.state = evolve(self.state, event)
        self._read_to[record.topic] = record.offset + 1
        context = record.header(trace.HEADER)
        if isinstance(event, TrainingRunChanged) and trace.sampled_id(context) is not None:
            self.traces[event.run_id] = cast(bytes, context)
        if isinstance(event, DeploymentDecided) and event.rollout_id not in {None, self._begins[0]}:
            self._begins = event.rollout_id, record.timestamp_ms

    def _forged(self, event: DeploymentDecided) -> str | None:
        """Why the deployment is not one of this registry's; None if it is, or if nobody could tell."""
        if self._foreign is None:
            return None
        fault = self._foreign(event, after_signed=self._is_signed)
        self._is_signed |= fault is None and any(part.signature is not None for part in event.traffic)
        return fault

    def _left_out(self, kind: type[Event], record: Record, error: ContractError) -> None:
        """A record that cannot be read, while the log is folded. Of what it is handed, ``handle`` says so, once."""
        if kind is AuditRecorded:  # the operators' too, and of all models; not one of theirs may stop this one
            self._unreadable(kind, record, error)
        elif kind not in TAKEN.values():
            log.error("the registry's own log cannot be read", topic=record.topic, offset=record.offset)
            raise error

    async def take(self, record: Record) -> None:
        """Fold one record that the group handed over."""
        kind = self._kinds[record.topic]
        try:
            event = await decoded(self._context.codec, kind, record)
        except ContractError as error:
            self._unreadable(kind, record, error)
        else:
            await self._fold(kind, record)
            if isinstance(event, ServingStatusReported) and event.epoch >= self.state.epoch:
                traffic = self.state.deployment.traffic if self.state.deployment else ()
                known = event.version in {part.version for part in traffic}
                self.is_behind |= event.epoch > self.state.epoch or not known  # serving saw what this one has not

    def _unreadable(self, kind: type[Event], record: Record, error: ContractError) -> None:
        reason, words = UNREADABLE[kind]
        self._alert(reason, f"{record.topic}/{record.offset}", f"a record {words}: {error}")

    def written(self, event: Event, topic: str, offset: int) -> None:
        """An event that the log has confirmed at this offset."""
        self.state = evolve(self.state, event)
        if topic in self._read_to:  # somebody else may have written before it, so it is still to be read past
            self._own.add((topic, offset))
        if isinstance(event, DeploymentDecided):
            self._is_signed |= any(part.signature is not None for part in event.traffic)
        if isinstance(event, AlertRaised):
            self.alerts.pop(event.alert_id, None)

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
        self.alerts[alert.alert_id] = alert
