"""A whole run on the memory bus, written by hand with the real codec: what the measuring client is tested on."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from millrace.bus.transport import Producer
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    PredictionMade,
    RetrainModel,
    SampleRecorded,
    ServingStatusReported,
    Traffic,
    TrainingRunChanged,
)
from millrace.contracts.project import Project
from millrace.contracts.topics import TopicRow
from millrace.demo.dataset import DatasetFile
from millrace.demo.publish import Publisher
from millrace.stores.artifacts import ArtifactStore
from tests.onnx_models import classifier
from tests.support import EPOCH_MS, World, tiny_project

FIRST_ROWS, ROWS = 100, 400
TURN_ROW, DRIFT_ROW, SECOND_ROW = 250, 280, 300
DATASET = {"file": "rows.csv", "label_column": "truth", "entity": "w", "start": "2020-09-13T12:26:40Z", "every_s": 60}
CONTROL = (
    topics.DRIFT_EVENTS, topics.RETRAIN_REQUESTS, topics.TRAINING_RUNS, topics.MODEL_VERSIONS, topics.DEPLOYMENTS,
    topics.SERVING_STATUS,
)  # fmt: skip


def stream_project(folder: Path, rows: int = ROWS) -> Project:
    """A project with a file: yes where x is positive, and from ``TURN_ROW`` on where it is negative."""
    draw = random.Random(5)
    lines = ["x,truth"]
    for row in range(rows):
        x = draw.choice([-1, 1]) * (0.5 + draw.random())
        lines.append(f"{x},{'yes' if (x > 0) == (row < TURN_ROW) else 'no'}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DATASET["file"]).write_text("\n".join(lines) + "\n")
    return tiny_project(folder, dataset=DATASET)


@dataclass
class Scene:
    """Plays the five services over a stream. ``lose`` and ``double`` are rows whose predictions go wrong."""

    world: World
    codec: Codec
    producer: Producer
    artifacts: ArtifactStore
    lose: Sequence[int] = ()
    double: Sequence[int] = ()

    @classmethod
    async def play(
        cls, folder: Path, *, lose: Sequence[int] = (), double: Sequence[int] = (), drift: bool = True
    ) -> "Scene":
        """The whole run: published, ingested, trained, scored, drifted, retrained."""
        world = await World.create(stream_project(folder))
        codec = Codec(world.schemas)
        await codec.prepare(world.project, topics.SAMPLES, topics.PREDICTIONS, *CONTROL)
        publisher = Publisher(world.transport(), codec, world.project, world.clock)
        await publisher.send(DatasetFile(world.project), 0, ROWS, rate=0)
        producer = await world.transport().producer("scene")
        scene = cls(world, codec, producer, ArtifactStore(folder / "artifacts"), lose, double)
        await scene._run(drift=drift)
        return scene

    async def _run(self, *, drift: bool) -> None:
        events, labels = await self.world.records(topics.EVENTS), await self.world.records(topics.LABELS)
        version = 0
        for row, (event, label) in enumerate(zip(events, labels, strict=True)):
            if row == FIRST_ROWS:
                version = await self._deploy(1, "first data", row)
            if row == DRIFT_ROW and drift:
                await self._drift(row)
            if row == SECOND_ROW and drift:
                version = await self._deploy(2, "request-1", row)
            await self._row(row, event, label, version)

    async def _row(self, row: int, event: Record, label: Record, version: int) -> None:
        values = await self.codec.decode_record(event.value)
        truth = await self.codec.decode_record(label.value)
        common = {"event_id": truth["event_id"], "entity": "w", "source_partition": 0}
        sample = SampleRecorded(
            kind="EVENT", time_ms=values["at"], feature_set="f", features=(values["x"], 0.0, 0.0), event=event.value,
            label=None, source_topic=event.topic, source_offset=event.offset, source_time_ms=event.timestamp_ms,
            **common,
        )  # fmt: skip
        [offset] = await self._say(topics.SAMPLES, sample)
        joined = SampleRecorded(
            kind="LABEL", time_ms=truth["label_time_ms"], feature_set="", features=(), event=None,
            label=float(truth["label"] == "yes"), source_topic=label.topic, source_offset=label.offset,
            source_time_ms=label.timestamp_ms, **common,
        )  # fmt: skip
        await self._say(topics.SAMPLES, joined)
        if not version or row in self.lose:
            return
        says = float((values["x"] > 0) == (version == 1))
        prediction = PredictionMade(
            prediction_id=f"tiny/{offset}", event_id=truth["event_id"], entity="w", model="tiny", version=version,
            variant="champion", epoch=version, value=says, label=None, scores=(1 - says, says),
            event_time_ms=values["at"], predicted_at_ms=EPOCH_MS, sample_partition=0, sample_offset=offset,
        )  # fmt: skip
        for _ in range(2 if row in self.double else 1):
            await self._say(topics.PREDICTIONS, prediction)

    async def _drift(self, row: int) -> None:
        at = 2 * row  # two samples a row
        drift = DriftDetected(
            drift_id="drift-1", model="tiny", version=1, subject="error", detector="ADWIN", severity="ALARM",
            partition=0, sample_offset=await self._offset(at), event_id=f"row-{row}", time_ms=EPOCH_MS,
            before=0.0, after=0.9, before_rows=150, after_rows=30, parameters={"delta": 0.002}, detected_at_ms=EPOCH_MS,
        )  # fmt: skip
        await self._say(topics.DRIFT_EVENTS, drift)
        warning = drift.model_copy(update={"drift_id": "drift-2", "subject": "feature:x", "severity": "WARNING"})
        await self._say(topics.DRIFT_EVENTS, warning)
        await self._say(topics.RETRAIN_REQUESTS, RetrainModel(
            request_id="request-1", model="tiny", reason="DRIFT", caused_by="drift-1", message="error rose",
            since_time_ms=None, until=(), requested_by="monitor", requested_at_ms=EPOCH_MS,
        ))  # fmt: skip

    async def _deploy(self, version: int, cause: str, row: int) -> int:
        digest = self.artifacts.put(classifier(3, flipped=version == 2))
        run = TrainingRunChanged(
            run_id=f"run-{version}", model="tiny", status="SUCCEEDED", trigger="DRIFT", caused_by=cause, ranges=(),
            feature_set="f", code_hash="c", seed=1, train_rows=80, holdout_rows=20, artifact_sha256=digest,
            duration_s=1.0, changed_at_ms=EPOCH_MS,
        )  # fmt: skip
        registered = ModelVersionChanged(
            change_id=f"{version}/REGISTERED", model="tiny", version=version, status="REGISTERED", run_id=run.run_id,
            artifact_sha256=digest, feature_set="f", metrics={}, reasons=("it is better",), caused_by=run.run_id,
            changed_at_ms=EPOCH_MS,
        )  # fmt: skip
        promoted = registered.model_copy(
            update={"change_id": f"{version}/PROMOTED", "status": "PROMOTED", "caused_by": registered.change_id}
        )
        champion = Traffic(variant="champion", version=version, share=1.0, artifact_sha256=digest, feature_set="f")
        deployment = DeploymentDecided(
            deployment_id=f"deployment-{version}", model="tiny", epoch=version, traffic=(champion,),
            scoring_since_ms=EPOCH_MS, caused_by=promoted.change_id, reason="it is better", decided_by="registry",
            decided_at_ms=EPOCH_MS,
        )  # fmt: skip
        status = ServingStatusReported(
            model="tiny", process="p", partition=0, epoch=version, version=version, status="SERVING",
            from_offset=await self._offset(2 * row), reason=None, reported_at_ms=EPOCH_MS,
        )  # fmt: skip
        await self._say(topics.TRAINING_RUNS, run)
        await self._say(topics.MODEL_VERSIONS, registered, promoted)
        await self._say(topics.DEPLOYMENTS, deployment)
        await self._say(topics.SERVING_STATUS, status)
        return version

    async def _offset(self, sample: int) -> int:
        """The offset that the sample of that number has or will have."""
        records = await self.world.records(topics.SAMPLES)
        return records[sample].offset if sample < len(records) else records[-1].offset + 1

    async def _say(self, row: TopicRow, *events: Event) -> list[int]:
        topic = self.world.topic(row)
        return await self.producer.commit([OutRecord(topic, b"k", self.codec.encode(topic, one), 0) for one in events])
