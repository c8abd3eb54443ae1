"""The registry on the memory bus: redelivery, unclear commits, takeovers, artefacts, poison."""

import asyncio
import math
import random

import pytest

from millrace.contracts import topics
from millrace.contracts.errors import ArtifactStoreUnavailableError, ContractError, FencedError
from millrace.contracts.events import DeploymentDecided, ModelVersionChanged
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.metrics import VERSIONS_DECIDED
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.support import World, tiny_project

ENTRY = ["REGISTERED", "PROMOTED", "PROMOTED"]  # in development, test and production
LIFE_OF_TWO = [*ENTRY, *ENTRY, "RETIRED"]


@pytest.fixture
async def world(tmp_path):
    """A log with the tiny project's topics."""
    return await World.create(tiny_project(tmp_path / "project"))


@pytest.fixture
def digest(tmp_path):
    """A model file in the registry's store."""
    return ArtifactStore(tmp_path / "artifacts").put(b"a model")


def statuses(changes):
    """The statuses of version changes, in log order."""
    return [change["status"] for change in changes]


def counted(status):
    """How many decisions the metric has counted."""
    return VERSIONS_DECIDED.labels("tiny", status)._value.get()


async def test_a_first_and_a_better_model_are_deployed(world, tmp_path, digest):
    """From run to deployment: two versions, two epochs, the artefact's digest, one audit entry each."""
    before = counted("REGISTERED")
    async with registry(world, tmp_path) as service:
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
        await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
        changes = await until_decided(world, 2)
        await ready(service)
    deployments = await world.values(topics.DEPLOYMENTS)
    audits = await world.values(topics.AUDIT_EVENTS)

    assert LIFE_OF_TWO == statuses(changes)
    assert [(1, 1, digest), (2, 2, digest)] == [
        (row["epoch"], row["traffic"][0]["version"], row["traffic"][0]["artifact_sha256"]) for row in deployments
    ]
    assert [row["deployment_id"] for row in deployments] == [row["caused_by"] for row in audits]
    assert {b"registry"} == {record.key for record in await world.records(topics.AUDIT_EVENTS)}
    assert {b"tiny"} == {record.key for record in await world.records(topics.DEPLOYMENTS)}
    assert 2 == counted("REGISTERED") - before


async def test_redelivery_and_restart_decide_nothing_twice(world, tmp_path, digest):
    """The same run again, before and after a restart that forgot its group position, changes nothing."""
    run = make_run(artifact_sha256=digest)
    await append(world, topics.TRAINING_RUNS, run, run)
    async with registry(world, tmp_path):
        await until_decided(world, 1)
    world.log._positions.clear()
    marker = make_run("run-2", against=1, metrics={"accuracy": 0.1}, artifact_sha256=digest)
    await append(world, topics.TRAINING_RUNS, run, marker)
    async with registry(world, tmp_path):
        changes = await until_decided(world, 2)

    assert [*ENTRY, "REJECTED"] == statuses(changes)


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_an_unclear_commit_is_read_back_and_ends_in_one_decision(world, tmp_path, digest, fault):
    """Whether the transaction had happened or not: all of it is in the log, once."""
    faults = []
    world.log.commit_fault = lambda owner: faults.pop() if faults and owner == "millrace.registry.tiny" else None
    async with registry(world, tmp_path) as service:
        for number, run in enumerate([make_run(artifact_sha256=digest),
                                      make_run("run-2", against=1, artifact_sha256=digest)]):  # fmt: skip
            faults.append(fault)
            await append(world, topics.TRAINING_RUNS, run)
            changes = await until_decided(world, number + 1)
            await ready(service)

            assert [] == faults
    assert LIFE_OF_TWO == statuses(changes)
    assert [1, 2] == [row["epoch"] for row in await world.values(topics.DEPLOYMENTS)]
    assert 2 == len(await world.values(topics.AUDIT_EVENTS))
    assert [] == await world.values(topics.ALERTS)


