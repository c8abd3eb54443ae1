"""A small history in the log, for the tests of lineage and of time travel: samples, a run, a version, predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from millrace.bus.context import Context
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import (
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    OffsetRange,
    PredictionMade,
    SampleRecorded,
    ServingStatusReported,
    Traffic,
    TrainingRunChanged,
)
from millrace.contracts.topics import TopicRow, topic_name
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project

SAMPLES = "tiny-samples"


async def say(world: World, row: TopicRow, *events: Event) -> None:
    """Write events of ours into partition 0, in one transaction."""
    await tell(world.context(), row, *events)


async def tell(context: Context, row: TopicRow, *events: Event) -> None:
    """The same, on any log."""
    await context.codec.prepare(context.project, row)
    topic = topic_name(row, context.project)
    producer = await context.transport.producer(f"test.say.{topic}")
    await producer.commit([OutRecord(topic, b"w", context.codec.encode(topic, one), 0) for one in events])
    await producer.close()


def sample(number: int, **changes: Any) -> SampleRecorded:
    """The EVENT of a row; its source offset is its number."""
    values: dict[str, Any] = {
        "kind": "EVENT",
        "event_id": f"e{number}",
        "entity": "w",
        "time_ms": EPOCH_MS + number * MINUTE_MS,
        "feature_set": "f",
        "features": (float(number), 0.5, float("nan")),
        "event": b"raw",
        "label": None,
        "source_topic": "tiny-events",
        "source_partition": 0,
        "source_offset": number,
        "source_time_ms": EPOCH_MS,
    }
    return SampleRecorded(**{**values, **changes})


def label(number: int, value: float = 1.0, **changes: Any) -> SampleRecorded:
    """The LABEL of a row."""
    values = {"kind": "LABEL", "feature_set": "", "features": (), "event": None, "label": value}
    return sample(number, **{**values, "source_topic": "tiny-labels", **changes})


def prediction(offset: int, version: int = 1, **changes: Any) -> PredictionMade:
    """The champion's prediction of the sample at that offset."""
    values: dict[str, Any] = {
        "prediction_id": f"tiny/{SAMPLES}/0/{offset}",
        "event_id": f"e{offset}",
        "entity": "w",
        "model": "tiny",
        "version": version,
        "variant": "champion",
        "epoch": version,
        "value": 1.0,
        "label": "yes",
        "scores": (0.2, 0.8),
        "event_time_ms": EPOCH_MS,
        "predicted_at_ms": EPOCH_MS,
        "sample_partition": 0,
        "sample_offset": offset,
    }
    return PredictionMade(**{**values, **changes})


def part(start: int, stop: int, partition: int = 0) -> OffsetRange:
    """A range of the samples."""
    return OffsetRange(topic=SAMPLES, partition=partition, from_offset=start, until_offset=stop)


def run(run_id: str, *ranges: OffsetRange, **changes: Any) -> TrainingRunChanged:
    """A run that succeeded."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "model": "tiny",
        "status": "SUCCEEDED",
        "trigger": "FIRST_DATA",
        "caused_by": "snap-1",
        "ranges": ranges,
        "feature_set": "f",
        "code_hash": "code",
        "seed": 7,
        "train_rows": 2,
        "holdout_rows": 1,
        "artifact_sha256": "a" * 64,
        "duration_s": 1.0,
        "changed_at_ms": EPOCH_MS,
        "config_hash": "config",
        "lock_hash": "lock",
    }
    return TrainingRunChanged(**{**values, **changes})


def version(number: int | None, run_id: str, status: Any = "PROMOTED") -> ModelVersionChanged:
    """A word about a version."""
    return ModelVersionChanged(
        change_id=f"version/tiny/{number or run_id}/{status}",
        model="tiny",
        version=number,
        status=status,
        run_id=run_id,
        artifact_sha256="a" * 64,
        feature_set="f",
        metrics={},
        reasons=("it is better",),
        caused_by=run_id,
        changed_at_ms=EPOCH_MS,
    )


def deployment(epoch: int, number: int) -> DeploymentDecided:
    """All traffic to one version."""
    return DeploymentDecided(
        deployment_id=f"deployment/tiny/{epoch}",
        model="tiny",
        epoch=epoch,
        traffic=(Traffic(variant="champion", version=number, share=1.0, artifact_sha256="a" * 64, feature_set="f"),),
        scoring_since_ms=EPOCH_MS,
        caused_by="version",
        reason="it is better",
        decided_by="registry",
        decided_at_ms=EPOCH_MS,
    )


def status(epoch: int, number: int, from_offset: int, **changes: Any) -> ServingStatusReported:
    """A serving process says what it serves."""
    values: dict[str, Any] = {
        "model": "tiny",
        "process": "host/1",
        "partition": 0,
        "epoch": epoch,
        "version": number,
        "status": "SERVING",
        "from_offset": from_offset,
        "reason": None,
        "reported_at_ms": EPOCH_MS,
    }
    return ServingStatusReported(**{**values, **changes})


def snapshot(name: str, until: int, **changes: Any) -> DataSnapshotTaken:
    """The rows up to an offset."""
    values: dict[str, Any] = {
        "snapshot_id": name,
        "stream": "tiny",
        "feature_set": "f",
        "ranges": (part(0, until),),
        "table_version": 4,
        "rows": 3,
        "labelled_rows": 3,
        "from_time_ms": EPOCH_MS,
        "until_time_ms": EPOCH_MS,
        "profile": (),
        "taken_at_ms": EPOCH_MS,
    }
    return DataSnapshotTaken(**{**values, **changes})


async def history(folder: Path, **changes: Any) -> World:
    """Samples 0 to 9 in partition 0: events e0 to e5, labels of e0 to e3. Two versions; e4 and e5 are scored.

    Offsets: 0 e0, 1 e1, 2 its label (e0), 3 e2, 4 label e1, 5 e3, 6 label e2, 7 e4, 8 label e3, 9 e5.
    Run run-a has offsets 0 to 6, run-b 3 to 8. Version 1 scored sample 7, version 2 sample 9.
    """
    world = await World.create(tiny_project(folder, **changes))
    for row, events in HISTORY.items():
        await say(world, row, *events)
    return world


HISTORY: Mapping[TopicRow, Sequence[Event]] = {
    topics.SAMPLES: (
        sample(0), sample(1), label(0), sample(2), label(1), sample(3), label(2), sample(4), label(3), sample(5),
    ),
    topics.DATA_SNAPSHOTS: (snapshot("snap-1", 7), snapshot("snap-2", 9, table_version=5)),
    topics.TRAINING_RUNS: (
        run("run-a", part(0, 7)), run("run-b", part(3, 9), caused_by="snap-2"), run("run-c", part(3, 9)),
    ),
    topics.MODEL_VERSIONS: (
        version(1, "run-a", "REGISTERED"), version(1, "run-a"), version(2, "run-b"),
        version(None, "run-c", "REJECTED"), version(1, "run-a", "RETIRED"),
    ),
    topics.DEPLOYMENTS: (deployment(1, 1), deployment(2, 2)),
    topics.SERVING_STATUS: (status(1, 1, 7), status(2, 2, 9)),
    topics.PREDICTIONS: (prediction(7, 1, event_id="e4"), prediction(9, 2, event_id="e5")),
}  # fmt: skip
