"""Records in the topic of the deployments that are none of the registry's: they change nothing, before and after."""

import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.stores.artifacts import ArtifactStore
from tests.onnx_models import classifier
from tests.serving.scene import deployment, sample, serving, write
from tests.support import World, tiny_project, until


async def epochs(world: World) -> list[int]:
    """Of the predictions so far."""
    return [one["epoch"] for one in await world.values(topics.PREDICTIONS)]


async def foreign(world: World, kind: str) -> tuple[str, bytes]:
    """A record as (key, value)."""
    if kind == "unreadable":
        return "tiny", b"\x00\x00\x00\x00\x01rubbish"
    row, event = deployment(world, 1000, "ab" * 32)
    codec = Codec(world.schemas)
    await codec.prepare(world.project, row)
    return "another", codec.encode(world.topic(row), event)


@pytest.mark.parametrize("kind", ["unreadable", "under another key"])
async def test_what_the_registry_does_not_read_does_not_hold_up_its_decisions(tmp_path, kind):
    """Epoch 2 takes effect after it, and again after a restart: an epoch that nobody answers must not be the newest."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(classifier())
    await write(world, deployment(world, 1, digest))
    async with serving(world, tmp_path):
        await write(world, sample(0))
        await until(lambda: epochs(world), 1)
        await world.send(topics.DEPLOYMENTS, await foreign(world, kind))
        await write(world, deployment(world, 2, digest))
        await until(lambda: in_force(world, 2), 1)
        await write(world, sample(1))
        await until(lambda: epochs(world), 2)
    async with serving(world, tmp_path):
        await write(world, deployment(world, 3, digest))
        await until(lambda: in_force(world, 3), 1)
        await write(world, sample(2))
        await until(lambda: epochs(world), 3)

    assert [1, 2, 3] == await epochs(world)
    assert {1, 2, 3} == {one["epoch"] for one in await world.values(topics.SERVING_STATUS)}


async def in_force(world: World, epoch: int) -> list[int]:
    """That epoch, once a lane serves it."""
    return [one["epoch"] for one in await world.values(topics.SERVING_STATUS) if one["epoch"] == epoch]
