"""Evidence about rollouts on the memory bus: each piece published once, whatever happens to the monitor."""

import random
from typing import Any

import pytest

from tests.monitor.processes import Process, outputs, simulate, through_kills, write
from tests.monitor.rollouts import ROWS, frames, scored, story
from tests.support import World, tiny_project

FRAME_ROWS = 30


@pytest.fixture
def project(tmp_path):
    """A small model project."""
    return tiny_project(tmp_path)


def tried_out(make: Any) -> list[Any]:
    """Frames of a canary, then of an A/B test."""
    return frames(make, story(make, 7, "accuracy"), range(0, ROWS, FRAME_ROWS))


def unlabelled(make: Any) -> list[Any]:
    """Frames of a canary whose labels never come: only evidence about the rollout can be published of it."""
    variants = tuple(
        each.model_copy(update={"scored_rows": FRAME_ROWS})
        for each in (scored("champion", 1, answered=True), scored("candidate", 2, answered=False))
    )
    about = {"epoch": 2, "champion_version": 1, "rollout_id": "rollout/tiny/2", "variants": variants}
    lines = [make.line(f"e{at}", other_version=2, other_value=1.0) for at in range(20 * FRAME_ROWS)]
    cuts = range(0, len(lines), FRAME_ROWS)
    observed: list[Any] = make.cut(lines, cuts, **about)
    return observed


def undisturbed(project: Any, observed: list[Any]) -> dict[str, list[dict[str, Any]]]:
    """What one process publishes that nothing happens to."""

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await write(world, observed)
        await Process(world).reach(world)
        return await outputs(world)

    written: dict[str, list[dict[str, Any]]] = simulate(work)
    return written


def test_evidence_is_published(project, make):
    """Of both rollouts, each piece with an id of its own, in the order of the log."""
    written = undisturbed(project, tried_out(make))["rollout-evidence"]

    assert {"rollout/m/2", "rollout/m/5"} == {found["rollout_id"] for found in written}
    assert len(written) == len({found["evidence_id"] for found in written})
    assert sorted(found["until_offset"] for found in written) == [found["until_offset"] for found in written]
    assert {"champion", "candidate"} == {arm["variant"] for arm in written[-1]["arms"]}


@pytest.mark.parametrize("seed", range(3))
def test_kills_and_unclear_commits_change_nothing(project, make, seed):
    """Killed at random while frames arrive, commits lost or unanswered: the same evidence, and once."""
    observed = tried_out(make)

    assert undisturbed(project, observed) == through_kills(project, observed, random.Random(seed))


def test_a_forgotten_position_repeats_no_evidence(project, make):
    """The broker has forgotten how far was published, and nothing was but evidence: that tells."""
    observed = unlabelled(make)
    expected = undisturbed(project, observed)

    async def work() -> dict[str, list[dict[str, Any]]]:
        world = await World.create(project)
        await write(world, observed[:11])
        first = Process(world)
        await first.reach(world)
        await first.kill()
        world.log._positions.clear()
        await write(world, observed[11:])
        await Process(world).reach(world)
        return await outputs(world)

    assert len(expected["rollout-evidence"]) >= 10
    assert not expected["model-metrics"]
    assert expected == simulate(work)
