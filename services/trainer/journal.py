"""The trainer's side of the log: folds the control topics into the state, and adds to ``training-runs``.

Rules:

- The state is what was read, from the beginning of each topic; what rang the bell is read here like all the rest.
- The transactional id is taken only when there is something to write. Taking it fences an earlier owner; then the log
  is read to its end, and the event is written only if it is still news. So two trainers of one model never say the
  same twice: a second one that only waits stays silent, and one that did the same fit in parallel finds the end in the
  log and drops its own.
- After an unclear commit the id is taken again, and the log tells whether the event is there.
- How far a run is, is told in passing: once, without a second try, and whatever goes wrong with it is only logged.
- A record that is no event has no effect, and an alert says so, once: these topics are kept for ever and others may
  write to them, so one record must not stop the trainer each time that it starts.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from millrace.bus.retry import backoff_s
from millrace.bus.transport import Producer, Transport
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError, MillraceError
from millrace.contracts.events import (
    AlertRaised,
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    ExpectationsLearned,
    ModelVersionChanged,
    RetrainModel,
    TrainingProfileRecorded,
    TrainingRunChanged,
)
from millrace.telemetry import loop_spans, trace
from millrace.telemetry.log import get_logger
from services.trainer import core, endings

log = get_logger(__name__)
RUNS = topics.TRAINING_RUNS.suffix
ALERTS = topics.ALERTS.suffix
Learned = ExpectationsLearned | TrainingProfileRecorded
LEARNED: Mapping[type[Event], str] = {
    ExpectationsLearned: topics.EXPECTATIONS.suffix,
    TrainingProfileRecorded: topics.TRAINING_PROFILES.suffix,
}
FOLDED: Mapping[str, type[Event]] = {
    topics.DEPLOYMENTS.suffix: DeploymentDecided,  # first: with a deployment, old snapshots need not be remembered
    topics.MODEL_VERSIONS.suffix: ModelVersionChanged,
    RUNS: TrainingRunChanged,
    topics.RETRAIN_REQUESTS.suffix: RetrainModel,
    topics.DATA_SNAPSHOTS.suffix: DataSnapshotTaken,
    topics.DATA_QUALITY.suffix: DataQualityJudged,  # last: a veto is on the log before what it must keep from training
}


class Journal:
    """State of one model, and the only writer of its runs. Used by one task at a time."""

    def __init__(self, model: str, stream: str, transport: Transport, codec: Codec) -> None:
        self.state = core.State(model, stream)
        self._transport = transport
        self._codec = codec
        self._producer: Producer | None = None
        self._positions: dict[str, int] = {}
        self._own: set[int] = set()  # offsets of our own events, folded when they were written
        self._unreadable: dict[tuple[str, int], str] = {}  # why, by topic and offset, until an alert has told it
        self._told: set[str] = set()  # ids of alerts that are in the log for certain

    async def refresh(self) -> None:
        """Fold what has been added since the last time."""
        for topic, kind in FOLDED.items():
            bounds = await self._transport.bounds(topic, 0)
            start = self._positions.get(topic, bounds.begin)
            if start >= bounds.end:
                continue
            async for records in self._transport.read(topic, 0, start, bounds.end):
                for record in records:
                    if topic != RUNS or record.offset not in self._own:
                        await self._fold(kind, record)
                    self._positions[topic] = record.offset + 1
            self._positions[topic] = bounds.end
        self._own = {offset for offset in self._own if offset >= self._positions.get(RUNS, 0)}

    async def _fold(self, kind: type[Event], record: Record) -> None:
        try:
            event = await self._codec.decode(kind, record.value)
        except ContractError as error:
            log.error("control record left out", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
            self._unreadable[record.topic, record.offset] = str(error)
        else:
            self.state = core.evolve(self.state, event)

    async def tell_unreadable(self, now_ms: int) -> None:
        """Write an alert for each record that was left out, unless the log has it. Again after an error is harmless.

        Raises:
            BusError: it is not known whether they are written.
        """
        known = dict(self._unreadable)
        await self.tell(
            *[endings.unreadable_record(self.state.model, *place, error, now_ms) for place, error in known.items()]
        )
        for place in known:  # taking the id reads the log, so there may be more of them now
            del self._unreadable[place]

    async def tell(self, *alerts: AlertRaised) -> None:
        """Write those of the alerts that are not in the log. Raises ``BusError`` if that is not known."""
        untold = [alert for alert in alerts if alert.alert_id not in self._told]
        if not untold:
            return
        self._told |= await self._alerted()
        key = self.state.model.encode()
        new = [alert for alert in untold if alert.alert_id not in self._told]
        records = [OutRecord(ALERTS, key, self._codec.encode(ALERTS, alert), 0) for alert in new]
        try:
            if records:
                await (await self._owned()).commit(records)
        except MillraceError:
            await self.close()
            raise
        self._told |= {alert.alert_id for alert in new}

    async def _alerted(self) -> frozenset[str]:
        """The ids of all alerts in the log. It is read only when something is wrong."""
        found = set()
        bounds = await self._transport.bounds(ALERTS, 0)
        async for records in self._transport.read(ALERTS, 0, bounds.begin, bounds.end):
            for record in records:
                with contextlib.suppress(ContractError):  # whatever it is, it is none of ours
                    found.add((await self._codec.decode(AlertRaised, record.value)).alert_id)
        return frozenset(found)

    async def publish(self, change: TrainingRunChanged, learned: Sequence[Learned] = ()) -> bool:
        """Write the event, a failure together with its alert, a success with what was learned of its rows.

        False if the log makes it superfluous; then nothing is written.

        Raises:
            FencedError: another trainer of this model has taken over.
        """
        attempt = 0
        while True:
            try:
                producer = await self._owned()
                if not core.is_news(self.state, change):
                    return False
                offsets = await producer.commit(self._records(change, learned))
            except MillraceError as error:
                await self.close()
                if not error.retryable:
                    if await self._said_by_another(change):
                        return False
                    raise
                attempt += 1
                log.warning("writing is tried again", run_id=change.run_id, attempt=attempt, error=str(error))
                await asyncio.sleep(backoff_s(attempt))
            else:
                self._own.add(offsets[0])
                self.state = core.evolve(self.state, change)
                return True

    async def _said_by_another(self, change: TrainingRunChanged) -> bool:
        """Whether whoever has fenced this writer has written what makes the event superfluous."""
        await self.refresh()
        return not core.is_news(self.state, change)

    async def mention(self, change: TrainingRunChanged) -> bool:
        """Write how far a run is, if it is still open. False if another trainer has taken over: then say no more."""
        try:
            producer = await self._owned()
            if core.is_news(self.state, change):
                offsets = await producer.commit([self._records(change, ())[0]])
                self._own.add(offsets[0])
        except MillraceError as error:
            await self.close()
            log.warning("progress was not written", run_id=change.run_id, error=str(error))
            return error.retryable
        return True

    async def close(self) -> None:
        """Give the transactional id back."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.close()

    async def _owned(self) -> Producer:
        if self._producer is None:
            self._producer = await self._transport.producer(f"millrace.trainer.{self.state.model}")
            await self.refresh()
        return self._producer

    def _records(self, change: TrainingRunChanged, learned: Sequence[Learned]) -> list[OutRecord]:
        events: list[tuple[str, Event]] = [(RUNS, change), *((LEARNED[type(event)], event) for event in learned)]
        if change.status == "FAILED":
            events.append((ALERTS, endings.alert(change)))
        key = self.state.model.encode()
        records = [OutRecord(topic, key, self._codec.encode(topic, event), 0) for topic, event in events]
        context = loop_spans.run_context(change, self.state.requests.get(change.caused_by))
        return [records[0]._replace(headers=((trace.HEADER, context),)), *records[1:]]
