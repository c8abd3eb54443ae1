"""One partition of a stream: read, decide, and write what came of it in one transaction.

What a record says by itself is found in ``reading.py``, what it means beside the others in ``core.py``. Here decisions
become records: samples, dead letters, snapshots, judgements of data quality, and from time to time the saved state.
"""

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace.bus.consume import Step
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.tasks import InThread, Offload
from millrace.bus.types import Bounds, Headers, OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, MillraceError, UndecodableError, UnknownSchemaError
from millrace.contracts.events import AlertRaised
from millrace.contracts.schemas import Schema
from millrace.contracts.topics import topic_name
from millrace.features.functions import Functions
from millrace.telemetry import counting, trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DEAD_LETTERS, FLAGGED
from services.ingest.announcing import Announcer, LakePosition
from services.ingest.core import EventArrived, Joined, Refused, State
from services.ingest.following import Following
from services.ingest.judging import Judgements
from services.ingest.keys import KeyHash
from services.ingest.limiting import Limits
from services.ingest.observed import Observed
from services.ingest.pseudonyms import Pseudonyms
from services.ingest.reading import EventReader, LabelReader
from services.ingest.replay import Replay
from services.ingest.rows import RowMemory, SnapshotDue
from services.ingest.samples import Run
from services.ingest.saving import Saved, StateTopic

log = get_logger(__name__)
ERROR_CLASSES: Mapping[str, type[ContractError]] = {
    "undecodable": UndecodableError,
    "unknown-schema": UnknownSchemaError,
}
IDLE_WAIT_S = 0.1
BUSY_WAIT_S = 0.01  # something waits for the other topic, or a snapshot for its offset
MARK_EVENTS = 5_000  # so fine is known where the ids that are remembered begin
QUEUE_BATCHES = 3  # of one topic in memory while the other is behind; past that it is paused


@dataclass(frozen=True, slots=True)
class Means:
    """What lanes share, beside the context.

    ``functions`` are the owner's features. ``lake`` is how far the lake has this partition, None without one;
    ``pseudonyms`` hide persons, None for a stream without personal fields.
    """

    following: Following
    in_thread: InThread
    trace_share: float
    max_records: int
    functions: Functions
    lake: LakePosition | None = None
    pseudonyms: Pseudonyms | None = None


