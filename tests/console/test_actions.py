"""What people do: it is told beforehand in plain words, written once, and answered in the registry's own words."""

import pytest

from millrace.contracts import topics
from tests.console.world import append, audited, console, eventually, get, new_world, post
from tests.registry.lives import run, whole_life
from tests.registry.runs import registry
from tests.support import World

ASKED = {"model": "tiny", "actor": "ada", "reason": "it is better", "request_id": "r1"}


@pytest.fixture
async def served(tmp_path):
    """A whole life, and nobody who decides."""
    world = await new_world(tmp_path / "project")
    await append(world, whole_life().log)
    async with console(world, tmp_path) as (_, client):
        yield world, client


async def preview(client, verb, version=None, expected=200, **more):
    """What would be done."""
    return await post(
        client,
        f"/api/actions/{verb}?preview=1",
        {"model": "tiny", "version": version, "actor": "ada", **more},
        expected,
    )


async def test_a_rollback_says_beforehand_what_it_will_do(served):
    """To whom, what not, how to undo it; and the epoch that it is about. Nothing is written."""
    world, client = served
    found = await preview(client, "rollback")

    assert ("Roll tiny back to version 1", True, "high", 6) == tuple(
        found[name] for name in ("title", "possible", "danger", "expected_epoch")
    )
    assert [
        "Version 1 answers all events again, within about a second.",
        "Version 2 is retired; it can be promoted again.",
    ] == found["does"]
    assert ["everyone who reads tiny-predictions or asks its REST endpoint"] == found["affects"]
    assert "No prediction that was made is changed, lost or made twice." in found["does_not"]
    assert 5 == len(await world.values(topics.REGISTRY_REQUESTS))


async def test_a_promotion_says_that_it_begins_a_rollout(served):
    """By the project's strategy, or at once where that is asked for."""
    _, client = served
    slowly = await preview(client, "promote", 1)
    at_once = await preview(client, "promote", 1, immediate=True)

    assert "Version 1 begins a canary rollout: it answers 10 % of the events." in slowly["does"]
    assert "Version 1 answers all events again, within about a second." in at_once["does"]


@pytest.mark.parametrize(
    ("verb", "version", "why"),
    [
        ("abort", None, "no rollout is under way"),
        ("promote", 2, "version 2 is champion already"),
        ("approve", 9, "there is no version 9; tiny has versions 1 to 4"),
        ("retire", 2, "version 2 has a part of the traffic"),
    ],
)
async def test_what_would_be_refused_is_said_beforehand_in_the_registrys_words(served, verb, version, why):
    """The registry's own rules are asked."""
    _, client = served
    found = await preview(client, verb, version)

    assert not found["possible"]
    assert why in found["why_not"]
    assert [] == found["does"]


async def test_what_makes_no_sense_is_a_problem(served):
    """A version where none is meant, none where one is; an unknown model, verb or field."""
    _, client = served
    assert "leave the version out" in (await preview(client, "freeze", 1, 422))["detail"]
    assert "name it" in (await preview(client, "approve", None, 422))["detail"]
    await post(client, "/api/actions/rollback?preview=1", {"model": "nope", "actor": "ada"}, 404)
    await post(client, "/api/actions/explode", ASKED, 422)
    await post(client, "/api/actions/freeze", {**ASKED, "why": "x"}, 422)
    assert "reason is missing" in (await post(client, "/api/actions/freeze", {**ASKED, "reason": " "}, 422))["detail"]


async def test_a_request_that_nobody_answers_stands_in_the_log(served):
    """202 with where to look; the same id again is the same request; for something else it is refused."""
    world, client = served
    found = await post(client, "/api/actions/unfreeze", {**ASKED, "expected_epoch": 6}, 202)
    assert ("WRITTEN", "r1", "/audit?model=tiny") == (found["outcome"], found["request_id"], found["look"])
    await _known(client, world)
    await post(client, "/api/actions/unfreeze", {**ASKED, "expected_epoch": 6}, 202)
    problem = await post(client, "/api/actions/freeze", ASKED, 409)
    requests = await world.values(topics.REGISTRY_REQUESTS)
    assert "was used before" in problem["detail"]
    assert ("r1", "UNFREEZE", "ada", 6) == tuple(
        requests[-1][name] for name in ("request_id", "action", "requested_by", "expected_epoch")
    )
    assert 6 == len(requests)


async def _known(client, world: World) -> None:
    """Wait until the console has read the request: it is told of, and what follows is read later."""
    await append(world, [audited(1)])
    await eventually(client, "/api/audit?action=note", lambda found: found["total"] > 0)


async def test_who_a_proxy_says_that_asks_goes_before_what_the_page_says(served):
    """X-Forwarded-User, as in the registry's API."""
    world, client = served
    await client.post("/api/actions/unfreeze", json=ASKED, headers={"X-Forwarded-User": "bob"})

    assert "bob" == (await world.values(topics.REGISTRY_REQUESTS))[-1]["requested_by"]


async def test_a_retrain_is_written_with_its_audit_record(served):
    """Accepted once it stands in the log; once for each id."""
    world, client = served
    found = await post(client, "/api/actions/retrain", ASKED)

    assert ("ACCEPTED", "/models/tiny") == (found["outcome"], found["look"])
    newest = (await world.values(topics.RETRAIN_REQUESTS))[-1]
    assert ("r1", "OPERATOR", "it is better") == (newest["request_id"], newest["reason"], newest["message"])
    assert "r1" == (await world.values(topics.AUDIT_EVENTS))[-1]["caused_by"]


async def test_a_registry_at_work_answers_and_the_pages_show_it(tmp_path):
    """ACCEPTED with the epoch that came of it, REFUSED with why; both stand in the audit log."""
    world = await new_world(tmp_path / "project")
    async with registry(world, tmp_path), console(world, tmp_path, answer_s=20.0) as (_, client):
        await append(world, [run(1)])
        waits = await eventually(client, "/api/overview", lambda found: found["waiting"] or found["counts"]["runs"])
        refused = await post(client, "/api/actions/rollback", {**ASKED, "request_id": "r0"})
        frozen = await post(client, "/api/actions/freeze", ASKED)
        audit = await eventually(client, "/api/audit?actor=ada", lambda found: found["total"] == 2)
        model = await eventually(client, "/api/models/tiny", lambda found: found["state"] == "frozen")

    assert waits["models"][0]["model"] == "tiny"
    assert ("REFUSED", "nothing of tiny is deployed yet") == (refused["outcome"], refused["words"])
    assert ("ACCEPTED", "freeze") == (frozen["outcome"], frozen["audit"]["action"])
    assert ["freeze", "rollback"] == [one["action"] for one in audit["audits"]]
    assert "ada" == model["frozen"]["by"]


async def test_the_audit_log_is_paged_and_filtered(served):
    """By model, person, action and outcome; the newest first."""
    _, client = served
    every = await get(client, "/api/audit?limit=500")
    page = await get(client, "/api/audit?limit=3")
    rest = await get(client, f"/api/audit?limit=500&cursor={page['next']}")
    refused = await get(client, "/api/audit?outcome=REFUSED&actor=ada")

    assert every["audits"] == [*page["audits"], *rest["audits"]]
    assert every["total"] == len(every["audits"])
    assert {"REFUSED"} == {one["outcome"] for one in refused["audits"]}
    assert 0 == (await get(client, "/api/audit?model=other"))["total"]
