"""Saved state: whoever goes on from it says what an undisturbed monitor says, and reads few rows for it."""

import functools
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import structlog

from millrace.bus.types import TopicPartition
from millrace.contracts import topics
from millrace.contracts.events import MonitorStateSaved
from millrace.contracts.gates_policy import Slice
from millrace.contracts.monitor_policy import Watched, Windows
from millrace.contracts.topics import specs
from services.monitor.saving import PART_BYTES, Saved, StateTopic, compressed
from tests.monitor.processes import (
    POLICY,
    Process,
    deploy,
    outputs,
    share,
    simulate,
    through_kills,
    trained,
    write,
)
from tests.monitor.rollouts import Row, frames, story
from tests.support import World, tiny_project

FRAME_ROWS = 40
RICH = replace(
    POLICY,
    classes=2,
    slices=(Slice(feature="price", bins=3),),
    watch=(
        Watched(on="features", detector="page_hinkley", parameters={"threshold": 5, "delta": 0.01}),
        Watched(on="features", detector="kswin", slices=True, parameters={"window_size": 60, "stat_size": 20}),
        Watched(on="error", detector="ddm"),
        Watched(on="scores", detector="hddm_a"),
    ),
    windows=Windows(window_s=100, rows_min=50, rows_max=200),
    metrics_window_rows=50,
    horizon_rows=200,
    save_every_rows=130,
)
"""All that the monitor does, with save points that lie within frames and at their ends."""


@pytest.fixture
def project(tmp_path):
    """A small model project."""
    return tiny_project(tmp_path)


def everything(make: Any, seed: int = 7) -> list[Any]:
    """A canary and an A/B test, with late, missing, repeated and corrected labels, and a feature that moves."""
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for at, row in enumerate(story(make, seed, "accuracy")):
        if row.line.label is None:
            rows.append(replace(row, line=replace(row.line, price=rng.random() + (at > 600))))
        elif rng.random() > 0.1:
            rows.append(row)
        if row.line.label is not None and rng.random() < 0.1:
            rows.append(replace(row, line=replace(row.line, label=float(rng.integers(2)))))
    return frames(make, rows, range(0, len(rows), FRAME_ROWS))


async def control(world: World) -> None:
    """What other services said before: version 1 is trained and deployed."""
    await trained(world, 1, np.random.default_rng(1).random(500).tolist())
    await deploy(world, 1)


async def left(project: Any, observed: Sequence[Any]) -> World:
    """A world in which a process has taken these frames, and was killed."""
    world = await World.create(project)
    await control(world)
    await write(world, observed)
    process = Process(world, policy=RICH)
    await process.reach(world)
    await process.kill()
    return world