@pytest.mark.parametrize("seed", range(3))
async def test_any_sequence_of_faults_restarts_and_redeliveries_ends_in_one_life(world, tmp_path, digest, seed):
    """Commits lost or unanswered half of the time, restarts, group positions forgotten: as if nothing had happened."""
    rng = random.Random(seed)
    injected = []

    def fault(owner):
        """An unclear end for every other commit of the registry; the test's own commits are left alone."""
        if owner != "millrace.registry.tiny" or rng.random() < 0.5:
            return None
        injected.append(rng.choice(["lost", "unanswered"]))
        return injected[-1]

    world.log.commit_fault = fault
    sent, champion = [], None
    for number in range(1, 7):
        good = rng.random() < 0.7
        fresh = make_run(f"run-{number}", against=champion, artifact_sha256=digest,
                         metrics={"accuracy": 0.9 if good else 0.1})  # fmt: skip
        champion = (champion or 0) + 1 if good else champion
        sent.append(fresh)
        await append(world, topics.TRAINING_RUNS, fresh, *rng.sample(sent, k=min(len(sent), 2)))
        if rng.random() < 0.5:
            world.log._positions.clear()
        async with registry(world, tmp_path):
            changes = await until_decided(world, number)
    decided = [change["run_id"] for change in changes if change["status"] in {"REGISTERED", "REJECTED"}]
    epochs = [row["epoch"] for row in await world.values(topics.DEPLOYMENTS)]

    assert {"lost", "unanswered"} == set(injected)
    assert [run.run_id for run in sent] == decided
    assert list(range(1, champion + 1)) == epochs
    assert 1 == statuses(changes).count("REGISTERED") - statuses(changes).count("RETIRED")
    assert 2 * champion == statuses(changes).count("PROMOTED")
    assert champion == len(await world.values(topics.AUDIT_EVENTS))


async def test_a_second_process_waits_then_takes_over_and_the_first_is_fenced(world, tmp_path, digest):
    """The standby fences nobody while the first lives; after a takeover the first's next commit ends it."""
    async with registry(world, tmp_path, name="first") as first:
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
        async with registry(world, tmp_path, name="second") as second:
            await ready(second)
            fenced = world.log.fenced
            await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
            await until_decided(world, 2)

            assert fenced == world.log.fenced
            # What a pause longer than the session does: the other one owns the id, this one still holds a record.
            await second._decider._take_over()
            await append(world, topics.TRAINING_RUNS, make_run("run-3", against=2, artifact_sha256=digest))
            await until(first.task.done)
            changes = await until_decided(world, 3)

            assert isinstance(first.task.exception(), FencedError)
    assert 3 == statuses(changes).count("REGISTERED")
    assert [1, 2, 3] == [row["epoch"] for row in await world.values(topics.DEPLOYMENTS)]


@pytest.mark.parametrize("damage", ["missing", "damaged"])
async def test_an_artefact_that_is_not_whole_is_refused_with_an_alert(world, tmp_path, digest, damage):
    """The file is looked at before a version is admitted; the reason says what is wrong with it."""
    path = next((tmp_path / "artifacts").rglob(digest))
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"a mode1")
    await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
    async with registry(world, tmp_path):
        changes = await until_decided(world, 1)

    assert ["REJECTED"] == statuses(changes)
    assert ("is missing" if damage == "missing" else "is damaged") in changes[0]["reasons"][0]
    assert ["alert/artifact-refused/run-1"] == [alert["alert_id"] for alert in await world.values(topics.ALERTS)]


class Silent(ArtifactStore):
    """A store that does not answer until told."""

    answers = False

    def get(self, digest):
        """The content, or what an unreachable store raises."""
        if not self.answers:
            raise ArtifactStoreUnavailableError("no route to host")
        return super().get(digest)


async def test_a_store_that_does_not_answer_rejects_nobody(world, tmp_path, digest):
    """An outage is not a verdict: the run waits, readiness says why, and then it is admitted."""
    store = Silent(tmp_path / "artifacts")
    await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
    async with registry(world, tmp_path, artifacts=store) as service:
        waiting = await until(lambda: service.checks()["artifacts"])
        store.answers = True
        changes = await until_decided(world, 1)
        await ready(service)

    assert "no route to host" == waiting
    assert ENTRY == statuses(changes)


