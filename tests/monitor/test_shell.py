"""The monitor on the memory bus: exactly once through kills, unclear commits, rebalances and second processes."""

import asyncio
import functools
import random
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import FencedError
from millrace.contracts.events import RetrainModel
from tests.monitor.processes import (
    POLICY,
    Process,
    caught_up,
    deploy,
    fail,
    outputs,
    share,
    simulate,
    through_kills,
    write,
)
from tests.support import World, tiny_project

SEEDS = range(5)  # 1 s each
FRAME_LINES = 40


def drifting(make: Any) -> list[Any]:
    """Frames of 1000 labelled rows, the error rising at 400 for good."""
    wrong = np.random.default_rng(2).random(1000) < np.where(np.arange(1000) < 400, 0.1, 0.7)
    lines = make.lines_of(wrong.tolist())
    frames: list[Any] = make.cut(lines, range(0, len(lines), FRAME_LINES))
    return frames


@pytest.fixture
def project(tmp_path):
    """A small model project."""
    return tiny_project(tmp_path)


@pytest.fixture
def undisturbed(project, make):
    """What one process publishes that nothing happens to."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await write(world, drifting(make))
        await Process(world).reach(world)
        return await outputs(world)

    return simulate(work)


def test_everything_is_published(undisturbed):
    """Metrics five times in a window, the drift, one request, and alerts for the drift and for its outliving it."""
    assert [20 * number for number in range(1, 51)] == [found["total_rows"] for found in undisturbed["model-metrics"]]
    assert ["ADWIN", "persisting"] == [drift["detector"] for drift in undisturbed["drift-events"]]
    assert 1 == len(undisturbed["retrain-requests"])
    assert ["WARNING", "CRITICAL"] == [alert["severity"] for alert in undisturbed["alerts"]]


@pytest.mark.parametrize("seed", SEEDS)
def test_kills_and_unclear_commits_change_nothing(project, make, undisturbed, seed):
    """Killed at random while frames arrive, commits lost or unanswered: what is published is the same, and once."""
    assert undisturbed == through_kills(project, drifting(make), random.Random(seed))


def test_two_processes_ask_for_one_retrain(tmp_path, make):
    """Both partitions drift at the same moment, each watched by a process of its own: one request for the model."""

    async def work(seed: int) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        world = await World.create(tiny_project(tmp_path, partitions=2))
        pair = [Process(world, random.Random(seed * 2 + number)) for number in (0, 1)]
        await asyncio.sleep(1)
        for partition in (0, 1):
            await write(world, drifting(make), partition)
        await caught_up(world, *pair)
        assert [1, 1] == [len(process.service._partitions) for process in pair]
        return world.log.fenced, await outputs(world)

    fenced = 0
    for seed in SEEDS:
        refused, written = simulate(functools.partial(work, seed))
        fenced += refused
        assert 1 == len(written["retrain-requests"])
        assert [0, 0, 1, 1] == sorted(drift["partition"] for drift in written["drift-events"])
    assert fenced, "they must have met at least once, or this shows nothing"


def test_who_lost_a_partition_is_fenced_and_ends(project, make):
    """A process that wakes up after another took its partition over writes nothing more."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:10])
        zombie = Process(world)
        await zombie.reach(world)
        await world.transport().producer(f"millrace.monitor.{project.model}.0")
        before = await outputs(world)
        await write(world, frames[10:20])
        with pytest.raises(FencedError):
            await zombie.task
        assert before == await outputs(world)
        return before

    assert simulate(work)["model-metrics"]


def test_an_alarm_of_who_lost_the_partition_is_not_repeated(project, make, undisturbed):
    """Alarms go through the model's own id, which is free to take: the published position stops the zombie there."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:22])  # the next one holds the alarm
        zombie = Process(world)
        await zombie.reach(world)
        await zombie.kill()
        zombie.transport.crashed = False  # it was only paused
        await write(world, frames[22:])
        await Process(world).reach(world)
        for record in (await world.records(topics.OBSERVATIONS))[22:]:
            await zombie.service._handle(record)
        return await outputs(world)

    assert undisturbed == simulate(work)


def test_a_failed_retrain_is_followed_by_another_only_after_the_cool_down(project, make, undisturbed):
    """The error stays high: asked again, exactly one cool-down of labelled rows later."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:23])
        process = Process(world)
        await process.reach(world)
        await fail(world, undisturbed["retrain-requests"][0]["request_id"])
        await write(world, frames[23:])
        await process.reach(world)
        return await outputs(world)

    written = simulate(work)

    marks = [request["until"][0]["offset"] for request in written["retrain-requests"]]
    assert [895 + 1, 895 + 1 + 2 * POLICY.cool_down_rows] == marks
    assert undisturbed["drift-events"] == written["drift-events"], "what is found does not depend on what is open"


