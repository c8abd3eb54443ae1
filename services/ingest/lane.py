"""One partition of a stream: read, decide, and write what came of it in one transaction.

Reading, deciding and writing are done for a whole batch by the column, in a thread, so that the event loop goes on
with heartbeats and fetches meanwhile. What the columns cannot judge is judged record by record.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from millrace.bus.consume import Step
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.tasks import InThread, Offload
from millrace.bus.types import RECORD_BYTES_MAX, Headers, OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.columnar import Columnar
from millrace.contracts.errors import ContractError, UndecodableError, UnknownSchemaError
from millrace.contracts.events import AlertRaised, DataSnapshotTaken, LabelObserved, OffsetRange
from millrace.contracts.schemas import Schema, newest
from millrace.contracts.topics import topic_name
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import BATCH_SECONDS, DEAD_LETTERS, RECORDS_IN, RECORDS_OUT
from services.ingest.admit import check_expectations, check_size, identify
from services.ingest.columns import EventColumns, Judged
from services.ingest.core import EventArrived, Joined, LabelArrived, Refused, State
from services.ingest.keys import KeyHash
from services.ingest.replay import Replay, field_values
from services.ingest.rows import RowMemory, SnapshotDue
from services.ingest.samples import Run

log = get_logger(__name__)
ERROR_CLASSES: Mapping[str, type[ContractError]] = {
    "undecodable": UndecodableError,
    "unknown-schema": UnknownSchemaError,
}
IDLE_WAIT_S = 0.1
BUSY_WAIT_S = 0.01  # something waits for the other topic, or a snapshot for its offset
SAMPLE_BYTES = 20_000  # of a sample besides the event and its features: ids of the longest kind, names, headers
QUEUE_BATCHES = 3  # of one topic in memory while the other is behind; past that it is paused


class IngestLane:
    """One partition of a stream. ``max_records`` is what one fetch may bring."""

    def __init__(
        self, context: Context, number: int, *, trace_share: float, max_records: int, in_thread: InThread
    ) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._trace_share = trace_share
        self._queue_records = QUEUE_BATCHES * max_records
        self._in_thread = in_thread
        self._judging, self._labelling, self._deciding = (Offload(in_thread) for _ in range(3))
        self._events = topic_name(topics.EVENTS, project)
        self._labels = topic_name(topics.LABELS, project)
        self._samples = topic_name(topics.SAMPLES, project)
        self._dead_letters = topic_name(topics.DEAD_LETTERS, project)
        self._event_schema = Schema.of(project.event_schema)
        self._label_schema = newest(LabelObserved.schema_name)
        self._largest_event = RECORD_BYTES_MAX - SAMPLE_BYTES - 8 * len(project.features)
        self._reset()

    def _reset(self) -> None:
        project = self._context.project
        self._state = State(project)
        self._memory = RowMemory(project)
        self._columns = EventColumns(project, self._memory.fields, self._largest_event)
        self._next = {self._events: 0, self._labels: 0}
        self._taken: list[tuple[int, SnapshotDue]] = []  # with the place of their last record in the step in hand
        self._announce: list[tuple[SnapshotDue, int]] = []  # with the offset after their last record
        self._hashes = {topic: KeyHash(self._number, project.partitions) for topic in (self._events, self._labels)}
        self._warned = False
        self._begin = 0

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Rebuild the state from the samples that this partition wrote."""
        self._reset()
        transport = self._context.transport
        for topic, offset in committed.items():
            begin = (await transport.bounds(topic, self._number)).begin
            self._next[topic] = begin if offset is None else offset
        bounds = await transport.bounds(self._samples, self._number)
        self._begin = bounds.begin
        replay = Replay(self._context.codec, self._event_schema, self._state, self._memory)
        async for records in transport.read(self._samples, self._number, bounds.begin, bounds.end):
            await replay.take(records, self._in_thread)
        for topic, offset in committed.items():
            if offset is None:  # a new group, or one that the broker forgot: what was written is not read again
                self._next[topic] = max(self._next[topic], replay.written.get(topic, 0))
        if replay.newest_snapshot is not None:  # it may not have been announced; its id says so if it was
            self._announce.append(replay.newest_snapshot)
        log.info("lane ready", partition=self._number, rows=self._memory.rows, positions=self._next)
        return dict(self._next)

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """Take the records in and write everything that can be decided now."""
        now_s = self._context.clock.monotonic_s()
        events = [record for record in records if record.topic == self._events]
        labels = [record for record in records if record.topic == self._labels]
        for topic, arrived in ((self._events, events), (self._labels, labels)):
            if arrived:
                self._next[topic] = arrived[-1].offset + 1
                self._hashes[topic].see_all(arrived)
                RECORDS_IN.labels("ingest", topic).inc(len(arrived))
        self._state.offer_events(await self._read_events(events, now_s))
        self._state.offer_labels(await self._read_labels(labels, now_s))
        if not any(self._state.queued) and not self._announce:
            return self._step([])
        with BATCH_SECONDS.labels("ingest").time():
            return await self._deciding(
                sum(self._state.queued), self._decide, now_s, self._context.clock.now_ms(), caught_up
            )

    def written(self, offsets: Sequence[int]) -> None:
        """A snapshot can be announced once the offset of its last record is known."""
        self._announce += [(due, offsets[place] + 1) for place, due in self._taken]

    # ---- reading -----------------------------------------------------------------------------------------------

    async def _read_events(self, records: Sequence[Record], now_s: float) -> list[EventArrived | Refused]:
        values = [record.value for record in records]
        columnar = await self._context.codec.columnar(values, self._event_schema) if records else None
        judged = None
        if columnar is not None and self._columns.can_read(columnar):
            judged = await self._judging(len(values), self._judge, columnar, values)
        if judged is None:
            return [await self._event(record, now_s) for record in records]
        rows = zip(records, judged.event_id, judged.entity, judged.time_ms, range(len(records)), strict=True)
        arrivals: list[EventArrived | Refused] = [
            EventArrived(record, now_s, event_id, entity, time_ms, judged.values, row)
            for record, event_id, entity, time_ms, row in rows
        ]
        for place in judged.suspects:
            arrivals[place] = await self._event(records[place], now_s)
        return arrivals

    def _judge(self, columnar: Columnar, values: Sequence[bytes | None]) -> Judged | None:
        batch = columnar.decode(values)
        return None if batch is None else self._columns.judge(batch, [len(value or b"") for value in values])

    async def _event(self, record: Record, now_s: float) -> EventArrived | Refused:
        project = self._context.project
        try:
            values = await self._context.codec.decode_record(record.value, self._event_schema)
            identity = identify(project, values)
            check_size(len(record.value or b""), self._largest_event)
            check_expectations(project, values)
        except ContractError as error:
            return Refused(record, error.reason, str(error))
        row = np.array([field_values(values, self._memory.fields)])
        return EventArrived(record, now_s, identity.event_id, identity.entity, identity.time_ms, row, 0)

    async def _read_labels(self, records: Sequence[Record], now_s: float) -> list[LabelArrived | Refused]:
        values = [record.value for record in records]
        columnar = await self._context.codec.columnar(values, self._label_schema) if records else None
        batch = None if columnar is None else await self._labelling(len(values), columnar.decode, values)
        if batch is None:
            return [await self._label(record, now_s) for record in records]
        names = ("event_id", "label_time_ms", "label")
        rows = zip(records, *(batch.column(name).to_pylist() for name in names), strict=True)
        return [self._numbered(record, now_s, event_id, time_ms, label) for record, event_id, time_ms, label in rows]

    async def _label(self, record: Record, now_s: float) -> LabelArrived | Refused:
        try:
            label = await self._context.codec.decode_record(record.value, self._label_schema)
        except ContractError as error:
            return Refused(record, error.reason, str(error))
        return self._numbered(record, now_s, label["event_id"], label["label_time_ms"], label["label"])

    def _numbered(
        self, record: Record, now_s: float, event_id: str, time_ms: int, label: float | str
    ) -> LabelArrived | Refused:
        try:
            return LabelArrived(record, now_s, event_id, time_ms, self._context.project.label.to_number(label))
        except ValueError as error:
            return Refused(record, "bad-label", str(error))

    # ---- writing -----------------------------------------------------------------------------------------------

    def _decide(self, now_s: float, now_ms: int, caught_up: Mapping[str, bool]) -> Step:
        outcomes = self._state.advance(
            now_s, events_caught_up=caught_up[self._events], labels_caught_up=caught_up[self._labels]
        )
        outputs = [self._snapshot(due, offset, now_ms) for due, offset in self._announce]
        self._announce, self._taken = [], []
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        outputs += [self._dead_letter(outcome) for outcome in refused]
        if refused:
            self._report(refused)
        decided = [outcome for outcome in outcomes if not isinstance(outcome, Refused)]
        if decided:
            before = len(outputs)
            samples, due = self._write(decided)
            outputs += samples
            self._taken = [(before + one.place, one) for one in due]
        return self._step([*outputs, *self._key_hash_alert(now_ms)])

    def _report(self, refused: Sequence[Refused]) -> None:
        """One line for all that a batch had of one reason: a stream gone bad must not fill the disk with its log."""
        for reason, count in Counter(one.reason for one in refused).items():
            DEAD_LETTERS.labels(self._context.project.stream, reason).inc(count)
            first = next(one for one in refused if one.reason == reason)
            place = [first.origin.topic, first.origin.partition, first.origin.offset]
            log.warning("dead letters", reason=reason, count=count, first=place, message=first.message)

    def _write(self, decided: Sequence[EventArrived | Joined]) -> tuple[list[OutRecord], list[SnapshotDue]]:
        """The samples, and the snapshots that they complete."""
        run = Run(decided)
        features, due = self._memory.advance(run.rows(len(self._memory.fields)))
        codec = self._context.codec
        columns = run.columns(features, self._context.project.feature_set)
        values = codec.encode_columns(self._samples, codec.batch(self._samples, columns))
        RECORDS_OUT.labels("ingest", self._samples).inc(len(values))
        keys = [entity.encode() for entity in run.entity]
        headers = [self._trace(arrival.origin) for arrival in run.arrivals]
        samples = OutRecord.column(self._samples, self._number, keys, values, headers)
        return samples, due

    def _step(self, outputs: Sequence[OutRecord]) -> Step:
        event, label = self._state.next_event, self._state.next_label
        events, labels = self._state.queued
        full = {self._events: events >= self._queue_records, self._labels: labels >= self._queue_records}
        return Step(
            outputs,
            positions={
                self._events: event.offset if event else self._next[self._events],
                self._labels: label.offset if label else self._next[self._labels],
            },
            paused=frozenset(topic for topic, is_full in full.items() if is_full),
            wait_s=BUSY_WAIT_S if events or labels or self._taken else IDLE_WAIT_S,
        )

    def _trace(self, record: Record) -> Headers:
        """The trace of an event goes on in its sample; a share of those without one starts one here."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        context = trace.child(record.header(trace.HEADER), place) if record.headers else None
        context = context or trace.start(place, self._trace_share)
        return ((trace.HEADER, context),) if context else ()

    def _dead_letter(self, refused: Refused) -> OutRecord:
        record: Record = refused.origin
        message = refused.message
        if refused.reason == "label-without-event" and self._mismatch():
            message = f"{message}; {self._mismatch()}"
        return dead_letter(
            self._dead_letters,
            record,
            stage="VALUE_CONVERTER" if refused.reason in ERROR_CLASSES else "TRANSFORMATION",
            reason=refused.reason,
            message=message,
            error_class=f"{ContractError.__module__}.{ERROR_CLASSES.get(refused.reason, ContractError).__name__}",
        )

    def _snapshot(self, due: SnapshotDue, until_offset: int, now_ms: int) -> OutRecord:
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
            taken_at_ms=now_ms,
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

    def _key_hash_alert(self, now_ms: int) -> list[OutRecord]:
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
            raised_at_ms=now_ms,
        )
        topic = topics.ALERTS.suffix
        return [OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, alert))]
