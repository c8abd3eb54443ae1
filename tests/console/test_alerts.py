"""Alerts: grouped, acknowledged, silenced, over; and what Alertmanager tells."""

import pytest

from millrace.contracts import topics
from tests.console.world import DAY_MS, alerted, append, console, eventually, get, handled, new_world, post
from tests.support import EPOCH_MS

WHO = {"actor": "ada", "comment": "on it"}


@pytest.fixture
async def served(tmp_path):
    """Two alerts of one matter and a critical one of another."""
    world = await new_world(tmp_path / "project")
    critical = alerted(3, severity="CRITICAL", reason="loop-stopped", service="serving", subject="tiny/1")
    await append(world, [alerted(1), alerted(2), critical])
    async with console(world, tmp_path) as (_, client):
        yield world, client


def states(found):
    """The state of each group, by reason."""
    return {group["reason"]: group["state"] for group in found["groups"]}


async def test_alerts_of_one_matter_are_one_group(served):
    """With how many there were, the newest first; critical ones are counted."""
    _, client = served
    found = await get(client, "/api/alerts")

    assert [("loop-stopped", 1), ("late-labels", 2)] == [(group["reason"], group["count"]) for group in found["groups"]]
    assert ["alert/2", "alert/1"] == [alert["alert_id"] for alert in found["groups"][1]["alerts"]]
    assert {"open": 2, "critical": 1, "acknowledged": 0, "silenced": 0, "over": 0} == found["counts"]
    assert 2 == (await get(client, "/api/overview"))["counts"]["alerts_open"]


async def test_an_acknowledged_matter_is_not_open_any_more(served):
    """By an alert's id, all of its matter; the handling stands in the log, once however often it is sent."""
    world, client = served
    body = {"alert_id": "alert/1", "request_id": "r1", **WHO}
    await post(client, "/api/alerts/acknowledge", body)
    await eventually(client, "/api/alerts", lambda found: states(found) == {"loop-stopped": "open"})
    await post(client, "/api/alerts/acknowledge", body)
    [known] = (await get(client, "/api/alerts?state=acknowledged"))["groups"]

    assert ("ada", "on it") == (known["acknowledged"]["actor"], known["acknowledged"]["comment"])
    [written] = await world.values(topics.ALERT_ACTIONS)
    assert ("ACKNOWLEDGED", "alert/1", "handling/r1") == (
        written["action"],
        written["alert_id"],
        written["handling_id"],
    )


async def test_the_first_critical_alert_after_an_acknowledgement_is_open_again(served):
    """A repetition is not; what is worse is."""
    world, client = served
    await append(world, [handled("ACKNOWLEDGED", service="ingest", handled_at_ms=EPOCH_MS + DAY_MS + 3)])
    await append(world, [alerted(9)])
    await eventually(
        client, "/api/alerts?state=acknowledged", lambda found: [3] == [g["count"] for g in found["groups"]]
    )
    await append(world, [alerted(10, severity="CRITICAL")])

    await eventually(client, "/api/alerts", lambda found: states(found).get("late-labels") == "open")


async def test_a_silence_ends_at_its_time_or_when_somebody_ends_it(served):
    """What it leaves out is any; it is listed while it is in force."""
    _, client = served
    until_ms = EPOCH_MS + 9 * DAY_MS
    body = {"service": "ingest", "until_ms": until_ms, "request_id": "r1", **WHO}
    await post(client, "/api/alerts/silence", body)
    found = await eventually(client, "/api/alerts?state=silenced", lambda found: found["groups"])

    assert ["late-labels"] == [group["reason"] for group in found["groups"]]
    assert [("handling/r1", until_ms)] == [(one["handling_id"], one["until_ms"]) for one in found["silences"]]
    await post(client, "/api/alerts/unsilence", {"handling_id": "handling/r1", "request_id": "r2", **WHO})
    await eventually(client, "/api/alerts", lambda found: len(found["groups"]) == 2 and not found["silences"])
    await post(client, "/api/alerts/unsilence", {"handling_id": "nope", "request_id": "r3", **WHO}, 404)


async def test_a_silence_for_a_time_that_has_passed_is_no_silence(served):
    """The clock of the console says so, at each question."""
    world, client = served
    await append(world, [handled("SILENCED", service="ingest", until_ms=EPOCH_MS + 5)])
    await append(world, [alerted(11)])

    found = await eventually(client, "/api/alerts", lambda found: 3 in [group["count"] for group in found["groups"]])
    assert {"late-labels": "open", "loop-stopped": "open"} == states(found)


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("acknowledge", {}, "name an alert_id"),
        ("silence", {"reason": "late-labels"}, "until_ms, or for_s"),
        ("silence", {"reason": "late-labels", "for_s": 60, "until_ms": 5}, "one of them"),
        ("acknowledge", {"alert": "alert/1"}, "Extra inputs"),
    ],
)
async def test_what_says_too_little_is_refused_in_words(served, path, body, told):
    """All alerts at once are not meant; a misspelt field is not one that was left out."""
    _, client = served
    problem = await post(client, f"/api/alerts/{path}", {**body, "actor": "ada"}, 422)

    assert told in problem["detail"]


async def test_an_unknown_alert_cannot_be_acknowledged(served):
    """404, and nothing is written."""
    world, client = served
    await post(client, "/api/alerts/acknowledge", {"alert_id": "nope", "request_id": "r", **WHO}, 404)

    assert [] == await world.values(topics.ALERT_ACTIONS)


def told_by_prometheus(status):
    """What Alertmanager posts."""
    return {
        "version": "4",
        "alerts": [{
            "status": status, "labels": {"alertname": "ServiceDown", "severity": "critical", "service": "serving"},
            "annotations": {"summary": "serving is down"}, "startsAt": "2020-09-13T12:26:40Z",
            "endsAt": "2020-09-13T12:36:40Z", "fingerprint": "f1",
        }],
    }  # fmt: skip


async def test_what_prometheus_finds_is_shown_until_it_is_over(served):
    """Alertmanager repeats itself; each alert is written once, and its end is a state of its own."""
    world, client = served
    for _ in range(2):
        await post(client, "/api/alertmanager", told_by_prometheus("firing"))
        await eventually(client, "/api/alerts", lambda found: states(found).get("service-down") == "open")
    await post(client, "/api/alertmanager", told_by_prometheus("resolved"))
    await eventually(client, "/api/alerts?state=over", lambda found: states(found) == {"service-down": "over"})
    problem = await post(client, "/api/alertmanager", {"nothing": 1}, 422)

    assert 4 == len(await world.values(topics.ALERTS))
    assert "not what Alertmanager posts" in problem["detail"]
