"""What people ask of the registry over HTTP: written once, answered by the registry at work, never lost."""

import asyncio

import httpx
import pytest

from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from services.registry import api_commands
from services.registry.problems import Asker
from tests.registry.lives import append_all, asked, following, whole_life
from tests.registry.runs import append, make_run, ready, registry, until_decided
from tests.support import World, tiny_project

WORDS = {"reason": "it is better", "requested_by": "ada"}


@pytest.fixture
async def world(tmp_path):
    """A log in which two versions were decided, the second one by a person's leave."""
    return await World.create(tiny_project(tmp_path / "project", spaces={"production": {"approvals": 1}}))


@pytest.fixture
async def http(world, tmp_path):
    """A registry at work with a version that waits for approval, and a client of it."""
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    async with registry(world, tmp_path) as service:
        await ready(service)
        await append(world, topics.TRAINING_RUNS, make_run(artifact_sha256=digest))
        await until_decided(world, 1)
        app = build_app("registry", service.checks)
        service.add_routes(app)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as client:
            yield client


async def post(http, verb, expected=200, headers=None, **body):
    """The answer to a request, of that status."""
    response = await http.post(f"/v1/models/tiny/{verb}", json={**WORDS, **body}, headers=headers or {})
    assert expected == response.status_code, response.text
    return response


async def test_an_accepted_request_is_answered_with_its_audit_record_and_the_new_epoch(http, world):
    """The next question sees what was done: the same epoch, as ETag."""
    answer = await post(http, "approve", version=1)
    after = await http.get("/v1/models/tiny/history")
    (request,) = await world.values(topics.REGISTRY_REQUESTS)

    assert (1, '"1"', "ACCEPTED", "ada") == (
        answer.json()["epoch"], answer.headers["ETag"], answer.json()["audit"]["outcome"],
        answer.json()["audit"]["actor"],
    )  # fmt: skip
    assert ('"1"', 1) == (after.headers["ETag"], after.json()["served"]["epoch"])
    assert ("APPROVE", 1, "it is better", "ada", None) == tuple(
        request[key] for key in ("action", "version", "reason", "requested_by", "expected_epoch")
    )


async def test_a_refusal_is_409_with_the_registrys_words(http):
    """And a refused request stands in the audit log."""
    answer = await post(http, "rollback", 409)
    audits = (await http.get("/v1/models/tiny/audit")).json()["audits"]

    assert "nothing of tiny is deployed yet" == answer.json()["detail"]
    assert ("rollback", "REFUSED") in [(audit["action"], audit["outcome"]) for audit in audits]


async def test_who_has_seen_another_epoch_gets_412_with_the_one_in_force(http):
    """Optimistic: the registry decides, not the API; with the right epoch it is done."""
    await post(http, "approve", version=1)
    stale = await post(http, "freeze", 412, headers={"If-Match": '"0"'})
    fresh = await post(http, "freeze", headers={"If-Match": stale.headers["ETag"]})

    assert '"1"' == stale.headers["ETag"] == fresh.headers["ETag"]
    assert stale.json()["detail"].startswith("epoch 1 is in force, 0 was expected")


@pytest.mark.parametrize("tag", ["7", 'W/"7"', '"x"', '"1", "2"', ""])
async def test_a_tag_that_is_none_is_400(http, tag):
    """A typing error is no agreement to anything."""
    answer = await post(http, "freeze", 400, headers={"If-Match": tag})

    assert "is no ETag of this API" in answer.json()["detail"]


async def test_the_same_key_is_the_same_request(http, world):
    """Sent again after a lost answer, also at the same time: one request, one audit record, one answer."""
    key = {"Idempotency-Key": "key-1"}
    first = await post(http, "freeze", headers=key)
    again = await post(http, "freeze", headers=key)

    assert first.json() == again.json()
    assert ["key-1"] == [request["request_id"] for request in await world.values(topics.REGISTRY_REQUESTS)]


async def test_two_that_come_at_once_with_one_key_get_one_answer(http, world):
    """However the log orders them, it is done once."""
    key = {"Idempotency-Key": "key-2"}
    answers = await asyncio.gather(*(post(http, "freeze", headers=key) for _ in range(2)))

    assert 1 == len({answer.json()["audit"]["audit_id"] for answer in answers})
    assert 1 == sum(audit["caused_by"] == "key-2" for audit in await world.values(topics.AUDIT_EVENTS))


