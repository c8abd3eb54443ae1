"""What the tests of serving on the memory bus share: samples, labels, deployments, and a running service."""

import contextlib
import math
from typing import Any

from pydantic import TypeAdapter

from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import DeploymentDecided, SampleRecorded, Traffic
from millrace.contracts.feature_spec import FeatureSpec, feature_set_id
from services.serving.models import Trust
from services.serving.shell import ServingService
from tests.support import EPOCH_MS, MODEL, World, running, until

FEATURE_SET = feature_set_id(TypeAdapter(tuple[FeatureSpec, ...]).validate_python(MODEL["features"]))


def serving(
    world: World, tmp_path, trust: Trust | None = None, max_records: int = 50
) -> contextlib.AbstractAsyncContextManager[ServingService]:
    """A running serving."""
    context = world.context("serving")
    artifacts = str(tmp_path / "artifacts")
    return running(context, ServingService(context, artifacts=artifacts, max_records=max_records, trust=trust))


async def write(world: World, *events: tuple[topics.TopicRow, object]) -> None:
    """Append our own events, as their service would: a model's facts under its name, samples under their entity."""
    context, model = world.context(), world.project.model
    await context.codec.prepare(world.project, *{row for row, _ in events})
    producer = await context.transport.producer("test.write")
    await producer.commit(
        [
            OutRecord(
                world.topic(row),
                model.encode() if row.key == "model" else b"w",
                context.codec.encode(world.topic(row), event),
                0,
            )
            for row, event in events
        ]
    )


def sample(number: int, x: float = 1.0, who: str = "w") -> tuple[topics.TopicRow, SampleRecorded]:
    """An event sample with x as its first feature."""
    return topics.SAMPLES, SampleRecorded(
        kind="EVENT", event_id=f"e{number}", entity=who, time_ms=EPOCH_MS + number, feature_set=FEATURE_SET,
        features=(x, math.nan, 0.0), event=b"raw", label=None, source_topic="tiny-events", source_partition=0,
        source_offset=number, source_time_ms=EPOCH_MS,
    )  # fmt: skip


def label(number: int, value: float) -> tuple[topics.TopicRow, SampleRecorded]:
    """The label sample of that event."""
    return topics.SAMPLES, SampleRecorded(
        kind="LABEL", event_id=f"e{number}", entity="w", time_ms=EPOCH_MS + number, feature_set="", features=(),
        event=None, label=value, source_topic="tiny-labels", source_partition=0, source_offset=number,
        source_time_ms=EPOCH_MS,
    )  # fmt: skip


def deployment(world: World, epoch: int, digest: str, since_ms: int = 0) -> tuple[topics.TopicRow, DeploymentDecided]:
    """A deployment of version ``epoch``."""
    traffic = Traffic(
        variant="champion", version=epoch, share=1.0, artifact_sha256=digest, feature_set=world.project.feature_set
    )
    return topics.DEPLOYMENTS, DeploymentDecided(
        deployment_id=f"deployment/tiny/{epoch}", model="tiny", epoch=epoch, traffic=(traffic,),
        scoring_since_ms=since_ms, caused_by="c", reason="r", decided_by="registry", decided_at_ms=since_ms,
    )  # fmt: skip


async def later(world: World) -> int:
    """A millisecond after every record so far."""
    before_ms = world.clock.now_ms()

    async def passed() -> list[int]:
        return [now_ms] if (now_ms := world.clock.now_ms()) > before_ms else []

    return (await until(passed, 1))[0]


def part(
    world: World, digest: str, version: int, share: float = 1.0, variant: str = "champion", **more: Any
) -> Traffic:
    """A part of a deployment."""
    return Traffic(
        variant=variant, version=version, share=share, artifact_sha256=digest, feature_set=world.project.feature_set,
        **more,
    )  # fmt: skip


def rollout(
    epoch: int, *parts: Traffic, strategy: str = "canary", rollout_id: str | None = "rollout/tiny/2", **more: Any
) -> tuple[topics.TopicRow, DeploymentDecided]:
    """A deployment of these parts."""
    return topics.DEPLOYMENTS, DeploymentDecided(
        deployment_id=f"deployment/tiny/{epoch}", model="tiny", epoch=epoch, traffic=parts, scoring_since_ms=0,
        caused_by="c", reason="r", decided_by="registry", decided_at_ms=0, strategy=strategy, rollout_id=rollout_id,
        **more,
    )  # fmt: skip
