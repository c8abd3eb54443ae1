"""Serving's effects: follow deployments, load models, score micro-batches, write predictions in one transaction."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fastapi import FastAPI

from millrace.bus.consume import Lanes, Step
from millrace.bus.context import Context
from millrace.bus.tasks import run_together
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.events import (
    AlertRaised,
    ObservationsRecorded,
    PredictionMade,
    SampleRecorded,
    ServingStatusReported,
)
from millrace.contracts.frames import encode_frame
from millrace.contracts.schemas import newest
from millrace.contracts.topics import topic_name
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry import trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import (
    BATCH_SECONDS,
    EVENT_TO_PREDICTION_SECONDS,
    RECORDS_IN,
    RECORDS_OUT,
)
from services.serving.deployments import Blocking, Deployments, Loaded
from services.serving.rest import add_inference_routes
from services.serving.score import Scores

log = get_logger(__name__)
WRITES = (topics.PREDICTIONS, topics.OBSERVATIONS, topics.SERVING_STATUS, topics.ALERTS)
CHAMPION = "champion"
LOOK_BACK = 16  # offsets read at once from the end of the observations; transaction markers are among them


class ServingLane:
    """One partition of the samples."""

    def __init__(self, context: Context, number: int, deployments: Deployments, blocking: Blocking) -> None:
        project = context.project
        self._context = context
        self._number = number
        self._deployments = deployments
        self._blocking = blocking
        self._samples = topic_name(topics.SAMPLES, project)
        self._predictions = topic_name(topics.PREDICTIONS, project)
        self._observations = topic_name(topics.OBSERVATIONS, project)
        self._active: Loaded | None = None
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
        if wanted is None:
            return Step(outputs, paused=frozenset({self._samples}))
        if not self._began:
            return await self._begin(wanted, outputs)
        if self._active is None or wanted.deployment.epoch > self._active.deployment.epoch:
            self._active = wanted
            outputs.append(self._status(wanted))
        if not records:
            return Step(outputs, positions={self._samples: self._next}, wait_s=0.05)
        with BATCH_SECONDS.labels("serving").time():
            outputs += await self._score(records, self._active)
        self._next = records[-1].offset + 1
        return Step(outputs, positions={self._samples: self._next})

    def written(self, offsets: Sequence[int]) -> None:
        """Nothing depends on where predictions were written."""

    async def _begin(self, first: Loaded, outputs: list[OutRecord]) -> Step:
        """The first deployment: samples from its time on are scored, and the offset is put on record."""
        since_ms = first.deployment.scoring_since_ms
        self._next = await self._context.transport.offset_at(self._samples, self._number, since_ms)
        self._active, self._began = first, True
        log.info("scoring begins", partition=self._number, offset=self._next, epoch=first.deployment.epoch)
        start = {self._samples: self._next}
        return Step([*outputs, self._status(first)], positions=start, seek=start, wait_s=0.0)

    async def _score(self, records: Sequence[Record], active: Loaded) -> list[OutRecord]:
        reader = newest(SampleRecorded.schema_name)
        samples = [await self._context.codec.decode_record(record.value, reader) for record in records]
        RECORDS_IN.labels("serving", self._samples).inc(len(samples))
        is_event = np.array([sample["kind"] == "EVENT" for sample in samples])
        events = [i for i, sample in enumerate(samples) if sample["kind"] == "EVENT"]
        width = len(self._context.project.features)
        features = np.array([samples[i]["features"] for i in events], dtype=np.float64).reshape(len(events), width)
        classes = len(self._context.project.label.classes)
        scored = Scores(np.empty(0), np.empty((0, classes)))
        if events:
            scored = await self._blocking(active.model.score, features)
        now_ms = self._context.clock.now_ms()
        outputs = [
            self._prediction(records[at], samples[at], active, value, scores, now_ms)
            for at, value, scores in zip(events, scored.values.tolist(), scored.scores.tolist(), strict=True)
        ]
        RECORDS_OUT.labels("serving", self._predictions).inc(len(outputs))
        frame = self._frame(records, samples, is_event, features, scored, active)
        return [*outputs, self._observation(records, frame, active, now_ms)]

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

    def _frame(
        self, records: Sequence[Record], samples: Sequence[Mapping[str, Any]], is_event: np.ndarray[Any, Any],
        features: np.ndarray[Any, Any], scored: Scores, active: Loaded,
    ) -> bytes:  # fmt: skip
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
        return encode_frame(columns)

    def _observation(self, records: Sequence[Record], frame: bytes, active: Loaded, now_ms: int) -> OutRecord:
        observations = ObservationsRecorded.model_construct(
            model=self._context.project.model,
            partition=self._number,
            from_offset=self._next,
            until_offset=records[-1].offset + 1,
            epoch=active.deployment.epoch,
            rows=len(records),
            frame=frame,
            recorded_at_ms=now_ms,
        )
        value = self._context.codec.encode(self._observations, observations)
        return OutRecord(self._observations, str(self._number).encode(), value, self._number)

    def _status(self, active: Loaded, failed: str | None = None) -> OutRecord:
        status = ServingStatusReported(
            model=self._context.project.model,
            process=self._context.process,
            partition=self._number,
            epoch=active.deployment.epoch,
            version=active.version,
            status="SERVING",
            from_offset=self._next,
            reason=failed,
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
            status = ServingStatusReported(
                model=deployment.model, process=self._context.process, partition=self._number, epoch=epoch,
                version=version, status="FAILED", from_offset=self._next, reason=reason, reported_at_ms=now_ms,
            )  # fmt: skip
            alert = AlertRaised(
                alert_id=f"alert/model-refused/{deployment.model}/{epoch}/{self._number}", service="serving",
                severity="CRITICAL", reason="model-refused", subject=f"{deployment.model} version {version}",
                message=f"{reason}; the last good version goes on", raised_at_ms=now_ms,
            )  # fmt: skip
            outputs += [self._control(topics.SERVING_STATUS.suffix, status), self._control(topics.ALERTS.suffix, alert)]
        return outputs

    def _control(self, topic: str, event: ServingStatusReported | AlertRaised) -> OutRecord:
        return OutRecord(topic, self._context.project.model.encode(), self._context.codec.encode(topic, event))


class ServingService:
    """Follows deployments and runs a lane for each partition that the group gives to this process."""

    def __init__(
        self, context: Context, *, artifacts: str, max_records: int, threads: int = 1,
        blocking: Blocking = asyncio.to_thread,
    ) -> None:  # fmt: skip
        self._context = context
        project = context.project
        self.deployments = Deployments(context, ArtifactStore(artifacts), threads=threads, blocking=blocking)
        self._lanes = Lanes(
            context.transport,
            service="serving",
            group=f"millrace-serving-{project.model}",
            topics=[topic_name(topics.SAMPLES, project)],
            make_lane=lambda number: ServingLane(context, number, self.deployments, blocking),
            max_records=max_records,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._context.codec.prepare(self._context.project, *WRITES)
        await self.deployments.catch_up()
        await run_together(self.deployments.follow(), self._lanes.run())

    def checks(self) -> Mapping[str, str | None]:
        """Ready once the group has answered, whether or not there is a model yet."""
        return {"bus": None if self._lanes.joined else "the consumer group has not answered yet"}

    def add_routes(self, app: FastAPI) -> None:
        """The Open Inference Protocol, version 2."""
        add_inference_routes(app, self._context.project, self.deployments)
