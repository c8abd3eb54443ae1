"""Refused records: listed, shown, and sent back each once, with what will happen said beforehand."""

import pytest

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from tests.console.world import console, eventually, get, new_world, post
from tests.support import EPOCH_MS

WHO = {"stream": "tiny", "actor": "ada", "comment": "the sensor is mended", "request_id": "r1"}


@pytest.fixture
async def served(tmp_path):
    """Three refused events, one of them a repeat."""
    world = await new_world(tmp_path / "project")
    reasons = ("out-of-range", "duplicate-event", "out-of-range")
    letters = []
    for offset, reason in enumerate(reasons):
        key, value = await world.event(id=f"e{offset}", x=99.0)
        record = Record(world.topic(topics.EVENTS), 0, offset, EPOCH_MS, key.encode(), value)
        letters.append(
            dead_letter(
                world.topic(topics.DEAD_LETTERS), record, stage="TASK_PUT", reason=reason, message="x is 99",
                error_class="X",
            )
        )  # fmt: skip
    producer = await world.transport().producer("test.letters")
    await producer.commit([OutRecord(*letter) for letter in letters])
    async with console(world, tmp_path) as (_, client):
        yield world, client


async def test_refused_records_are_listed_newest_first_with_their_reasons(served):
    """In pages, filtered by reason; the count is of all."""
    _, client = served
    found = await get(client, "/api/dead-letters?limit=2")
    rest = await get(client, f"/api/dead-letters?stream=tiny&limit=2&cursor={found['next']}")
    some = await get(client, "/api/dead-letters?reason=duplicate-event")

    assert (3, {"out-of-range": 2, "duplicate-event": 1}) == (found["total"], found["reasons"])
    assert ["0/2", "0/1", "0/0"] == [one["place"] for one in (*found["letters"], *rest["letters"])]
    assert [("0/1", "tiny-events/0/1", None)] == [
        (one["place"], one["origin"], one["replayed_at_ms"]) for one in some["letters"]
    ]
    assert 3 == (await get(client, "/api/overview"))["streams"][0]["dead_letters"]
    await get(client, "/api/dead-letters?stream=nope", 404)


async def test_one_is_shown_with_what_was_in_it(served):
    """Headers, bytes, and the event where it is one; a place where nothing is says which there are."""
    _, client = served
    found = await get(client, "/api/dead-letters/tiny/0/0")
    nothing = await get(client, "/api/dead-letters/tiny/0/99", 404)

    assert ("out-of-range", "x is 99", 99.0) == (found["reason"], found["message"], found["decoded"]["x"])
    assert "has no record at offset 99" in nothing["detail"]
    await get(client, "/api/dead-letters/tiny/7/0", 404)


async def test_sending_back_is_told_beforehand_and_done_once(served):
    """Repeats are left alone; the audit log keeps who did it and why; a second time sends nothing."""
    world, client = served
    planned = await post(client, "/api/dead-letters/replay?preview=1", WHO)
    assert [] == await world.records(topics.EVENTS)
    done = await post(client, "/api/dead-letters/replay", WHO)
    again = await post(client, "/api/dead-letters/replay", WHO)
    shown = await eventually(
        client, "/api/dead-letters", lambda found: any(one["replayed_at_ms"] for one in found["letters"])
    )

    assert (2, 1) == (planned["replay"], planned["repeats"])
    assert planned["words"].startswith("2 records would go back to where they came from")
    assert ("ACCEPTED", 2, 0, 2) == (done["outcome"], done["replayed"], again["replayed"], again["skipped"])
    assert 2 == len(await world.records(topics.EVENTS))
    assert ["0/2", "0/0"] == [one["place"] for one in shown["letters"] if one["replayed_at_ms"]]
    audits = (await get(client, "/api/audit"))["audits"]
    assert any("the sensor is mended" in one["reason"] for one in audits)


async def test_some_places_are_sent_back_and_others_not(served):
    """By place also a repeat; what is no place is refused."""
    world, client = served
    done = await post(client, "/api/dead-letters/replay", {**WHO, "places": ["0/1"]})

    assert (1, {"duplicate-event": 1}) == (done["replayed"], done["reasons"])
    assert 1 == len(await world.records(topics.EVENTS))
    await post(client, "/api/dead-letters/replay", {**WHO, "places": ["zero"]}, 422)
    await post(client, "/api/dead-letters/replay", {**WHO, "places": ["0/99"]}, 404)
