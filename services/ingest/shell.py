"""Ingest's effects: decode, ask the core, write samples, dead letters, snapshots and alerts in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI

from millrace.bus.consume import Lanes, Step
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.types import RECORD_BYTES_MAX, OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, UndecodableError, UnknownSchemaError
from millrace.contracts.events import AlertRaised, DataSnapshotTaken, LabelObserved, OffsetRange, SampleRecorded
from millrace.contracts.schemas import Schema, newest
from millrace.contracts.topics import topic_name
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DEAD_LETTERS, RECORDS_IN, RECORDS_OUT
from services.ingest.admit import check_expectations, check_size, identify
from services.ingest.core import Admitted, EventArrived, Joined, LabelArrived, Outcome, Refused, SnapshotDue, State
from services.ingest.keys import KeyHash

log = get_logger(__name__)
WRITES = (topics.SAMPLES, topics.DATA_SNAPSHOTS, topics.ALERTS)
ERROR_CLASSES: Mapping[str, type[ContractError]] = {
    "undecodable": UndecodableError,
    "unknown-schema": UnknownSchemaError,
}
IDLE_WAIT_S = 0.1
BUSY_WAIT_S = 0.01  # something waits for the other topic, or a snapshot for its offset
SAMPLE_BYTES = 20_000  # of a sample besides the event and its features: ids of the longest kind, names, headers
QUEUE_RECORDS = 5000  # of one topic, while the other is behind; past that it is paused


class IngestLane:
    """One partition of a stream."""

    def __init__(self, context: Context, number: int, *, trace_share: float) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._trace_share = trace_share
        self._events = topic_name(topics.EVENTS, project)
        self._labels = topic_name(topics.LABELS, project)
        self._samples = topic_name(topics.SAMPLES, project)
        self._dead_letters = topic_name(topics.DEAD_LETTERS, project)
        self._event_schema = Schema.of(project.event_schema)
        self._largest_event = RECORD_BYTES_MAX - SAMPLE_BYTES - 8 * len(project.features)
        self._reset()

    def _reset(self) -> None:
        self._state = State(self._context.project)
        self._next = {self._events: 0, self._labels: 0}
        self._taken: list[SnapshotDue | None] = []  # for each output of the step in hand
        self._announce: list[tuple[SnapshotDue, int]] = []  # with the offset after its last record
        self._hashes = {
            topic: KeyHash(self._number, self._context.project.partitions) for topic in (self._events, self._labels)
        }
        self._warned = False
        self._begin = 0
        self._written: dict[str, int] = {}  # next source offset by topic, as the samples tell

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Rebuild the state from the samples that this partition wrote."""
        self._reset()
        transport = self._context.transport
        for topic, offset in committed.items():
            begin = (await transport.bounds(topic, self._number)).begin
            self._next[topic] = begin if offset is None else offset
        bounds = await transport.bounds(self._samples, self._number)
        self._begin = bounds.begin
        self._written = {}
        newest_snapshot: tuple[SnapshotDue, int] | None = None
        async for records in transport.read(self._samples, self._number, bounds.begin, bounds.end):
            for record in records:
                newest_snapshot = await self._replay(record) or newest_snapshot
        for topic, offset in committed.items():
            if offset is None:  # a new group, or one that the broker forgot: what was written is not read again
                self._next[topic] = max(self._next[topic], self._written.get(topic, 0))
        if newest_snapshot is not None:  # it may not have been announced; its id says so if it was
            self._announce.append(newest_snapshot)
        log.info("lane ready", partition=self._number, rows=self._state.rows, positions=self._next)
        return dict(self._next)

    async def _replay(self, record: Record) -> tuple[SnapshotDue, int] | None:
        sample = await self._context.codec.decode_record(record.value, newest(SampleRecorded.schema_name))
        source = sample["source_topic"]
        self._written[source] = max(self._written.get(source, 0), sample["source_offset"] + 1)
        if sample["kind"] == "LABEL":
            self._state.replay_label(sample["event_id"], sample["label"])
            due = self._state.snapshot_due()
            return (due, record.offset + 1) if due else None
        values = await self._context.codec.decode_record(sample["event"], self._event_schema)
        self._state.replay_event(sample["event_id"], sample["entity"], sample["time_ms"], values)
        return None

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """Take the records in and write everything that can be decided now."""
        now_s = self._context.clock.monotonic_s()
        events, labels = [], []
        for record in records:
            self._next[record.topic] = record.offset + 1
            self._hashes[record.topic].see(record.key)
            RECORDS_IN.labels("ingest", record.topic).inc()
            if record.topic == self._events:
                events.append(await self._event(record, now_s))
            else:
                labels.append(await self._label(record, now_s))
        self._state.offer_events(events)
        self._state.offer_labels(labels)
        outputs = [self._snapshot(due, offset) for due, offset in self._announce]
        self._announce, self._taken = [], [None] * len(outputs)
        outcomes = self._state.advance(
            now_s, events_caught_up=caught_up[self._events], labels_caught_up=caught_up[self._labels]
        )
        for outcome in outcomes:
            outputs.append(self._output(outcome))
            self._taken.append(outcome.snapshot if isinstance(outcome, Joined) else None)
        return self._step([*outputs, *self._key_hash_alert()])

    def written(self, offsets: Sequence[int]) -> None:
        """A snapshot can be announced once the offset of its last record is known."""
        for offset, due in zip(offsets, self._taken, strict=False):
            if due is not None:
                self._announce.append((due, offset + 1))

    async def _event(self, record: Record, now_s: float) -> EventArrived | Refused:
        project = self._context.project
        try:
            values = await self._context.codec.decode_record(record.value, self._event_schema)
            identity = identify(project, values)
            check_size(len(record.value or b""), self._largest_event)
            check_expectations(project, values)
        except ContractError as error:
            return Refused(record, error.reason, str(error))
        return EventArrived(record, now_s, identity.event_id, identity.entity, identity.time_ms, values)

    async def _label(self, record: Record, now_s: float) -> LabelArrived | Refused:
        try:
            label = await self._context.codec.decode(LabelObserved, record.value)
            number = self._context.project.label.to_number(label.label)
        except ContractError as error:
            return Refused(record, error.reason, str(error))
        except ValueError as error:
            return Refused(record, "bad-label", str(error))
        return LabelArrived(record, now_s, label.event_id, label.label_time_ms, number)

    def _step(self, outputs: Sequence[OutRecord]) -> Step:
        event, label = self._state.next_event, self._state.next_label
        events, labels = self._state.queued
        full = {self._events: events >= QUEUE_RECORDS, self._labels: labels >= QUEUE_RECORDS}
        return Step(
            outputs,
            positions={
                self._events: event.offset if event else self._next[self._events],
                self._labels: label.offset if label else self._next[self._labels],
            },
            paused=frozenset(topic for topic, is_full in full.items() if is_full),
            wait_s=BUSY_WAIT_S if events or labels or any(self._taken) else IDLE_WAIT_S,
        )

    def _output(self, outcome: Outcome) -> OutRecord:
        match outcome:
            case Refused():
                return self._dead_letter(outcome)
            case Admitted(arrival=event, features=features):
                return self._sample(
                    event.origin,
                    kind="EVENT",
                    event_id=event.event_id,
                    entity=event.entity,
                    time_ms=event.time_ms,
                    feature_set=self._context.project.feature_set,
                    features=features,
                    event=event.origin.value,
                    label=None,
                )
            case Joined(arrival=label, entity=entity):
                return self._sample(
                    label.origin,
                    kind="LABEL",
                    event_id=label.event_id,
                    entity=entity,
                    time_ms=label.time_ms,
                    feature_set="",
                    features=(),
                    event=None,
                    label=label.label,
                )

    def _sample(self, record: Record, **fields: Any) -> OutRecord:
        sample = SampleRecorded.model_construct(
            **fields,
            source_topic=record.topic,
            source_partition=record.partition,
            source_offset=record.offset,
            source_time_ms=record.timestamp_ms,
        )
        RECORDS_OUT.labels("ingest", self._samples).inc()
        value = self._context.codec.encode(self._samples, sample)
        return OutRecord(self._samples, sample.entity.encode(), value, self._number, self._trace(record))

    def _trace(self, record: Record) -> tuple[tuple[str, bytes], ...]:
        """The trace of an event goes on in its sample; a share of those without one starts one here."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        context = trace.child(record.header(trace.HEADER), place) or trace.start(place, self._trace_share)
        return ((trace.HEADER, context),) if context else ()

    def _dead_letter(self, refused: Refused) -> OutRecord:
        record: Record = refused.origin
        message = refused.message
        if refused.reason == "label-without-event" and self._mismatch():
            message = f"{message}; {self._mismatch()}"
        DEAD_LETTERS.labels(self._context.project.stream, refused.reason).inc()
        log.warning("dead letter", reason=refused.reason, topic=record.topic, at=[record.partition, record.offset])
        return dead_letter(
            self._dead_letters,
            record,
            stage="VALUE_CONVERTER" if refused.reason in ERROR_CLASSES else "TRANSFORMATION",
            reason=refused.reason,
            message=message,
            error_class=f"{ContractError.__module__}.{ERROR_CLASSES.get(refused.reason, ContractError).__name__}",
        )

    def _snapshot(self, due: SnapshotDue, until_offset: int) -> OutRecord:
        project = self._context.project
        snapshot = DataSnapshotTaken(
            snapshot_id=f"{project.stream}/{self._number}/{until_offset}",
            stream=project.stream,
            feature_set=project.feature_set,
            ranges=(
                OffsetRange(
                    topic=self._samples, partition=self._number, from_offset=self._begin, until_offset=until_offset
                ),
            ),
            table_version=None,
            rows=due.rows,
            labelled_rows=due.labelled_rows,
            from_time_ms=due.from_time_ms,
            until_time_ms=due.until_time_ms,
            profile=due.profile,
            taken_at_ms=self._context.clock.now_ms(),
        )
        topic = topics.DATA_SNAPSHOTS.suffix
        return OutRecord(topic, project.stream.encode(), self._context.codec.encode(topic, snapshot))

    def _mismatch(self) -> str | None:
        """In words, if events and labels are placed by different hashes."""
        events, labels = self._hashes[self._events].verdict, self._hashes[self._labels].verdict
        if events is None or labels is None or events == labels:
            return None
        return (
            f"keys of {self._labels} are placed by {labels}, those of {self._events} by {events}, so that labels do "
            "not meet their events: use one partitioner (for librdkafka clients: partitioner=murmur2_random)"
        )

    def _key_hash_alert(self) -> list[OutRecord]:
        message = self._mismatch()
        if message is None or self._warned:
            return []
        self._warned = True
        log.error("key hash mismatch", detail=message)
        alert = AlertRaised(
            alert_id=f"alert/key-hash-mismatch/{self._labels}/{self._number}",
            service="ingest",
            severity="CRITICAL",
            reason="key-hash-mismatch",
            subject=self._labels,
            message=message,
            raised_at_ms=self._context.clock.now_ms(),
        )
        topic = topics.ALERTS.suffix
        return [OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, alert))]


class IngestService:
    """Runs a lane for each partition that the group gives to this process."""

    def __init__(self, context: Context, *, max_records: int, trace_share: float) -> None:
        self._context = context
        project = context.project
        self._lanes = Lanes(
            context.transport,
            service="ingest",
            group=f"millrace-ingest-{project.stream}",
            topics=[topic_name(topics.EVENTS, project), topic_name(topics.LABELS, project)],
            make_lane=lambda number: IngestLane(context, number, trace_share=trace_share),
            max_records=max_records,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._context.codec.prepare(self._context.project, *WRITES)
        await self._lanes.run()

    def checks(self) -> Mapping[str, str | None]:
        """Ready once the consumer group has answered."""
        return {"bus": None if self._lanes.joined else "the consumer group has not answered yet"}

    def add_routes(self, app: FastAPI) -> None:
        """Ingest has no HTTP paths of its own."""
