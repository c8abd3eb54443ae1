"""The registry at work on the memory bus: requests first, one decider, time alone, a restart in mid-rollout."""

import asyncio

import pytest

from millrace.contracts import topics
from millrace.contracts.errors import ArtifactStoreUnavailableError, FencedError
from millrace.contracts.events import ArmMeasured, ManageModel, RolloutMeasured
from millrace.sim import virtual_time
from millrace.stores.artifacts import ArtifactStore
from millrace.stores.signing import Verifier
from services.registry.keys import load_signers
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.support import World, tiny_project
from tests.support import until as until_found

CANARY = {"strategy": "canary", "steps": [0.1, 0.5], "step_rows": 50, "give_up_s": 600}


@pytest.fixture
def digest(tmp_path):
    """A model file in the registry's store."""
    return ArtifactStore(tmp_path / "artifacts").put(b"a model")


async def tiny(tmp_path, **changes):
    """A log with the tiny project's topics."""
    return await World.create(tiny_project(tmp_path / "project", **changes))


def request(number, action, **changes):
    """A person's request."""
    fields = {
        "request_id": f"manage/{number}", "model": "tiny", "action": action, "version": None, "space": None,
        "expected_epoch": None, "immediate": False, "reason": "they say so", "requested_by": "ada",
        "requested_at_ms": 1,
    }  # fmt: skip
    return ManageModel(**{**fields, **changes})


async def answers(world, count=1):
    """The answers to requests, once there are that many."""

    async def found():
        return [row for row in await world.values(topics.AUDIT_EVENTS) if row["actor"] != "registry"]

    return await until_found(found, count)


async def kinds(world):
    """The kinds of all deployments."""
    return [row["kind"] for row in await world.values(topics.DEPLOYMENTS)]


async def two_reigned(world, digest):
    """Versions 1 and 2 took over at once."""
    for number, against in ((1, None), (2, 1)):
        await append(world, topics.TRAINING_RUNS, make_run(f"run-{number}", against=against, artifact_sha256=digest))
        await until_decided(world, number)


class Stuck(ArtifactStore):
    """A store that does not answer once told."""

    silent = False

    def get(self, digest):
        """The content, or what an unreachable store raises."""
        if self.silent:
            raise ArtifactStoreUnavailableError("no route to host")
        return super().get(digest)


async def test_a_request_is_answered_while_the_store_leaves_a_run_waiting(tmp_path, digest):
    """Looking at files is done beside; a rollback does not wait for it, and the run is decided once it can be."""
    world, store = await tiny(tmp_path), Stuck(tmp_path / "artifacts")
    async with registry(world, tmp_path, artifacts=store) as service:
        await two_reigned(world, digest)
        store.silent = True
        await append(world, topics.TRAINING_RUNS, make_run("run-3", against=2, artifact_sha256=digest))
        await until(lambda: service.checks()["artifacts"])
        await append(world, topics.REGISTRY_REQUESTS, request(1, "ROLLBACK"))
        (answer,) = await answers(world)
        waiting = list(service._decider.state.pending)
        store.silent = False
        changes = await until_decided(world, 3)

    assert ("ACCEPTED", 3, ["run-3"]) == (answer["outcome"], answer["epoch"], waiting)
    assert ("REJECTED", ["it was compared with version 2, but version 1 is champion now"]) == (
        changes[-1]["status"], changes[-1]["reasons"],
    )  # fmt: skip


async def test_an_answer_and_its_consequences_are_one_transaction(tmp_path, digest):
    """Lost or unanswered: in the end there is one answer and one deployment for each request."""
    world, faults = await tiny(tmp_path), []
    world.log.commit_fault = lambda owner: faults.pop() if faults and owner == "millrace.registry.tiny" else None
    async with registry(world, tmp_path):
        await two_reigned(world, digest)
        for number, (fault, version) in enumerate([("lost", 1), ("unanswered", 2)], start=1):
            faults.append(fault)
            await append(world, topics.REGISTRY_REQUESTS, request(number, "ROLLBACK", version=version))
            await answers(world, number)
    rows = await answers(world, 2)

    assert [] == faults
    assert [("manage/1", 3), ("manage/2", 4)] == [(row["caused_by"], row["epoch"]) for row in rows]
    assert [1, 2, 1, 2] == [row["traffic"][0]["version"] for row in await world.values(topics.DEPLOYMENTS)]


async def test_two_deciders_cannot_both_decide(tmp_path, digest):
    """Both hold the same undecided request; the one that took the id first is fenced, and there is one answer."""
    world = await tiny(tmp_path)
    async with registry(world, tmp_path, name="first") as first:
        await two_reigned(world, digest)
        async with registry(world, tmp_path, name="second") as second:
            await ready(second)
            await second._decider._take_over()  # as after a pause longer than the session
            await append(world, topics.REGISTRY_REQUESTS, request(1, "ROLLBACK"))
            await until(first.task.done)
            await answers(world)

            assert isinstance(first.task.exception(), FencedError)
            assert not second.task.done()
    assert 1 == len(await answers(world))
    assert ["DEPLOYED", "DEPLOYED", "ROLLED_BACK"] == await kinds(world)


