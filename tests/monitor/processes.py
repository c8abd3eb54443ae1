"""Processes of the monitor on the memory bus, in virtual time, and the answers of other services."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from millrace.bus.context import Context
from millrace.bus.memory import MemoryTransport
from millrace.bus.types import TopicPartition
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DeploymentDecided,
    ModelVersionChanged,
    TrainingProfileRecorded,
    TrainingRunChanged,
)
from millrace.contracts.profile import encode_rows
from millrace.contracts.project import Project
from millrace.sim.virtual_time import run
from services.monitor.policy import Policy
from services.monitor.shell import MonitorService
from tests.support import World

OUTPUTS = (
    topics.MODEL_METRICS, topics.DRIFT_EVENTS, topics.RETRAIN_REQUESTS, topics.ALERTS, topics.ROLLOUT_EVIDENCE,
)  # fmt: skip
POLICY = Policy(
    error_detector="adwin",
    error={"delta": 0.002},
    features={"delta": 1e-4},
    cool_down_rows=300,
    warm_up_rows=50,
    metrics_window_rows=100,
    horizon_rows=1000,
    save_every_rows=130,  # of frames of 40 rows some are cut, some are not
    persisting_margin=0.05,
)


def simulate(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run in virtual time."""
    return run(work())


class Process:
    """One process of the monitor, with a connection of its own."""

    def __init__(self, world: World, rng: random.Random | None = None, policy: Policy = POLICY) -> None:
        self.transport = MemoryTransport(world.clock, rng, log=world.log)
        context = Context(world.project, self.transport, Codec(world.schemas), world.clock, "monitor")
        self.service = MonitorService(context, policy)
        self.task = asyncio.create_task(self.service.run())

    async def reach(self, world: World) -> None:
        """Until the group is at the end of every partition."""
        await caught_up(world, self)

    async def kill(self) -> None:
        """Kill -9: nothing is closed."""
        self.raise_if_ended()
        await self.transport.crash()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def raise_if_ended(self) -> None:
        """Raise what ended it."""
        if self.task.done():
            self.task.result()


async def caught_up(world: World, *processes: Process) -> None:
    """Wait until the monitor's group has taken every record of every partition; one that failed raises its error."""
    topic = world.topic(topics.OBSERVATIONS)
    partitions = [TopicPartition(topic, number) for number in range(world.project.partitions)]
    async with asyncio.timeout(600):
        while any(
            (world.log.position(f"millrace-monitor-{world.project.model}", at) or 0) < world.log.bounds(at).end - 1
            for at in partitions
        ):  # the last offset is a transaction's marker
            for process in processes:
                process.raise_if_ended()
            await asyncio.sleep(0.05)


async def answer(world: World, row: topics.TopicRow, **fields: Any) -> None:
    """Another service's event."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, row)
    kinds = {
        topics.TRAINING_RUNS: TrainingRunChanged,
        topics.DEPLOYMENTS: DeploymentDecided,
        topics.TRAINING_PROFILES: TrainingProfileRecorded,
        topics.MODEL_VERSIONS: ModelVersionChanged,
    }
    event = kinds[row].model_validate({"model": world.project.model, **fields})
    await world.send(row, (world.project.model, codec.encode(row.suffix, event)))


async def fail(world: World, request_id: str) -> None:
    """The trainer's answer that the run failed."""
    await answer(
        world, topics.TRAINING_RUNS, run_id=f"run for {request_id}", status="FAILED", trigger="DRIFT",
        caused_by=request_id, ranges=(), feature_set="", code_hash="", seed=0, train_rows=0, holdout_rows=0,
        duration_s=0.0, changed_at_ms=0,
    )  # fmt: skip


async def deploy(world: World, version: int) -> None:
    """The registry's answer that a new version is deployed."""
    part = {"variant": "champion", "version": version, "share": 1.0, "artifact_sha256": "", "feature_set": ""}
    await answer(
        world, topics.DEPLOYMENTS, deployment_id="", epoch=version, traffic=(part,), scoring_since_ms=0, caused_by="",
        reason="", decided_by="registry", decided_at_ms=world.clock.now_ms(),
    )  # fmt: skip


