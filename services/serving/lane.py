"""One partition: score its samples in micro-batches, and write what came of it in one transaction each."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.bus.consume import Step
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.tasks import InThread
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError
from millrace.contracts.events import (
    AlertRaised,
    DeploymentDecided,
    ObservationsRecorded,
    PredictionMade,
    SampleRecorded,
    ServingStatusReported,
)
from millrace.contracts.frames import frames_of
from millrace.contracts.schemas import newest
from millrace.contracts.topics import topic_name
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    EVENT_TO_PREDICTION_SECONDS,
    RECORDS_IN,
    RECORDS_OUT,
)
from services.serving.deployments import Deployments, Loaded
from services.serving.score import Scores

log = get_logger(__name__)
CHAMPION = "champion"
FRAME_BYTES = 800_000  # of one frame; a record may have RECORD_BYTES_MAX
LOOK_BACK = 16  # offsets read at once from the end of the observations; transaction markers are among them


class ServingLane:
    """One partition of the samples."""

    def __init__(self, context: Context, number: int, deployments: Deployments, in_thread: InThread) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._deployments = deployments
        self._in_thread = in_thread
        self._samples = topic_name(topics.SAMPLES, project)
        self._predictions = topic_name(topics.PREDICTIONS, project)
        self._observations = topic_name(topics.OBSERVATIONS, project)
        self._active: Loaded | None = None
        self.foreign: str | None = None
        self._next = 0
        self._began = False
        self._reported: set[int] = set()

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
            self._active = wanted
            outputs.append(self._status(wanted.deployment))
        if not records:
            return Step(outputs, positions={self._samples: self._next}, wait_s=0.05)
        with BATCH_SECONDS.labels("serving").time():
            outputs += await self._take(records, self._active)
        moved = {self._samples: self._next}
        return Step(outputs, positions=moved, seek={} if self.foreign is None else moved)

    def written(self, offsets: Sequence[int]) -> None:
        """Nothing depends on where predictions were written."""

    async def _begin(self, first: Loaded, outputs: list[OutRecord]) -> Step:
        """The first deployment: samples from its time on are scored, and the offset is put on record."""
        since_ms = first.deployment.scoring_since_ms
        self._next = await self._context.transport.offset_at(self._samples, self._number, since_ms)
        self._active, self._began = first, True
        log.info("scoring begins", partition=self._number, offset=self._next, epoch=first.deployment.epoch)
        start = {self._samples: self._next}
        return Step([*outputs, self._status(first.deployment)], positions=start, seek=start, wait_s=0.0)

    async def _take(self, records: Sequence[Record], active: Loaded) -> list[OutRecord]:
        """Score what the model in force can score, up to the first sample that needs another one; move ``_next``.

        A sample of another feature set that was appended before this deployment is left over from an older one: no
        model for it will come, so it is a dead letter. One that was appended later waits for its own deployment.
        """
        reader = newest(SampleRecorded.schema_name)
        samples = [await self._context.codec.decode_record(record.value, reader) for record in records]
        ours = self._context.project.feature_set
        foreign = [i for i, sample in enumerate(samples) if sample["kind"] == "EVENT" and sample["feature_set"] != ours]
        end = next((i for i in foreign if records[i].timestamp_ms >= active.deployment.decided_at_ms), len(records))
        if end < len(records):
            self.foreign = f"samples of feature set {samples[end]['feature_set']} wait for a model; this one has {ours}"
            log.error("cannot score", partition=self._number, offset=records[end].offset, why=self.foreign)
        late = {i for i in foreign if i < end}
        outputs = [self._left_over(records[i], samples[i], ours) for i in sorted(late)]
        kept = [i for i in range(end) if i not in late]
        if kept:
            outputs += await self._score([records[i] for i in kept], [samples[i] for i in kept], active)
        self._next = records[end].offset if end < len(records) else records[-1].offset + 1
        return outputs

    def _left_over(self, record: Record, sample: Mapping[str, Any], ours: str) -> OutRecord:
        DEAD_LETTERS.labels(self._context.project.stream, "feature-set-replaced").inc()
        return dead_letter(
            topic_name(topics.DEAD_LETTERS, self._context.project),
            record,
            stage="TASK_PUT",
            reason="feature-set-replaced",
            message=f"computed with feature set {sample['feature_set']}, the model in force needs {ours}",
            error_class=f"{ContractError.__module__}.{ContractError.__name__}",
        )

    async def _score(
        self, records: Sequence[Record], samples: Sequence[Mapping[str, Any]], active: Loaded
    ) -> list[OutRecord]:
        RECORDS_IN.labels("serving", self._samples).inc(len(samples))
        is_event = np.array([sample["kind"] == "EVENT" for sample in samples])
        events = [i for i, sample in enumerate(samples) if sample["kind"] == "EVENT"]
        width = len(self._context.project.features)
        features = np.array([samples[i]["features"] for i in events], dtype=np.float64).reshape(len(events), width)
        classes = len(self._context.project.label.classes)
        scored = Scores(np.empty(0), np.empty((0, classes)))
        if events:
            scored = await self._in_thread(active.model.score, features)
        now_ms = self._context.clock.now_ms()
        outputs = [
            self._prediction(records[at], samples[at], active, value, scores, now_ms)
            for at, value, scores in zip(events, scored.values.tolist(), scored.scores.tolist(), strict=True)
        ]
        RECORDS_OUT.labels("serving", self._predictions).inc(len(outputs))
        columns = self._columns(records, samples, is_event, features, scored, active)
        return [*outputs, *self._observations_of(columns, active, now_ms)]

    def _prediction(
        self, record: Record, sample: Mapping[str, Any], active: Loaded, value: float, scores: list[float], now_ms: int
    ) -> OutRecord:
        project = self._context.project
        place = f"{project.model}/{self._samples}/{self._number}/{record.offset}"
        prediction = PredictionMade.model_construct(
            prediction_id=place,
            event_id=sample["event_id"],
            entity=sample["entity"],
            model=project.model,
            version=active.version,
            variant=CHAMPION,
            epoch=active.deployment.epoch,
            value=value,
            label=project.label.classes[int(value)] if project.label.classes else None,
            scores=tuple(scores),
            event_time_ms=sample["time_ms"],
            predicted_at_ms=now_ms,
            sample_partition=self._number,
            sample_offset=record.offset,
        )
        EVENT_TO_PREDICTION_SECONDS.labels(project.model).observe(max(0, now_ms - sample["source_time_ms"]) / 1000)
        context = trace.child(record.header(trace.HEADER), place)
        return OutRecord(
            self._predictions,
            record.key,
            self._context.codec.encode(self._predictions, prediction),
            self._number,
            ((trace.HEADER, context),) if context else (),
        )

    def _columns(
        self, records: Sequence[Record], samples: Sequence[Mapping[str, Any]], is_event: np.ndarray[Any, Any],
        features: np.ndarray[Any, Any], scored: Scores, active: Loaded,
    ) -> dict[str, Any]:  # fmt: skip
        """The micro-batch column by column; cells that a label's row does not have are NaN."""
        rows = len(records)

        def spread(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            column = np.full(rows, np.nan)
            column[is_event] = values
            return column

        columns: dict[str, Any] = {
            "offset": np.array([record.offset for record in records], dtype=np.int64),
            "is_label": ~is_event,
            "event_id": [sample["event_id"] for sample in samples],
            "time_ms": np.array([sample["time_ms"] for sample in samples], dtype=np.int64),
            "version": np.where(is_event, active.version, 0).astype(np.int32),
            "value": spread(scored.values),
            "label": np.array(
                [np.nan if sample["label"] is None else sample["label"] for sample in samples], dtype=np.float64
            ),
        }
        columns |= {f"score_{i}": spread(scored.scores[:, i]) for i in range(scored.scores.shape[1])}
        names = self._context.project.feature_names
        columns |= {name: spread(features[:, i]) for i, name in enumerate(names)}
        return columns

    def _observations_of(self, columns: Mapping[str, Any], active: Loaded, now_ms: int) -> list[OutRecord]:
        """One frame, or as many as are needed for each to fit into a record."""
        outputs: list[OutRecord] = []
        from_offset = self._next
        for part, frame in frames_of(columns, FRAME_BYTES):
            until_offset = int(part["offset"][-1]) + 1
            observations = ObservationsRecorded.model_construct(
                model=self._context.project.model,
                partition=self._number,
                from_offset=from_offset,
                until_offset=until_offset,
                epoch=active.deployment.epoch,
                rows=len(part["offset"]),
                frame=frame,
                recorded_at_ms=now_ms,
            )
            value = self._context.codec.encode(self._observations, observations)
            outputs.append(OutRecord(self._observations, str(self._number).encode(), value, self._number))
            from_offset = until_offset
        return outputs

    def _status(self, deployment: DeploymentDecided, refused: str | None = None) -> OutRecord:
        """That the deployment is in force from here on; or, with a reason, that its model was refused."""
        status = ServingStatusReported(
            model=deployment.model,
            process=self._context.process,
            partition=self._number,
            epoch=deployment.epoch,
            version=deployment.traffic[0].version,
            status="SERVING" if refused is None else "FAILED",
            from_offset=self._next,
            reason=refused,
            reported_at_ms=self._context.clock.now_ms(),
        )
        return self._control(topics.SERVING_STATUS.suffix, status)

    def _failures(self) -> list[OutRecord]:
        """Report each deployment that could not be loaded, once."""
        outputs = []
        for epoch, (deployment, reason) in self._deployments.failures.items():
            if epoch in self._reported:
                continue
            self._reported.add(epoch)
            version, now_ms = deployment.traffic[0].version, self._context.clock.now_ms()
            alert = AlertRaised(
                alert_id=f"alert/model-refused/{deployment.model}/{epoch}/{self._number}", service="serving",
                severity="CRITICAL", reason="model-refused", subject=f"{deployment.model} version {version}",
                message=f"{reason}; the last good version goes on", raised_at_ms=now_ms,
            )  # fmt: skip
            outputs += [self._status(deployment, reason), self._control(topics.ALERTS.suffix, alert)]
        return outputs

    def _control(self, topic: str, event: ServingStatusReported | AlertRaised) -> OutRecord:
        return OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, event))