async def test_decisions_do_not_wait_for_the_database(world, tmp_path, digest):
    """A database that cannot be opened is a failing check, and nothing else."""
    (tmp_path / "file").write_text("no folder")
    await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
    async with registry(world, tmp_path, database_url=f"sqlite:///{tmp_path / 'file' / 'registry.db'}") as service:
        changes = await until_decided(world, 1)
        await until(lambda: service.checks()["bus"] is None)
        checks = service.checks()

    assert ENTRY == statuses(changes)
    assert checks["database"] is not None


async def test_blocking_calls_run_in_threads_as_in_a_process(world, tmp_path, digest):
    """With real threads, as processes run it, and two of them on one database file: the same life, both up to date."""
    async with (
        registry(world, tmp_path, name="first", in_thread=asyncio.to_thread) as first,
        registry(world, tmp_path, name="second", in_thread=asyncio.to_thread) as second,
    ):
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
        await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
        changes = await until_decided(world, 2)
        await ready(first)
        await ready(second)

    assert LIFE_OF_TWO == statuses(changes)


async def test_a_run_that_cannot_be_read_raises_an_alert_and_the_next_is_decided(world, tmp_path, digest):
    """Poison on the runs' topic is told to the operator once, and holds nobody up."""
    await world.send(topics.TRAINING_RUNS, ("tiny", b"not avro"), ("other", b"not avro either"))
    await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
    async with registry(world, tmp_path):
        await until_decided(world, 1)
    alerts = await world.values(topics.ALERTS)

    assert [("undecodable-run", "alert/undecodable-run/training-runs/0")] == [
        (alert["reason"], alert["alert_id"]) for alert in alerts
    ]


async def test_a_registry_that_cannot_read_its_own_log_does_not_start(world, tmp_path):
    """With a hole in what it decided it might decide again: it stops with the reason instead."""
    await world.send(topics.MODEL_VERSIONS, ("tiny", b"not avro"))
    async with registry(world, tmp_path) as service:
        await until(service.task.done)

    assert isinstance(service.task.exception(), ContractError)


async def test_an_old_deployment_in_the_log_is_ignored_with_an_alert(world, tmp_path, digest):
    """A replayed deployment event does not bring an old version back."""
    async with registry(world, tmp_path):
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
        await append(world, topics.TRAINING_RUNS, make_run("run-2", against=1, artifact_sha256=digest))
        await until_decided(world, 2)
    old = DeploymentDecided(**(await world.values(topics.DEPLOYMENTS))[0])
    await append(world, topics.DEPLOYMENTS, old)
    await append(world, topics.TRAINING_RUNS, make_run("run-3", against=2, artifact_sha256=digest))
    async with registry(world, tmp_path) as service:
        await until_decided(world, 3)
        champion = service._decider.state.champion

    assert 3 == champion
    assert ["event-ignored"] == [alert["reason"] for alert in await world.values(topics.ALERTS)]


async def test_another_models_life_on_the_same_topics_is_none_of_its_business(world, tmp_path, digest):
    """Platform topics carry every model; numbers and epochs are each model's own."""
    strange = ModelVersionChanged(
        change_id="version/other/7/REGISTERED", model="other", version=7, status="REGISTERED", run_id="run-1",
        artifact_sha256=None, feature_set="f", metrics={"mae": math.nan}, reasons=(), caused_by="run-1",
        changed_at_ms=1,
    )  # fmt: skip
    await append(world, topics.MODEL_VERSIONS, strange)
    await append(world, topics.TRAINING_RUNS, make_run(model="other"), make_run(artifact_sha256=digest))
    async with registry(world, tmp_path) as service:
        await until(lambda: service._decider.state.versions)
        versions = list(service._decider.state.versions)

    assert [1] == versions


async def test_it_is_not_ready_before_it_has_read_the_log(world, tmp_path):
    """Readiness names the bus and the database until both have answered."""
    async with registry(world, tmp_path) as service:
        first = service.checks()
        await ready(service)
        await asyncio.sleep(0)

    assert {"bus": "the log has not been read yet", "artifacts": None, "database": "not opened yet"} == first