async def trained(world: World, version: int, prices: list[float]) -> None:
    """The trainer's profile of the rows of a version whose labels are 1 above 0.5, and the registry's word for it."""
    ups = [float(price > 0.5) for price in prices]
    scores = {"score_0": [0.6] * len(prices), "score_1": [0.4] * len(prices)}
    await answer(
        world, topics.TRAINING_PROFILES, profile_id=f"profile/{version}", run_id=f"run {version}", feature_set="",
        rows=len(prices), holdout_rows=len(prices), from_time_ms=0, until_time_ms=0,
        frame=encode_rows({"price": prices, "label": ups}),
        holdout_frame=encode_rows({"price": prices, "label": ups, "value": ups, **scores}), recorded_at_ms=0,
    )  # fmt: skip
    await answer(
        world, topics.MODEL_VERSIONS, change_id=f"change/{version}", version=version, status="REGISTERED",
        run_id=f"run {version}", artifact_sha256=None, feature_set="", metrics={}, reasons=(), caused_by="",
        changed_at_ms=0,
    )  # fmt: skip


async def write(world: World, frames: list[Any], partition: int = 0) -> None:
    """Append frames as serving does: one transaction each, so that offsets have holes."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.OBSERVATIONS)
    for frame in frames:
        value = codec.encode(world.topic(topics.OBSERVATIONS), frame.model_copy(update={"partition": partition}))
        await world.send(topics.OBSERVATIONS, ("0", value), partition=partition)


async def outputs(world: World) -> dict[str, list[dict[str, Any]]]:
    """All that the monitor has written, without the times of writing."""
    return {
        row.suffix: [
            {name: value for name, value in event.items() if not name.endswith("d_at_ms")}
            for event in await world.values(row)
        ]
        for row in OUTPUTS
    }


async def write_slowly(world: World, frames: list[Any], rng: random.Random, partition: int = 0) -> None:
    """Frames one by one, half a second apart on average."""
    for frame in frames:
        await write(world, [frame], partition)
        await asyncio.sleep(rng.random())


async def share(world: World, frames: list[Any], rng: random.Random, policy: Policy = POLICY) -> None:
    """Write frames of partition 1, of two, while a second process takes that one over and gives it back.

    It fails if it was not taken over again and again.
    """
    taken = 0
    first = Process(world, random.Random(rng.random()), policy)
    writing = asyncio.create_task(write_slowly(world, frames, rng, partition=1))
    while not writing.done():
        await asyncio.sleep(rng.random() * 3)
        second = Process(world, random.Random(rng.random()), policy)
        await asyncio.sleep(rng.random() * 3)
        taken += 1 in second.service._partitions
        second.task.cancel()
        await asyncio.gather(second.task, return_exceptions=True)
    await first.reach(world)
    assert taken >= 2, "the partition must have come and gone"


async def nothing(world: World) -> None:
    """No other service has said anything."""


def through_kills(
    project: Project,
    frames: list[Any],
    rng: random.Random,
    policy: Policy = POLICY,
    before: Callable[[World], Coroutine[Any, Any, None]] = nothing,
) -> dict[str, list[dict[str, Any]]]:
    """What is written in the end, though the monitor is killed at random while frames arrive, commits lost or unclear.

    It fails if the kills and the faults did not happen.
    """
    kills: list[int] = []
    faults: list[str] = []

    def fault(owner: str) -> Any:
        if not owner.startswith("millrace.monitor") or rng.random() > 0.2:
            return None
        faults.append(rng.choice(["lost", "unanswered"]))
        return faults[-1]

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await before(world)
        world.log.commit_fault = fault
        writing = asyncio.create_task(write_slowly(world, frames, rng))
        while not writing.done():
            process = Process(world, random.Random(rng.random()), policy)
            await asyncio.sleep(6 + rng.random() * 4)  # the group waits 6 s for the dead
            partition = process.service._partitions.get(0)
            kills.append(partition.next_offset if partition else 0)
            await process.kill()
        await writing
        await Process(world, policy=policy).reach(world)
        return await outputs(world)

    written: dict[str, list[dict[str, Any]]] = simulate(work)
    assert len(kills) >= 3, "the kills must have happened"
    assert len(set(kills)) >= 2, "at more than one place"
    assert len(faults) >= 3, "the faults must have happened"
    return written
