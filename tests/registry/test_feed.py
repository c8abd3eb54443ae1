"""The log of decisions as server-sent events: resumed without gap or repetition, alive while nothing happens, ended."""

import asyncio
import json

import pytest

from millrace.bus.tasks import inline
from millrace.contracts import topics
from services.registry.feed import Feed, PlaceError, parsed
from services.registry.news import News
from tests.registry.lives import append_all, client, following, whole_life
from tests.registry.runs import append, until
from tests.support import World, tiny_project

DECISIONS = ("ModelVersionChanged", "DeploymentDecided", "AuditRecorded")


@pytest.fixture
async def world(tmp_path):
    """A whole life in the log."""
    world = await World.create(tiny_project(tmp_path / "project"))
    await append_all(world, whole_life().log)
    return world


@pytest.fixture
async def followed(world, tmp_path):
    """A registry that follows it."""
    async with following(world, f"sqlite:///{tmp_path / 'registry.db'}") as found:
        yield found


def events(text):
    """The (id, name, data) of each event in the stream's text."""
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":") and ": " in line)
        if "data" in fields:
            found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def read(feed, place, count, model="tiny"):
    """So many events of a stream from a place on."""
    text = ""
    async with asyncio.timeout(20):
        stream = feed.stream(model, place)
        async for chunk in stream:
            text += chunk.decode()
            if len(events(text)) >= count:
                break
        await stream.aclose()
    return events(text)


def decided():
    """How many decisions the life has."""
    return [event for event in whole_life().log if type(event).__name__ in DECISIONS]


async def test_every_decision_is_told_once_each_topic_in_log_order(followed):
    """From the beginning on."""
    projection, follower = followed
    feed = Feed(projection, inline, follower.news)
    found = await read(feed, await feed.place(None, live=False), len(decided()))

    assert len(decided()) == len({identity for identity, _, _ in found})
    assert [event.deployment_id for event in decided() if hasattr(event, "deployment_id")] == [
        data["deployment_id"] for _, name, data in found if name == "deployment-decided"
    ]


@pytest.mark.parametrize("seen", [1, 7, 20])
async def test_a_stream_goes_on_exactly_after_the_last_id(followed, seen):
    """However many were seen: what was told before and what comes after is everything, once."""
    projection, follower = followed
    feed = Feed(projection, inline, follower.news)
    whole = await read(feed, await feed.place(None, live=False), len(decided()))
    rest = await read(feed, await feed.place(whole[seen - 1][0], live=False), len(decided()) - seen)

    assert whole[seen:] == rest


@pytest.mark.parametrize("batch", [1, 2, 5])
async def test_a_long_log_comes_in_the_same_order_in_small_portions(followed, batch):
    """However few rows are asked for at once, topics are merged by time."""
    projection, follower = followed
    place = dict.fromkeys(("model-versions", "deployments", "audit-events"), 0)
    whole = await read(Feed(projection, inline, follower.news), place, len(decided()))
    portions = await read(Feed(projection, inline, follower.news, batch=batch), place, len(decided()))
    times = [
        data.get("changed_at_ms") or data.get("decided_at_ms") or data["recorded_at_ms"] for _, _, data in portions
    ]

    assert sorted(times) == times
    assert sorted(map(str, (data for _, _, data in whole))) == sorted(map(str, (data for _, _, data in portions)))


async def test_what_is_decided_meanwhile_is_told_at_once(world, followed):
    """A listener that came for news gets only news."""
    projection, follower = followed
    feed = Feed(projection, inline, follower.news)
    place = await feed.place(None, live=True)
    listening = asyncio.create_task(read(feed, place, 1))
    newest = decided()[-1].model_copy(update={"audit_id": "audit/new", "reason": "news", "caused_by": None})
    await append(world, topics.AUDIT_EVENTS, newest)

    assert [("audit-recorded", "news")] == [(name, data["reason"]) for _, name, data in await listening]


async def test_while_nothing_happens_comments_are_sent(followed):
    """So that a dead connection is noticed."""
    projection, follower = followed
    feed = Feed(projection, inline, follower.news, heartbeat_s=0.01)
    stream = feed.stream("tiny", await feed.place(None, live=True))
    first, *rest = [await anext(stream) for _ in range(3)]
    await stream.aclose()

    assert (b"retry: 2000\n\n", {b": nothing new\n\n"}) == (first, set(rest))


async def test_a_service_that_stops_ends_its_streams(world, tmp_path):
    """Nobody has to be cut off: what was decided was told, then the stream ends by itself."""
    told = []

    async def listen(feed):
        """Take all that comes until the stream ends."""
        async for chunk in feed.stream("tiny", await feed.place(None, live=False)):
            told.append(chunk)  # noqa: PERF401  # it is looked at while it grows

    async with following(world, f"sqlite:///{tmp_path / 'other.db'}") as (projection, follower):
        listening = asyncio.create_task(listen(Feed(projection, inline, follower.news)))
        await until(lambda: len(told) > len(decided()))
    async with asyncio.timeout(20):
        await listening

    assert len(decided()) + 1 == len(told)


async def test_the_stream_is_an_event_stream_over_http(world, tmp_path):
    """Its kind, and that no proxy may hold it back; here of a service that stops at once."""
    async with (
        following(world, f"sqlite:///{tmp_path / 'other.db'}") as (projection, follower),
        client(world, projection, follower) as http,
    ):
        follower.news.close()
        answer = await http.get("/v1/models/tiny/events")

    assert (200, "retry: 2000\n\n") == (answer.status_code, answer.text)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert ("no-store", "no") == (answer.headers["cache-control"], answer.headers["x-accel-buffering"])


async def test_another_model_has_a_stream_of_its_own(followed):
    """Nothing of this one is in it."""
    projection, follower = followed
    feed = Feed(projection, inline, follower.news, heartbeat_s=0.01)
    stream = feed.stream("another", await feed.place(None, live=False))
    chunks = [await anext(stream) for _ in range(2)]
    await stream.aclose()

    assert b": nothing new\n\n" == chunks[1]


@pytest.mark.parametrize("identity", ["", "7", "deployments=1", "deployments=x,model-versions=1,audit-events=2"])
async def test_an_id_that_no_event_had_is_refused(world, followed, identity):
    """A stream never begins somewhere by chance."""
    projection, follower = followed
    with pytest.raises(PlaceError, match="is no id of this stream"):
        parsed(identity)
    async with client(world, projection, follower) as http:
        answer = await http.get("/v1/models/tiny/events", headers={"Last-Event-ID": identity})

    assert 400 == answer.status_code


async def test_news_wakes_all_who_wait_and_lets_them_go_at_the_end():
    """Told, or closed, or in vain."""
    news = News()
    waiting = [asyncio.create_task(news.after(0, 20)) for _ in range(3)]
    await asyncio.sleep(0)
    news.tell()
    late = asyncio.create_task(news.after(1, 20))
    await asyncio.sleep(0)
    news.close()

    assert [True, True, True] == await asyncio.gather(*waiting)
    assert (False, False, True) == (await late, await news.after(1, 0.01), await news.after(0, 0.01))
