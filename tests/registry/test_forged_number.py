"""A forged deployment may name a version that is yet to come; when it comes, it is none the worse for that."""

from millrace.contracts import topics
from millrace.stores.artifacts import ArtifactStore
from services.registry.keys import load_signers
from tests.registry.runs import append, make_run, registry, until_decided
from tests.registry.test_forged import failure, forged, newest
from tests.support import World, tiny_project, until


async def test_a_version_is_not_blamed_for_a_forged_one_of_its_number(tmp_path):
    """Serving refused a forged version 2; the real version 2 takes over all the same."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    async with registry(world, tmp_path, signers=load_signers(tmp_path / "keys", create=True)):
        await append(world, topics.TRAINING_RUNS, make_run("run-1", artifact_sha256=digest))
        await until_decided(world, 1)
        await append(world, topics.DEPLOYMENTS, forged(await newest(world), 2, version=2))
        await append(world, topics.SERVING_STATUS, failure(2).model_copy(update={"version": 2}))
        await until(lambda: world.values(topics.DEPLOYMENTS), 3)
        await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
        rows = await until(lambda: world.values(topics.DEPLOYMENTS), 4)

    assert [(1, 1), (2, 2), (3, 1), (4, 2)] == [(row["epoch"], row["traffic"][0]["version"]) for row in rows]
