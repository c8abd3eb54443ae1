"""One partition: score its samples in micro-batches, and write what came of it in one transaction each."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from millrace.bus.consume import Step
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.tasks import InThread, Offload
from millrace.bus.types import Headers, OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    AlertRaised,
    DeploymentDecided,
    ObservationsRecorded,
    SampleRecorded,
    ServingStatusReported,
)
from millrace.contracts.schemas import newest
from millrace.contracts.topics import topic_name
from millrace.telemetry import counting, trace
from millrace.telemetry.event_spans import sampled_of
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DEAD_LETTERS
from services.serving import reports
from services.serving.batch import Answer, Server, Where, answer
from services.serving.deployments import Deployments
from services.serving.models import Loaded
from services.serving.observed import Observed
from services.serving.samples import Samples

log = get_logger(__name__)
LOOK_BACK = 16  # offsets read at once from the end of the observations; transaction markers are among them


class ServingLane:
    """One partition of the samples."""

    def __init__(self, context: Context, number: int, deployments: Deployments, in_thread: InThread) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._deployments = deployments
        self._decoding, self._answering = Offload(in_thread), Offload(in_thread)
        self._samples = topic_name(topics.SAMPLES, project)
        self._predictions = topic_name(topics.PREDICTIONS, project)
        self._observations = topic_name(topics.OBSERVATIONS, project)
        self._shadow = topic_name(topics.SHADOW_PREDICTIONS, project)
        self._where = Where(self._samples, self._predictions, self._observations, number, self._shadow)
        self._active: Loaded | None = None
        self.foreign: str | None = None
        self._next = 0
        self._began = False
        self._reported: set[tuple[int, int]] = set()
        self._observed = Observed(context, number)

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """There is nothing to rebuild: go on at the committed offset.

        A broker forgets the positions of a group that was away for long (``offsets.retention.minutes``, a week unless
        set). Then the newest observation tells how far scoring came: it was committed together with the position.
        """
        offset = committed[self._samples]
        if offset is None:
            offset = await self._observed_until()
        self._active, self._began = None, offset is not None
        self.foreign = None
        self._observed = Observed(self._context, self._number)
        self._reported.clear()  # a report may have been lost with its transaction; its id says so if it was not
        self._next = 0 if offset is None else offset
        return {self._samples: self._next}

    async def _observed_until(self) -> int | None:
        transport, codec = self._context.transport, self._context.codec
        begin, end = await transport.bounds(self._observations, self._number)
        newest_value: bytes | None = None
        start = end
        while newest_value is None and start > begin:
            start = max(begin, start - LOOK_BACK)
            async for records in transport.read(self._observations, self._number, start, end):
                newest_value = records[-1].value
        if newest_value is None:
            return None
        return (await codec.decode(ObservationsRecorded, newest_value)).until_offset

    async def process(self, records: Sequence[Record], _caught_up: Mapping[str, bool]) -> Step:
        """Score the micro-batch with the deployment in force; take a new one up first."""
        wanted = self._deployments.serving
        outputs = self._failures()
        if wanted is None or self.foreign is not None:
            return Step(outputs, paused=frozenset({self._samples}), seek={self._samples: self._next})
        if not self._began:
            return await self._begin(wanted, outputs)
        if self._active is None or wanted.deployment.epoch > self._active.deployment.epoch:
            if self._active is not None:  # else it may have answered before it was lost
                self._observed.takes_over(wanted.deployment, self._deployments.trace_of(wanted.deployment))
            self._active = wanted
            outputs.append(self._status(wanted.deployment, wanted.version))
        if not records:
            return Step(outputs, positions={self._samples: self._next}, wait_s=0.05)
        with counting.timed_batch("serving") as batch:
            outputs += await self._take(records, self._active)
            batch.trace_id = self._observed.trace_id
        moved = {self._samples: self._next}
        return Step(outputs, positions=moved, seek={} if self.foreign is None else moved)

    async def close(self) -> None:
        """Nothing runs beside."""

    def written(self, offsets: Sequence[int]) -> None:
        """Nothing depends on where predictions were written, but that they are."""
        del offsets
        self._observed.written()

    async def _begin(self, first: Loaded, outputs: list[OutRecord]) -> Step:
        """The first deployment: samples from its time on are scored, and the offset is put on record."""
        since_ms = first.deployment.scoring_since_ms
        self._next = await self._context.transport.offset_at(self._samples, self._number, since_ms)
        self._active, self._began = first, True
        self._observed.takes_over(first.deployment, self._deployments.trace_of(first.deployment))
        log.info("scoring begins", partition=self._number, offset=self._next, epoch=first.deployment.epoch)
        start = {self._samples: self._next}
        return Step([*outputs, self._status(first.deployment, first.version)], positions=start, seek=start, wait_s=0.0)

    async def _take(self, records: Sequence[Record], active: Loaded) -> list[OutRecord]:
        """Score what the model in force can score, up to the first sample that needs another one; move ``_next``.

        A sample of another feature set that was appended before this deployment is left over from an older one: no
        model for it will come, so it is a dead letter. One that was appended later waits for its own deployment.
        """
        kept, samples, letters = await self._read(records)
        ours, width = self._context.project.feature_set, len(self._context.project.features)
        foreign = samples.foreign(ours)
        end = next((i for i in foreign if kept[i].timestamp_ms >= active.deployment.decided_at_ms), len(kept))
        until = kept[end].offset if end < len(kept) else records[-1].offset + 1
        if end < len(kept):
            seen = samples.columns.column("feature_set")[end]
            self.foreign = f"samples of feature set {seen} wait for a model; this one has {ours}"
            log.error("cannot score", partition=self._number, offset=until, why=self.foreign)
        refused = dict.fromkeys(samples.misshapen(width), ("feature-count", f"has not the {width} features of {ours}"))
        for i in foreign:
            seen = samples.columns.column("feature_set")[i]
            refused[i] = ("feature-set-replaced", f"computed with feature set {seen}, the model in force needs {ours}")
        outputs = [letter for offset, letter in letters if offset < until]
        outputs += [self._refuse(kept[i], "TASK_PUT", *why) for i, why in sorted(refused.items()) if i < end]
        if refused:
            good = [i for i in range(end) if i not in refused]
            kept, samples = [kept[i] for i in good], samples.take(good)
        if kept:
            outputs += await self._score(kept, samples, active)
        self._next = until
        return outputs

    async def _read(self, records: Sequence[Record]) -> tuple[Sequence[Record], Samples, list[tuple[int, OutRecord]]]:
        """The records that are samples, these by the column, and a dead letter with its offset for each other one.

        All are read at once; only if that fails one by one, to find those at fault.
        """
        codec, reader = self._context.codec, newest(SampleRecorded.schema_name)
        values = [record.value for record in records]
        columnar = await codec.columnar(values, reader)
        columns = None if columnar is None else await self._decoding(len(values), columnar.decode, values)
        if columns is not None:
            return records, Samples(columns, [record.offset for record in records]), []
        kept, rows, letters = list[Record](), list[Mapping[str, Any]](), list[tuple[int, OutRecord]]()
        for record in records:
            try:
                rows.append(await codec.decode_record(record.value, reader))
                kept.append(record)
            except ContractError as error:
                letters.append((record.offset, self._refuse(record, "VALUE_CONVERTER", error.reason, str(error))))
        columnar = codec.columnar_of(reader)
        assert columnar is not None, "the schema of samples is ours, and a test holds it to be proven"
        columns = columnar.batch({name: [row[name] for row in rows] for name in reader.field_names})
        return kept, Samples(columns, [record.offset for record in kept]), letters

    def _refuse(self, record: Record, stage: str, reason: str, message: str) -> OutRecord:
        DEAD_LETTERS.labels(self._context.project.stream, reason).inc()
        place, said = [record.partition, record.offset], trace.for_log(record.header(trace.HEADER))
        log.warning("dead letter", reason=reason, topic=record.topic, at=place, **said)
        return dead_letter(
            topic_name(topics.DEAD_LETTERS, self._context.project),
            record,
            stage=stage,
            reason=reason,
            message=message,
            error_class=f"{ContractError.__module__}.{ContractError.__name__}",
        )

    async def _score(self, records: Sequence[Record], samples: Samples, active: Loaded) -> list[OutRecord]:
        """Predictions and observation frames. The work is done in a thread unless there is very little of it."""
        project = self._context.project
        counting.taken_records("serving", self._samples, records)
        began_ms = self._context.clock.now_ms()
        server = Server(
            active.model, project.model, active.version, active.deployment.epoch, project.label.classes,
            project.feature_names, active.rollout,
        )  # fmt: skip
        answered = await self._answering(
            len(samples), answer, samples, server, self._where, self._context.codec,
            from_offset=self._next, now_ms=began_ms,
        )  # fmt: skip
        events = list(itertools.compress(records, samples.is_event.tolist()))
        traced = [row for row, record in enumerate(events) if record.headers]
        headers: list[Headers] = [()] * len(events)
        for row in traced:
            headers[row] = self._trace(events[row])
        keys = [record.key for record in events]
        outputs = OutRecord.column(self._predictions, self._number, keys, answered.predictions, headers)
        sampled = sampled_of(traced, events, headers, began_ms, only_examples=not self._context.traces.on)
        self._observed.answered(events, sampled, answered, server, began_ms)
        counting.written("serving", self._predictions, answered.predictions)
        counting.written("serving", self._observations, answered.observations)
        outputs += self._shadowed(keys, answered)
        key = str(self._number).encode()
        return [*outputs, *(OutRecord(self._observations, key, value, self._number) for value in answered.observations)]

    def _shadowed(self, keys: Sequence[bytes | None], answered: Answer) -> list[OutRecord]:
        """What the version says that did not answer; and what each variant did is measured."""
        reports.measure(self._context.project.model, answered.counts)
        if not answered.shadow:
            return []
        its = [keys[row] for row in answered.shadow_rows.tolist()]
        counting.written("serving", self._shadow, answered.shadow)
        return OutRecord.column(self._shadow, self._number, its, answered.shadow, [()] * len(its))

    def _trace(self, record: Record) -> Headers:
        place = f"{self._context.project.model}/{self._samples}/{self._number}/{record.offset}"
        context = trace.child(record.header(trace.HEADER), place)
        return ((trace.HEADER, context),) if context else ()

    def _status(self, deployment: DeploymentDecided, version: int, refused: str | None = None) -> OutRecord:
        said = reports.status(self._context, self._number, deployment, version, self._next, refused)
        return self._control(topics.SERVING_STATUS.suffix, said)

    def _failures(self) -> list[OutRecord]:
        """Report each deployment that could not be loaded, once."""
        outputs = []
        for epoch, (deployment, version, reason) in list(self._deployments.failures.items()):
            if (epoch, version) not in self._reported:
                self._reported.add((epoch, version))
                alert = reports.alert(self._context, self._number, deployment, version, reason)
                outputs += [self._status(deployment, version, reason), self._control(topics.ALERTS.suffix, alert)]
        return outputs

    def _control(self, topic: str, event: ServingStatusReported | AlertRaised) -> OutRecord:
        return OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, event))
