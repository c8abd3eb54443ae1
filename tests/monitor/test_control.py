"""Control: what was decided about the model, and what its versions were trained on."""

from typing import Any

import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from services.monitor.control import PROFILES_KEPT, Control
from tests.monitor.processes import answer, deploy, simulate, trained
from tests.support import World, tiny_project


@pytest.fixture
def project(tmp_path):
    """A small model project."""
    return tiny_project(tmp_path)


async def fresh(world: World) -> Control:
    """Of a process that has just begun."""
    context = world.context("monitor")
    await context.codec.prepare(world.project, topics.TRAINING_PROFILES)
    return Control(context)


def test_a_version_has_the_profile_of_its_run(project):
    """Known once it is asked about, and not before; a version that nobody trained here has none."""

    async def work() -> list[Any]:
        world = await World.create(project)
        control = await fresh(world)
        await control.refresh()
        await trained(world, 3, [0.25, 0.75])
        before = control.profile(3)
        await control.know(3)
        await control.know(4)
        found = control.profile(3)
        assert found is not None
        return [before, found.run_id, found.features["price"].tolist(), control.profile(4)]

    assert [None, "run 3", [0.25, 0.75], None] == simulate(work)


def test_profiles_of_others_and_broken_ones_are_left_out(project):
    """Another model's, under the same run; and one whose frames are none, which is logged."""

    async def work() -> list[Any]:
        world = await World.create(project)
        await trained(world, 3, [0.25])
        await trained(world, 4, [0.5])
        raw = (await world.values(topics.TRAINING_PROFILES))[0]
        codec = Codec(world.schemas)
        await codec.prepare(project, topics.TRAINING_PROFILES)
        foreign = codec.encode_record("training-profiles", {**raw, "model": "other", "frame": b""})
        await world.send(topics.TRAINING_PROFILES, ("other", foreign))
        await answer(world, topics.TRAINING_PROFILES, **{**raw, "run_id": "run 4", "frame": b"no frame"})
        control = await fresh(world)
        await control.refresh()
        found = control.profile(3)
        assert found is not None
        return [found.features["price"].tolist(), control.profile(4)]

    assert [[0.25], None] == simulate(work)


def test_the_newest_profiles_are_kept_and_the_champions(project):
    """However many runs there are, memory is bounded, and the version that serves can be compared."""

    async def work() -> list[bool]:
        world = await World.create(project)
        await trained(world, 1, [0.5])
        await deploy(world, 1)
        control = await fresh(world)
        await control.refresh()
        for version in range(2, PROFILES_KEPT + 3):
            await trained(world, version, [0.5])
        await control.refresh()
        return [control.profile(version) is not None for version in (1, 2, 3, 4, PROFILES_KEPT + 2)]

    assert [True, False, False, True, True] == simulate(work)