def test_an_alarm_during_an_open_retrain_is_not_lost(project, make, undisturbed):
    """The error persists while a retrain is open: when that one is rejected, the later alarm asks, once."""

    async def work(*, crash: bool) -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:-2])
        process = Process(world)
        await process.reach(world)
        await fail(world, undisturbed["retrain-requests"][0]["request_id"])
        if crash:
            await process.kill()
            process = Process(world)
        await asyncio.sleep(2)
        for frame in frames[-2:]:
            await write(world, [frame])
            await process.reach(world)
            await asyncio.sleep(2)
        return await outputs(world)

    alarms = [drift for drift in undisturbed["drift-events"] if drift["severity"] == "ALARM"]
    assert len(alarms) >= 2, "the error must persist, or the test shows nothing"
    for crash in (False, True):
        written = simulate(functools.partial(work, crash=crash))
        assert [alarms[0]["drift_id"], alarms[-1]["drift_id"]] == [
            request["caused_by"] for request in written["retrain-requests"]
        ]
        assert [] == written["retrain-requests"][1]["until"]


def test_a_deployment_never_triggers_a_retrain(project, make):
    """The retrain is answered by a version with another error, higher or lower: no request follows."""

    async def work(rate: float) -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)[:23]
        errors = np.random.default_rng(3).random(1000) < rate
        lines = [make.line(f"v2-{line.event_id}", line.label, version=2) for line in make.lines_of(errors.tolist())]
        await deploy(world, 1)
        await write(world, frames)
        process = Process(world, policy=replace(POLICY, persisting_new_version=False))
        await process.reach(world)
        await asyncio.sleep(1)
        await deploy(world, 2)
        await write(world, [make.observed(lines[at : at + 40], 920 + at) for at in range(0, len(lines), 40)])
        await process.reach(world)
        return await outputs(world)

    for rate in (0.05, 0.95):
        written = simulate(functools.partial(work, rate))
        assert 1 == len(written["retrain-requests"])
        assert {1, 2} == {found["version"] for found in written["model-metrics"]}


def test_flapping_opens_one_retrain(project, make):
    """A square wave of errors, and nobody answers: alarms, a cool-down apart, and one request."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        wrong = np.random.default_rng(4).random(3000) < np.where(np.arange(3000) // 250 % 2, 0.7, 0.05)
        await write(world, make.cut(make.lines_of(wrong.tolist()), range(0, 6000, 200)))
        await Process(world).reach(world)
        return await outputs(world)

    written = simulate(work)

    offsets = [drift["sample_offset"] for drift in written["drift-events"]]
    assert len(offsets) >= 3
    assert all(later - earlier >= 2 * POLICY.cool_down_rows for earlier, later in pairwise(offsets))
    assert 1 == len(written["retrain-requests"])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_partition_that_comes_and_goes_loses_nothing(tmp_path, make, seed):
    """A second process takes the partition over and gives it back: the first reads what it missed, published once."""
    project = tiny_project(tmp_path, partitions=2)

    async def work(*, shared: bool) -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        if shared:
            await share(world, drifting(make), random.Random(seed))
        else:
            await write(world, drifting(make), partition=1)
            await Process(world).reach(world)
        return await outputs(world)

    assert simulate(functools.partial(work, shared=False)) == simulate(functools.partial(work, shared=True))


def test_a_forgotten_position_repeats_nothing(project, make, undisturbed):
    """The broker has forgotten how far was read and published: the monitor's own output tells, in mid-log."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:30])
        first = Process(world)
        await first.reach(world)
        await first.kill()
        assert world.log._positions
        world.log._positions.clear()
        await write(world, frames[30:])
        await Process(world).reach(world)
        return await outputs(world)

    assert undisturbed == simulate(work)


def test_an_open_retrain_of_anybody_holds_back(project, make):
    """An operator has asked already: the drift is published, the request is not."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        codec = Codec(world.schemas)
        await codec.prepare(world.project, topics.RETRAIN_REQUESTS)
        request = RetrainModel(
            request_id="by-hand", model=project.model, reason="OPERATOR", caused_by=None, message="",
            since_time_ms=None, until=(), requested_by="anna", requested_at_ms=world.clock.now_ms(),
        )  # fmt: skip
        await world.send(topics.RETRAIN_REQUESTS, (project.model, codec.encode("retrain-requests", request)))
        await write(world, drifting(make))
        await Process(world).reach(world)
        return await outputs(world)

    written = simulate(work)

    assert ["by-hand"] == [request["request_id"] for request in written["retrain-requests"]]
    assert "by-hand is open already" in written["alerts"][0]["message"]


def test_garbage_is_reported_once_and_passed_over(project, make, undisturbed):
    """Neither bytes that are no event nor a frame that is none stop the monitor, in the first run or in a replay."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        frames = drifting(make)
        await write(world, frames[:5])
        await world.send(topics.OBSERVATIONS, ("0", b"garbage"))
        await write(world, [frames[5].model_copy(update={"frame": b"garbage"}), *frames[5:]])
        for _ in range(2):
            process = Process(world)
            await process.reach(world)
            await process.kill()
        return await outputs(world)

    written = simulate(work)

    reasons = [alert["reason"] for alert in written["alerts"]]
    assert ["unreadable-observations"] * 2 + ["drift", "drift-persists"] == reasons
    assert undisturbed["model-metrics"] == written["model-metrics"]


def test_ready_once_the_bus_answers(project):
    """Before, the failing check has a name and a reason."""

    async def work() -> tuple[Any, Any]:
        world = await World.create(project)
        process = Process(world)
        before = process.service.checks()
        await asyncio.sleep(1)
        return before, process.service.checks()

    before, after = simulate(work)

    assert before["bus"] is not None
    assert {"bus": None} == after