class IngestLane:
    """One partition of a stream."""

    def __init__(self, context: Context, number: int, means: Means) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._means = means
        self._deciding = Offload(means.in_thread)
        self._events = topic_name(topics.EVENTS, project)
        self._labels = topic_name(topics.LABELS, project)
        self._samples = topic_name(topics.SAMPLES, project)
        self._dead_letters = topic_name(topics.DEAD_LETTERS, project)
        self._saving = StateTopic(context, number)
        self.is_behind = False  # there were more events when it last fetched some
        self._reset()

    def _reset(self) -> None:
        project, means = self._context.project, self._means
        self._state = State(project)
        self._memory = RowMemory(project, means.functions)
        self._judgements = Judgements(self._context, self._number)
        self._event_reader = EventReader(
            self._context, means.in_thread, self._judgements, self._state.rules.fields, means.pseudonyms
        )
        self._label_reader = LabelReader(self._context, means.in_thread)
        self._announcer = Announcer(self._context, self._number, means.lake)
        self._limits = Limits(self._context, self._number)
        self._observed = Observed(self._context, self._number)
        self._stop: MillraceError | None = None
        self._next = {self._events: 0, self._labels: 0}
        self._taken: list[tuple[int, SnapshotDue]] = []  # with the place of their last record in the step in hand
        self._wrote: tuple[int, Run] | None = None  # in the step in hand: place of the first sample, and all of them
        self._marks: deque[tuple[int, int]] = deque()  # how many events came with the samples from which offset on
        self._end = 0  # first offset of the samples log that is not in the state
        self._saved_rows = 0
        self._hashes = {topic: KeyHash(self._number, project.partitions) for topic in (self._events, self._labels)}
        self._warned = False

    # ---- recovery ----------------------------------------------------------------------------------------------

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Rebuild the state from the newest saving, and from the samples that this partition wrote since."""
        self._reset()
        transport, project = self._context.transport, self._context.project
        bounds = await transport.bounds(self._samples, self._number)
        # a group whose positions the broker forgot finds them in the samples, and so has to read all of these
        saved = None if None in committed.values() else await self._restore(bounds)
        self._saved_rows = self._memory.rows
        for topic, offset in committed.items():
            begin = (await transport.bounds(topic, self._number)).begin
            self._next[topic] = begin if offset is None else offset
        self._announcer.begin = bounds.begin
        since = bounds.begin if saved is None else saved.until_offset
        start = bounds.begin if saved is None else max(bounds.begin, min(saved.ids_from_offset, since))
        replay = Replay(
            self._context.codec, Schema.of(project.event_schema), self._memory.inputs, self._state, self._memory,
            since, window_rows=project.data.dead_letters.window_rows,
        )  # fmt: skip
        async for records in transport.read(self._samples, self._number, start, bounds.end):
            await replay.take(records, self._means.in_thread)
        for topic, offset in committed.items():
            if offset is None:  # a new group, or one that the broker forgot: what was written is not read again
                self._next[topic] = max(self._next[topic], replay.written.get(topic, 0))
        if replay.newest_snapshot is not None:  # it may not have been announced; its id says so if it was
            self._announcer.add(*replay.newest_snapshot)
        for events, offset in replay.marks:
            self._mark(events, offset)
        self._end = bounds.end
        await self._limits.recover(replay.admitted, self._next, whole=start == bounds.begin)
        log.info(
            "lane ready", partition=self._number, rows=self._memory.rows, positions=self._next, read_from=start,
            saved_until=None if saved is None else saved.until_offset,
        )  # fmt: skip
        return dict(self._next)

    async def _restore(self, samples: Bounds) -> Saved | None:
        """Take over the newest saving; None if there is none, or none that can be believed."""
        saved = await self._saving.newest(samples.end)
        if saved is None:
            return None
        if saved.until_offset < samples.begin:
            log.error(
                "retention has removed samples that were not in the saved state: what is left of the log is the state",
                partition=self._number, saved_until=saved.until_offset, samples_begin=samples.begin,
            )  # fmt: skip
            return None
        try:
            self._memory.restore(list(saved.frames.get("rows", ())))
            self._state.rules.restore(list(saved.frames.get("rules", ())))
            self._announcer.restore(list(saved.frames.get("announce", ())))
        except (MillraceError, ValueError, KeyError, TypeError) as error:  # of another release, or damaged
            log.warning("saved state is of no use, all samples are read", partition=self._number, error=repr(error))
            self._reset()
            return None
        return saved

    @property
    def _save_due(self) -> bool:
        return self._memory.rows - self._saved_rows >= self._context.project.data.state_every_rows

    def _save(self, now_ms: int) -> list[OutRecord]:
        """The state as it is now, from time to time: between two steps it is what the samples below ``_end`` say."""
        if not self._save_due:
            return []
        self._saved_rows = self._memory.rows
        frames = {
            "rows": self._memory.save(),
            "rules": self._state.rules.save(),
            "announce": self._announcer.save(),
        }
        ids_from = self._marks[0][1] if self._marks else self._end
        return self._saving.records(Saved(self._end, ids_from, frames), now_ms)

    # ---- one step ----------------------------------------------------------------------------------------------

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """Take the records in and write everything that can be decided now.

        Raises:
            DeadLetterLimitError: too much had to be refused; an alert has said so, nothing of it was written.
        """
        if self._stop is not None:
            raise self._stop
        self.is_behind = not caught_up[self._events]
        now_s = self._context.clock.monotonic_s()
        events = [record for record in records if record.topic == self._events]
        labels = [record for record in records if record.topic == self._labels]
        for topic, arrived in ((self._events, events), (self._labels, labels)):
            if arrived:
                self._next[topic] = arrived[-1].offset + 1
                self._hashes[topic].see_all(arrived)
                counting.taken_records("ingest", topic, arrived)
        force = self._means.following.in_force
        self._state.offer_events(await self._event_reader.read(events, now_s, force))
        self._state.offer_labels(await self._label_reader.read(labels, now_s))
        told = self._announcer.ready or self._judgements.ready(self._positions()[self._events])
        if not any(self._state.queued) and not told:
            return self._step([])
        with counting.timed_batch("ingest") as batch:
            now_ms = self._context.clock.now_ms()
            if self._save_due:  # takes longer than a step does: never in the event loop
                step = await self._means.in_thread(self._decide, now_s, now_ms, caught_up)
            else:
                step = await self._deciding(sum(self._state.queued), self._decide, now_s, now_ms, caught_up)
            batch.trace_id = self._observed.trace_id
        return step

    def written(self, offsets: Sequence[int]) -> None:
        """A snapshot can be announced once the offset of its last record is known."""
        self._announcer.written()
        for place, due in self._taken:
            self._announcer.add(due, offsets[place] + 1)
        self._taken = []
        if self._wrote is not None:
            first, run = self._wrote
            places = np.asarray(offsets[first : first + len(run.arrivals)], np.int64)
            self._end = int(places[-1]) + 1
            events = run.event_offsets
            self._judgements.wrote(events, places[~run.is_label])
            self._mark(len(events), int(places[0]))
            self._observed.written()
            self._wrote = None

    def _mark(self, events: int, offset: int) -> None:
        """Note from which offset on the newest ``dedupe.events`` events came."""
        if self._marks and self._marks[-1][0] < MARK_EVENTS:
            count, offset = self._marks.pop()
            events += count
        self._marks.append((events, offset))
        remembered = sum(count for count, _ in self._marks)
        while remembered - self._marks[0][0] >= self._context.project.dedupe.events:
            remembered -= self._marks.popleft()[0]

    async def close(self) -> None:
        """Nothing runs beside."""

    def _decide(self, now_s: float, now_ms: int, caught_up: Mapping[str, bool]) -> Step:
        positions = self._positions()
        outputs = self._save(now_ms)
        outcomes = self._state.advance(
            now_s, events_caught_up=caught_up[self._events], labels_caught_up=caught_up[self._labels]
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, Refused)]
        too_many = self._limits.judge(outcomes, refused)
        if too_many is not None:
            self._stop = too_many
            log.critical("ingest stops", partition=self._number, error=str(too_many))
            return Step([self._alert(self._limits.alert(too_many, positions, now_ms))], wait_s=BUSY_WAIT_S)
        outputs += self._announcer.take(now_ms)
        outputs += self._judgements.take(positions[self._events], now_ms)
        outputs += [self._dead_letter(outcome) for outcome in refused]
        if refused:
            self._report(refused)
        decided = [outcome for outcome in outcomes if not isinstance(outcome, Refused)]
        if decided:
            outputs += self._write(decided, len(outputs), now_s, now_ms)
        return self._step([*outputs, *self._key_hash_alert(now_ms)])

    def _report(self, refused: Sequence[Refused]) -> None:
        """One line for all that a batch had of one reason: a stream gone bad must not fill the disk with its log."""
        for reason, count in Counter(one.reason for one in refused).items():
            DEAD_LETTERS.labels(self._context.project.stream, reason).inc(count)
            first = next(one for one in refused if one.reason == reason)
            place = [first.origin.topic, first.origin.partition, first.origin.offset]
            log.warning(
                "dead letters", reason=reason, count=count, first=place, message=first.message,
                **trace.for_log(first.origin.header(trace.HEADER)),
            )  # fmt: skip

    def _write(
        self, decided: Sequence[EventArrived | Joined], before: int, now_s: float, now_ms: int
    ) -> list[OutRecord]:
        """The samples. Notes the snapshots that they complete; ``before`` records stand in front of them."""
        run = Run(decided)
        features, due = self._memory.advance(run.rows(len(self._memory.fields)))
        codec = self._context.codec
        columns = run.columns(features, self._context.project.feature_set)
        values = codec.encode_columns(self._samples, codec.batch(self._samples, columns))
        counting.written("ingest", self._samples, values)
        for flag, count in run.flags.items():
            FLAGGED.labels(self._context.project.stream, flag).inc(count)
        keys = [entity.encode() for entity in run.entity]
        headers = [self._trace(arrival.origin) for arrival in run.arrivals]
        self._observed.run(run, headers, now_s, now_ms)
        self._taken = [(before + one.place, one) for one in due]
        self._wrote = (before, run)
        return OutRecord.column(self._samples, self._number, keys, values, headers)

    def _positions(self) -> dict[str, int]:
        """The first offset of each topic that is not decided."""
        event, label = self._state.next_event, self._state.next_label
        return {
            self._events: event.offset if event else self._next[self._events],
            self._labels: label.offset if label else self._next[self._labels],
        }

    def _step(self, outputs: Sequence[OutRecord]) -> Step:
        events, labels = self._state.queued
        full = {self._events: events >= self._queue_records, self._labels: labels >= self._queue_records}
        return Step(
            outputs,
            positions=self._positions(),
            paused=frozenset(topic for topic, is_full in full.items() if is_full),
            wait_s=BUSY_WAIT_S if events or labels or self._taken else IDLE_WAIT_S,
        )

    @property
    def _queue_records(self) -> int:
        return QUEUE_BATCHES * self._means.max_records

    def _trace(self, record: Record) -> Headers:
        """The trace of an event goes on in its sample; a share of those without one starts one here."""
        place = f"{record.topic}/{record.partition}/{record.offset}"
        context = trace.child(record.header(trace.HEADER), place) if record.headers else None
        context = context or trace.start(place, self._means.trace_share)
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
        return [self._alert(alert)]

    def _alert(self, alert: AlertRaised) -> OutRecord:
        topic = topics.ALERTS.suffix
        return OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, alert))