def test_time_alone_ends_a_rollout_also_after_a_restart_without_any_record(tmp_path, digest):
    """The owner looks each second; whoever comes after it is handed nothing, and takes over what is overdue."""

    async def story(restarts):
        folder = tmp_path / str(restarts)
        world = await World.create(tiny_project(folder / "project", rollout=CANARY))
        ArtifactStore(folder / "artifacts").put(b"a model")
        async with registry(world, folder):
            await two_reigned(world, digest)
            if not restarts:
                await asyncio.sleep(700)
                return await kinds(world)
        await asyncio.sleep(700)
        async with registry(world, folder) as service:
            await ready(service)
            await asyncio.sleep(5)
            early = await kinds(world)
            await asyncio.sleep(10)
            return early, await kinds(world)

    begun = ["DEPLOYED", "ROLLOUT_STARTED"]

    assert [*begun, "ROLLED_BACK"] == virtual_time.run(story(restarts=False))
    assert (begun, [*begun, "ROLLED_BACK"]) == virtual_time.run(story(restarts=True))


def measured(rollout_id, epoch, offset):
    """What the monitor says about one row."""
    arm = {
        name: 1 for name in ArmMeasured.model_fields if name not in {"variant", "mode", "loss_sum", "loss_squares_sum"}
    }
    return RolloutMeasured(
        evidence_id=f"evidence/tiny/{rollout_id}/{epoch}/0/{offset}", model="tiny", rollout_id=rollout_id, epoch=epoch,
        partition=0, until_offset=offset, until_time_ms=1, measured_at_ms=1, pairs=(),
        arms=(ArmMeasured(variant="champion", mode="LIVE", loss_sum=0.0, loss_squares_sum=0.0, **arm),),
    )  # fmt: skip


def test_a_restart_reads_the_measurements_of_the_rollout_under_way_only(tmp_path, digest):
    """However many there were before it; what came after its beginning is known again."""

    async def story():
        world = await World.create(tiny_project(tmp_path / "project", rollout=CANARY))
        old = [measured("rollout/tiny/0", 0, offset) for offset in range(1, 300)]
        await append(world, topics.ROLLOUT_EVIDENCE, *old)
        await asyncio.sleep(3600)
        async with registry(world, tmp_path):
            await two_reigned(world, digest)
            await append(world, topics.ROLLOUT_EVIDENCE, measured("rollout/tiny/2", 2, 9))
            await asyncio.sleep(1)
        async with registry(world, tmp_path) as service:
            await ready(service)
            return service._decider.state

    state = virtual_time.run(story())

    assert ["rollout/tiny/2"] == list(state.evidence)
    assert "evidence/tiny/rollout/tiny/2/2/0/9" == state.measured().newest_id


async def test_what_is_deployed_is_signed(tmp_path, digest):
    """On the log, as serving will read it."""
    world = await tiny(tmp_path)
    async with registry(world, tmp_path, signers=load_signers(tmp_path / "keys", create=True)):
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
    trusted = {key.space: key.key_id for key in Verifier.load(tmp_path / "keys" / "trusted.json")._keys.values()}
    (deployed,) = await world.values(topics.DEPLOYMENTS)

    assert [None, trusted["test"], trusted["production"]] == [
        row["key_id"] for row in await world.values(topics.MODEL_VERSIONS)
    ]
    assert trusted["production"] == deployed["traffic"][0]["key_id"]


async def test_golden_records_that_are_lost_refuse_a_run(tmp_path, digest):
    """Serving could not check the model before it answers."""
    world = await tiny(tmp_path)
    async with registry(world, tmp_path):
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest, golden_sha256="cd" * 32))
        (change,) = await until_decided(world, 1)

    assert "REJECTED" == change["status"]
    assert "is missing" in change["reasons"][0]


async def test_a_request_that_cannot_be_read_is_told_to_an_operator(tmp_path):
    """It can have no answer; the next one has. Audit records of others that cannot be read hold nobody up either."""
    world = await tiny(tmp_path)
    await world.send(topics.REGISTRY_REQUESTS, ("tiny", b"not avro"))
    await world.send(topics.AUDIT_EVENTS, ("eve", b"not avro either"))
    await append(world, topics.REGISTRY_REQUESTS, request(1, "FREEZE"))
    async with registry(world, tmp_path) as service:
        frozen = await until(lambda: service._decider.state.frozen)
    alerts = {alert["reason"] for alert in await world.values(topics.ALERTS)}

    assert {"undecodable-request", "undecodable-audit"} == alerts
    assert "manage/1" == frozen.caused_by