def undisturbed(project: Any, observed: Sequence[Any], partition: int = 0) -> dict[str, list[dict[str, Any]]]:
    """What one process publishes that nothing happens to."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await control(world)
        await write(world, list(observed), partition)
        await Process(world, policy=RICH).reach(world)
        return await outputs(world)

    written: dict[str, list[dict[str, Any]]] = simulate(work)
    return written


def test_the_stream_has_everything(project, make):
    """Or the tests below show less than they say."""
    written = undisturbed(project, everything(make))

    measured = written["model-metrics"]
    assert {1, 2} == {found["version"] for found in measured}
    assert {"", "champion", "candidate"} == {found["variant"] for found in measured}
    assert 4 == len({found["slice"] for found in measured})
    assert any(found["corrected_rows"] for found in measured)
    assert len(measured) == len({found["metrics_id"] for found in measured})
    assert {"training", "before"} <= {drift["compared_with"] for drift in written["drift-events"]}
    assert written["rollout-evidence"]


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_monitor_says_what_an_undisturbed_one_says(project, make, seed):
    """Killed at random, commits lost or unclear: byte for byte the same, but for the times of writing."""
    observed = everything(make)

    with structlog.testing.capture_logs() as lines:
        written = through_kills(project, observed, random.Random(seed), RICH, control)

    assert undisturbed(project, observed) == written
    assert 2 <= sum(line["event"] == "monitor goes on from saved state" for line in lines)


@pytest.mark.parametrize("seed", range(2))
def test_a_partition_that_comes_and_goes_says_what_an_undisturbed_one_says(tmp_path, make, seed):
    """A second process takes it over and gives it back; whoever has it goes on from what the other one saved."""
    project, observed = tiny_project(tmp_path, partitions=2), everything(make)

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await control(world)
        await share(world, observed, random.Random(seed), RICH)
        return await outputs(world)

    with structlog.testing.capture_logs() as lines:
        written = simulate(work)

    assert undisturbed(project, observed, partition=1) == written
    assert 2 <= sum(line["event"] == "monitor goes on from saved state" for line in lines)


@pytest.mark.parametrize("repeats", [1, 4])
def test_a_restart_reads_no_more_of_a_longer_log(project, make, repeats):
    """What is older than the oldest prediction that waits is gone from the log, and nobody misses it."""
    lines = make.lines_of((np.random.default_rng(2).random(600 * repeats) < 0.3).tolist())
    observed = make.cut(lines, range(0, len(lines), FRAME_ROWS), champion_version=1)

    async def work() -> tuple[int, dict[str, list[dict[str, Any]]]]:
        world = await World.create(project)
        await control(world)
        await write(world, observed[:-3])
        first = Process(world, policy=RICH)
        await first.reach(world)
        await first.kill()
        at = TopicPartition(world.topic(topics.OBSERVATIONS), 0)
        needed = (await world.values(topics.MONITOR_STATE))[-1]["join_from_offset"]
        world.log.delete_before(at, needed)
        await write(world, observed[-3:])
        await Process(world, policy=RICH).reach(world)
        return world.log.bounds(at).end - needed, await outputs(world)

    with structlog.testing.capture_logs() as said:
        offsets, written = simulate(work)

    restarts = [line for line in said if line["event"] == "monitor goes on from saved state"]
    assert undisturbed(project, observed) == written
    assert 1 == len(restarts)
    assert restarts[0]["rows_read_again"] <= 2 * RICH.horizon_rows + 2 * FRAME_ROWS
    assert offsets <= 2 * (2 * RICH.horizon_rows + RICH.save_every_rows + 5 * FRAME_ROWS) // FRAME_ROWS


def test_a_state_of_other_settings_is_not_believed(project, make):
    """All is read again, which is said with its reason; nothing is published twice."""
    observed = everything(make)

    async def work() -> tuple[Any, Any]:
        world = await World.create(project)
        await control(world)
        await write(world, observed[:20])
        first = Process(world, policy=RICH)
        await first.reach(world)
        before = await outputs(world)
        await first.kill()
        await write(world, observed[20:])
        await Process(world, policy=replace(RICH, cool_down_rows=301)).reach(world)
        return before, await outputs(world)

    with structlog.testing.capture_logs() as lines:
        before, after = simulate(work)

    whys = [line["why"] for line in lines if line["event"] == "monitor reads all observations"]
    assert {name: events == after[name][: len(events)] for name, events in before.items()} == dict.fromkeys(after, True)
    assert len(after["model-metrics"]) == len({found["metrics_id"] for found in after["model-metrics"]})
    assert ["nothing is saved", "what is saved belongs to other settings"] == [
        why.split(" in model")[0] for why in whys
    ]


def test_a_state_that_lacks_a_part_is_not_believed(project, make):
    """The one before it is, whatever was left of a larger one."""

    async def work() -> tuple[Any, ...]:
        world = await World.create(project)
        context = world.context("monitor")
        await context.codec.prepare(project, topics.MONITOR_STATE)
        states = StateTopic(context, 0, "hash")
        producer = await context.transport.producer("test")
        noise = random.Random(1)
        large = {"numbers": [noise.random() for _ in range(200_000)]}
        older, newer = Saved(3, 30, 1, 10, large), Saved(5, 50, 1, 10, {**large, "more": 1})
        nothing = await states.newest()
        await producer.commit(states.records(older, 0))
        first = await states.newest()
        parts = states.records(newer, 0)
        await producer.commit(parts[:-1])
        second = await states.newest()
        await producer.commit(parts[-1:])
        other = await StateTopic(context, 0, "other").newest()
        return nothing, first == older, second == older, await states.newest() == newer, other, parts

    nothing, *believed, other, parts = simulate(work)

    assert [True, True, True] == believed
    assert "nothing is saved" == nothing
    assert "other settings" in other
    assert len(parts) >= 3
    assert all(len(part.value) <= PART_BYTES + 1000 for part in parts)
    assert {f"0/{number}".encode() for number in range(len(parts))} == {part.key for part in parts}


def test_a_state_that_cannot_be_read_is_passed_over(project, make):
    """As if there were none: the reason is logged, and all observations are read."""
    observed = everything(make)

    async def work(content: bytes) -> dict[str, list[dict[str, Any]]]:
        world = await left(project, observed[:20])
        newest = MonitorStateSaved(**(await world.values(topics.MONITOR_STATE))[-1])
        context = world.context("monitor")
        await context.codec.prepare(project, topics.MONITOR_STATE)
        broken = newest.model_copy(update={"content": content, "until_sample_offset": newest.until_sample_offset + 1})
        value = context.codec.encode(world.topic(topics.MONITOR_STATE), broken)
        await world.send(topics.MONITOR_STATE, ("0/0", value))
        await write(world, observed[20:])
        await Process(world, policy=RICH).reach(world)
        return await outputs(world)

    expected = undisturbed(project, observed)
    for content in (b"no", compressed(json.dumps({"watch": {}, "alarm": None, "join_from_sample": 0}).encode())):
        with structlog.testing.capture_logs() as lines:
            assert expected == simulate(functools.partial(work, content))
        assert 2 == sum(line["event"] == "monitor reads all observations" for line in lines)


def test_rows_that_the_broker_removed_before_they_were_read_are_reported(project, make):
    """The monitor was away for longer than the log is kept: it goes on, and says from where to where it is blind."""
    observed = everything(make)

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await left(project, observed[:20])
        await write(world, observed[20:])
        at = TopicPartition(world.topic(topics.OBSERVATIONS), 0)
        world.log.delete_before(at, world.log.bounds(at).end - 6)
        world.log._positions.clear()
        second = Process(world, policy=RICH)
        await second.reach(world)
        return await outputs(world)

    alerts = simulate(work)["alerts"]

    assert ["were removed by the broker before they were read"] == [
        alert["message"][-48:] for alert in alerts if alert["reason"] == "unreadable-observations"
    ]


@pytest.mark.parametrize("kept", [True, False], ids=["its position is known", "its position is gone"])
def test_observations_that_were_made_anew_are_taken_from_their_beginning(project, make, *, kept):
    """The topic was deleted while the monitor was away: it says so, and no new frame is passed over in silence."""
    observed = everything(make)

    async def work() -> tuple[dict[str, list[dict[str, Any]]], int]:
        world = await left(project, observed[:20])
        known = len((await outputs(world))["model-metrics"])
        del world.log._topics[world.topic(topics.OBSERVATIONS)]
        for spec in specs(project):
            world.log.create(spec)
        positions = dict(world.log._positions)
        world.log._positions.clear()
        world.log._positions |= {key: at for key, at in positions.items() if kept and key[0].endswith("-published")}
        for part in (observed[20:21], observed[21:]):  # the new topic is first shorter than the old one, then longer
            await write(world, part)
            process = Process(world, policy=RICH)
            await process.reach(world)
            await process.kill()
        return await outputs(world), known

    found, known = simulate(work)
    offsets = [each["until_offset"] for each in found["model-metrics"]]

    assert [True] == [
        "it was made anew" in alert["message"]
        for alert in found["alerts"]
        if alert["reason"] == "unreadable-observations"
    ]
    assert len(offsets) > known
    assert max(offsets) > observed[-2].from_offset
    assert len(offsets) == len({each["metrics_id"] for each in found["model-metrics"]})