async def test_a_key_that_was_used_for_something_else_is_422(http):
    """Two different requests of one name would both seem done."""
    key = {"Idempotency-Key": "key-3"}
    await post(http, "freeze", headers=key)
    answer = await post(http, "unfreeze", 422, headers=key)

    assert "key-3 was used before, for another request" in answer.json()["detail"]


async def test_the_proxy_in_front_knows_who_asks(http, world):
    """Its header goes before what the body claims."""
    await post(http, "freeze", headers={"X-Forwarded-User": "grace"})

    assert ["grace"] == [request["requested_by"] for request in await world.values(topics.REGISTRY_REQUESTS)]


async def test_nobody_is_400_and_no_reason_is_422(http, world):
    """Whatever is asked, somebody asks it, for a reason."""
    nobody = await http.post("/v1/models/tiny/freeze", json={"reason": "why not"})
    no_reason = await http.post("/v1/models/tiny/freeze", json={"requested_by": "ada"})

    assert (400, 422) == (nobody.status_code, no_reason.status_code)
    assert "say who asks in requested_by" in nobody.json()["detail"]
    assert [] == await world.values(topics.REGISTRY_REQUESTS)


@pytest.mark.parametrize(
    ("verb", "body", "words"),
    [
        ("promote", {}, "promote is about a version: name it"),
        ("kill", {"version": 1}, "kill is about the whole model, not about version 1: leave the version out"),
        ("approve", {"version": 1, "space": "heaven"}, None),
        ("freeze", {"colour": "red"}, None),
    ],
)
async def test_a_body_that_makes_no_sense_is_422_and_writes_nothing(http, world, verb, body, words):
    """Refused before anything stands in the log."""
    answer = await post(http, verb, 422, **body)

    assert words is None or words == answer.json()["detail"]
    assert [] == await world.values(topics.REGISTRY_REQUESTS)


async def test_a_model_that_nobody_knows_is_404(http):
    """With the model that this registry is of."""
    answer = await http.post("/v1/models/another/freeze", json=WORDS)

    assert (404, "no model 'another' is known; this registry is of 'tiny'") == (
        answer.status_code, answer.json()["detail"],
    )  # fmt: skip


async def test_a_registry_that_does_not_decide_is_202_and_the_request_stands_in_the_log(world, tmp_path):
    """Nothing is lost: whoever decides later finds it; the same key then gets the answer."""
    async with following(world, f"sqlite:///{tmp_path / 'registry.db'}") as (projection, follower):
        app = build_app("registry", dict)
        asker = Asker(projection, inline)
        api_commands.add_routes(app, asker, world.context("api"), follower.news, answer_s=0.05)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as http:
            key = {"Idempotency-Key": "later"}
            first = await post(http, "freeze", 202, headers=key)
            (request,) = await world.values(topics.REGISTRY_REQUESTS)
            async with registry(world, tmp_path / "other") as service:
                await ready(service)
                await world.until(topics.AUDIT_EVENTS, 1)
            again = await post(http, "freeze", headers=key)

    assert ("later", "later") == (first.json()["request_id"], request["request_id"])
    assert "no answer came in time" in first.json()["detail"]
    assert "ACCEPTED" == again.json()["audit"]["outcome"]


@pytest.mark.parametrize("faults", [["lost"], ["unanswered"], ["lost", "unanswered"]])
async def test_a_request_is_written_once_however_the_commit_ends(http, world, faults):
    """After a commit without a clear answer the log is asked."""
    for fault in faults:
        world.log.fail_next_commit(fault)
    await post(http, "freeze")

    assert 1 == len(await world.values(topics.REGISTRY_REQUESTS))


async def test_a_log_that_never_answers_is_503(http, world):
    """Nothing is known, and nothing was written."""
    for _ in range(3):
        world.log.fail_next_commit("lost")
    answer = await post(http, "freeze", 503)

    assert "could not be written" in answer.json()["detail"]


async def test_a_request_of_a_whole_life_is_found_by_its_key(world, tmp_path):
    """What was asked and answered long ago, on the command line, is answered from the projection."""
    lived = whole_life()
    await append_all(world, lived.log)
    old = asked("freeze", reason="a holiday")
    async with following(world, f"sqlite:///{tmp_path / 'registry.db'}") as (projection, follower):
        app = build_app("registry", dict)
        api_commands.add_routes(app, Asker(projection, inline), world.context("api"), follower.news, answer_s=0.05)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://registry") as http:
            answer = await post(http, "freeze", headers={"Idempotency-Key": old.request_id}, reason="a holiday")

    assert (6, "ACCEPTED") == (answer.json()["epoch"], answer.json()["audit"]["outcome"])
