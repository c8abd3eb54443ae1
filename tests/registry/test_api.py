"""The registry's questions over HTTP: what serves, what served, and why."""

import httpx
import pytest

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.events import ServingStatusReported
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from services.registry import api
from services.registry.news import News
from services.registry.projection import Projection
from tests.registry.lives import client as client_of
from tests.registry.lives import following
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.registry.test_projection import content
from tests.support import World, tiny_project


def status(epoch, version, *, failed=None, partition=0, from_offset=10):
    """A serving status of the tiny model."""
    return ServingStatusReported(
        model="tiny", process="serving@host", partition=partition, epoch=epoch, version=version,
        status="FAILED" if failed else "SERVING", from_offset=from_offset, reason=failed, reported_at_ms=epoch * 100,
    )  # fmt: skip


def client(service):
    """A client of the service's own application, without a network."""
    app = build_app("registry", service.checks)
    service.add_routes(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry")


@pytest.fixture
async def asked(tmp_path):
    """Two versions, a rejected run, a serving process that failed to load the second; and a client to ask."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    rejected = make_run("run-3", against=2, metrics={"accuracy": float("nan")}, artifact_sha256=digest)
    async with registry(world, tmp_path) as service:
        for count, run in enumerate([make_run(artifact_sha256=digest),
                                     make_run("run-2", against=1, artifact_sha256=digest), rejected]):  # fmt: skip
            await append(world, topics.TRAINING_RUNS, run)
            await until_decided(world, count + 1)
        await until(lambda: len(content(service._projection)["deployments"]) == 2)
    # from here on nobody decides: a registry at work rolls back what cannot be loaded
    failed = status(2, 2, partition=1, failed="no such operator", from_offset=20)
    await append(world, topics.SERVING_STATUS, status(1, 1), status(1, 1, partition=1), status(2, 2), failed)
    url = f"sqlite:///{tmp_path / 'registry.db'}"
    async with following(world, url) as (projection, follower), client_of(world, projection, follower) as http:
        yield http


async def get(http, path, expected=200):
    """The JSON answer of that status."""
    response = await http.get(path)
    assert expected == response.status_code
    return response.json()


async def test_every_model_is_listed_with_what_serves(asked):
    """One line for each model: champion, epoch, since when and why."""
    (model,) = (await get(asked, "/v1/models"))["models"]

    assert ("tiny", 2, 2, 2, 1) == tuple(model[key] for key in ("model", "champion", "epoch", "versions", "rejected"))
    assert "accuracy 0.900 beats the 0.800 of version 1 on the same 500 rows" == model["reason"]


async def test_a_model_tells_what_each_partition_really_serves(asked):
    """A partition that could not load the new version shows both: what it serves, and what it failed to."""
    model = await get(asked, "/v1/models/tiny")

    assert [(0, "SERVING", 2, None), (1, "FAILED", 2, "no such operator"), (1, "SERVING", 1, None)] == [
        (row["partition"], row["status"], row["version"], row["reason"]) for row in model["serving"]
    ]
    assert [("champion", 2, 1.0)] == [(part["variant"], part["version"], part["share"]) for part in model["traffic"]]


async def test_versions_come_newest_first_with_their_history_and_rejections_beside_them(asked):
    """A version tells its life, a rejected run its reasons; a metric that is no number is null."""
    answer = await get(asked, "/v1/models/tiny/versions")
    told = {row["version"]: [change["status"] for change in row["history"]] for row in answer["versions"]}

    assert [
        (2, ["REGISTERED", "PROMOTED", "PROMOTED"]),
        (1, ["REGISTERED", "PROMOTED", "PROMOTED", "RETIRED"]),
    ] == list(told.items())
    assert [("PROMOTED", "DRIFT", "retrain/tiny/1"), ("RETIRED", "FIRST_DATA", "tiny/0/100")] == [
        (row["status"], row["trigger"], row["caused_by"]) for row in answer["versions"]
    ]
    assert [(None, "run-3", {"accuracy": None})] == [
        (row["version"], row["run_id"], row["metrics"]) for row in answer["rejected"]
    ]


async def test_deployments_come_newest_first_with_what_became_of_them(asked):
    """Each deployment shows what serving said about its epoch."""
    deployments = (await get(asked, "/v1/models/tiny/deployments"))["deployments"]

    assert [("deployment/tiny/2", 2), ("deployment/tiny/1", 2)] == [
        (row["deployment_id"], len(row["serving"])) for row in deployments
    ]


async def test_what_served_at_a_time_is_told_with_the_chain_of_causes(asked):
    """From the deployment in force back to what triggered the training run."""
    second, first = (await get(asked, "/v1/models/tiny/deployments"))["deployments"]
    then = await get(asked, f"/v1/models/tiny/champion?at={second['decided_at_ms'] - 1}")
    now = await get(asked, "/v1/models/tiny/champion")

    assert (1, first["decided_at_ms"], second["decided_at_ms"]) == (then["version"], then["since_ms"], then["until_ms"])
    assert (2, second["decided_at_ms"], None) == (now["version"], now["since_ms"], now["until_ms"])
    assert now == {**await get(asked, f"/v1/models/tiny/champion?at={second['decided_at_ms']}"), "at_ms": None}
    assert [
        ("deployment", "deployment/tiny/2"), ("version", "version/tiny/2/PROMOTED"),
        ("version", "version/tiny/2/REGISTERED"), ("training run", "run-2"), ("trigger", "retrain/tiny/1"),
    ] == [(link["kind"], link["id"]) for link in now["chain"]]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/v1/models/nobody", "no model 'nobody' is known; known are ['tiny']"),
        ("/v1/models/nobody/versions", "no model 'nobody' is known; known are ['tiny']"),
        ("/v1/models/nobody/deployments", "no model 'nobody' is known; known are ['tiny']"),
        ("/v1/models/nobody/champion", "no model 'nobody' is known; known are ['tiny']"),
        ("/v1/models/nobody/events", "no model 'nobody' is known; known are ['tiny']"),
        ("/v1/models/tiny/champion?at=5", "nothing of model 'tiny' served at 5 ms: its first deployment was at"),
    ],
)
async def test_what_is_not_known_is_named(asked, path, words):
    """A 404 names what was asked for and what there is."""
    assert (await get(asked, path, 404))["detail"].startswith(words)


async def test_a_model_without_a_deployment_has_no_champion(tmp_path):
    """Before the first deployment nothing served, and the answer says so."""
    world = await World.create(tiny_project(tmp_path / "project"))
    await append(world, topics.TRAINING_RUNS, make_run(status="FAILED", error="boom"))
    async with registry(world, tmp_path) as service, client(service) as http:
        await ready(service)
        answer = await get(http, "/v1/models/tiny/champion", 404)
        model = await get(http, "/v1/models/tiny")

    assert "model 'tiny' was never deployed, so nothing served" == answer["detail"]
    assert (None, None, []) == (model["champion"], model["epoch"], model["serving"])


async def test_a_database_that_does_not_answer_is_503(tmp_path):
    """The fault is not the caller's: it may ask again later."""
    world, app = await World.create(tiny_project(tmp_path / "project")), build_app("registry", dict)
    nowhere = Projection("sqlite:////nowhere/registry.db")
    api.add_routes(app, nowhere, inline, context=world.context(), news=News())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as http:
        answer = await get(http, "/v1/models", 503)

    assert answer["detail"].startswith("the registry's database does not answer")
