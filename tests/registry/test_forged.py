"""A deployment that somebody else has written: never in force, told to an operator, and passed by a greater epoch."""

import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import DeploymentDecided, ServingStatusReported
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import make_key
from services.registry.keys import load_signers, sealed
from tests.registry.runs import append, make_run, registry, until_decided
from tests.support import World, tiny_project
from tests.support import until as until_found


async def newest(world) -> DeploymentDecided:
    """The last record of the deployments."""
    return await Codec(world.schemas).decode(DeploymentDecided, (await world.records(topics.DEPLOYMENTS))[-1].value)


def forged(decided: DeploymentDecided, epoch: int, **part: object) -> DeploymentDecided:
    """The deployment with another file, as somebody would write it who may write to the log."""
    traffic = (decided.traffic[0].model_copy(update={"version": 99, "artifact_sha256": "f" * 64, **part}),)
    return decided.model_copy(update={"epoch": epoch, "deployment_id": f"deployment/tiny/{epoch}", "traffic": traffic})


def failure(epoch: int) -> ServingStatusReported:
    """What serving says to it."""
    return ServingStatusReported(
        model="tiny", process="serving", partition=0, epoch=epoch, version=99, status="FAILED", from_offset=0,
        reason="not signed", reported_at_ms=1,
    )  # fmt: skip


@pytest.fixture
async def world(tmp_path) -> World:
    """A log with the tiny project's topics, and a model in the store."""
    return await World.create(tiny_project(tmp_path / "project"))


@pytest.mark.parametrize("part", [{}, {"signature": None, "key_id": None}], ids=["foreign signature", "no signature"])
@pytest.mark.parametrize("told", [True, False], ids=["serving tells", "nobody tells"])
async def test_what_was_in_force_is_decided_again_under_a_greater_epoch(world, tmp_path, part, told):
    """Whether serving reports it, or the registry finds it by itself; also after a restart, and once only."""
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    signers = load_signers(tmp_path / "keys", create=True)
    async with registry(world, tmp_path, signers=signers):
        await append(world, topics.TRAINING_RUNS, make_run("run-1", artifact_sha256=digest))
        await until_decided(world, 1)
        await append(world, topics.DEPLOYMENTS, forged(await newest(world), 1000, **part))
        if told:
            await append(world, topics.SERVING_STATUS, failure(1000))
        rows = await until_found(lambda: world.values(topics.DEPLOYMENTS), 3)
    async with registry(world, tmp_path, signers=signers):
        await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
        await until_decided(world, 2)
    rows = await world.values(topics.DEPLOYMENTS)
    alerts = [row for row in await world.values(topics.ALERTS) if row["reason"] == "deployment-forged"]

    assert [(1, 1), (1000, 99), (1001, 1), (1002, 2)] == [(row["epoch"], row["traffic"][0]["version"]) for row in rows]
    assert "RESTORED" == rows[2]["kind"]
    assert rows[0]["traffic"][0]["artifact_sha256"] == rows[2]["traffic"][0]["artifact_sha256"]
    assert alerts
    assert all("deployment/tiny/1000" in alert["message"] for alert in alerts)


async def test_a_key_for_another_space_signs_nothing_here(world, tmp_path):
    """Whoever holds the key of the space test cannot speak for production."""
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    signers = load_signers(tmp_path / "keys", create=True)
    async with registry(world, tmp_path, signers=signers):
        await append(world, topics.TRAINING_RUNS, make_run("run-1", artifact_sha256=digest))
        await until_decided(world, 1)
        other = make_key(tmp_path / "other.pem", "production")
        signed = sealed(forged(await newest(world), 2), {"production": other})
        await append(world, topics.DEPLOYMENTS, signed)
        rows = await until_found(lambda: world.values(topics.DEPLOYMENTS), 3)

    assert [(1, 1), (2, 99), (3, 1)] == [(row["epoch"], row["traffic"][0]["version"]) for row in rows]
