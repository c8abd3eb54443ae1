"""What happens is told as it happens, and who was away is told what they missed."""

import asyncio
import json

import httpx
import uvicorn

from millrace.console.feed import Feed
from millrace.console.service import ConsoleService, Options
from millrace.local.ports import HOST
from millrace.telemetry.health import build_app
from tests.console.world import Nobody, alerted, append, console, drifted, get, new_world
from tests.registry.runs import until


async def heard(stream, count):
    """The next so many events of a stream, as (id, kind, data); what has no id or is a comment is left out."""
    found = []
    async for text in stream:
        lines = dict(line.split(": ", 1) for line in text.decode().strip().split("\n") if ": " in line)
        if "event" in lines and "id" in lines:
            found.append((lines["id"], lines["event"], json.loads(lines["data"])))
        if len(found) == count:
            return found
    return found


def said(number):
    """Something that happened."""
    return {"kind": "drift", "model": "tiny" if number % 2 else "other", "id": str(number)}


async def test_who_comes_back_is_told_what_followed():
    """By the id of the last event; nothing twice, nothing left out."""
    feed = Feed(7)
    feed.add(said(number) for number in range(1, 6))

    assert ["3", "4", "5"] == [data["id"] for _, _, data in await heard(feed.stream("7-2"), 3)]
    assert ["7-3", "7-5"] == [place for place, _, _ in await heard(feed.stream("7-2", "tiny"), 2)]


async def test_what_is_not_kept_any_more_is_told_as_a_reset():
    """So is an id of another process, or none of ours; the reset carries the id to go on from."""
    feed = Feed(7, kept=2)
    feed.add(said(number) for number in range(1, 6))

    for after in ("7-2", "6-5", "nonsense", "7-99"):
        [(place, kind, _)] = await heard(feed.stream(after), 1)
        assert ("7-5", "reset") == (place, kind), after
    assert ["4", "5"] == [data["id"] for _, _, data in await heard(feed.stream("7-3"), 2)]


async def test_silence_is_broken_by_a_comment_and_closing_lets_everybody_go():
    """A dead connection is noticed, and the process can end."""
    feed = Feed(7, heartbeat_s=0.01)
    stream = feed.stream(None)
    assert b"retry: 1000\n\n" == await anext(stream)
    assert b": nothing new\n\n" == await anext(stream)
    assert 1 == feed.listeners
    feed.close()

    assert [] == [text async for text in stream]
    assert 0 == feed.listeners


async def test_events_are_told_once_the_pages_show_them(tmp_path):
    """From the overview's cursor on: whoever hears of a drift finds it in the model's summary."""
    world = await new_world(tmp_path / "project")
    async with console(world, tmp_path) as (service, client):
        cursor = (await get(client, "/api/overview"))["cursor"]
        await append(world, [drifted(1), alerted(1)])
        found = await heard(service.feed.stream(cursor), 2)
        model = await get(client, "/api/models/tiny")

    assert {"drift", "alert"} == {kind for _, kind, _ in found}
    told = next(data for _, kind, data in found if kind == "drift")
    assert ("tiny", "x moved", "WARNING") == (told["model"], told["summary"], told["severity"])
    assert told["id"] == model["last_drift"]["drift_id"]


async def test_a_browser_hears_over_a_real_connection(tmp_path):
    """Through a real server: headers, live event within its patience, and the end when the console stops."""
    world = await new_world(tmp_path / "project")
    context = world.context("console")
    service = ConsoleService(context, Options(data=tmp_path, database=tmp_path / "c.db"), fetch=Nobody())
    app = build_app("console", service.checks)
    service.add_routes(app)
    server = uvicorn.Server(uvicorn.Config(app, host=HOST, port=0, log_config=None, lifespan="off"))
    running = asyncio.create_task(service.run())
    serving = asyncio.create_task(server._serve())
    await until(lambda: server.started and service.follower.fault is None)
    port = server.servers[0].sockets[0].getsockname()[1]
    async with httpx.AsyncClient(trust_env=False, timeout=20) as client:  # noqa: SIM117  # one needs the other
        async with client.stream("GET", f"http://{HOST}:{port}/api/events") as response:
            chunks = response.aiter_bytes()
            assert response.headers["content-type"].startswith("text/event-stream")
            await until(lambda: service.feed.listeners)
            await append(world, [alerted(1)])
            [(_, kind, data)] = await heard(chunks, 1)
            running.cancel()
            async for _ in chunks:
                pass
    server.should_exit = True
    await asyncio.gather(running, serving, return_exceptions=True)
    await context.transport.close()

    assert ("alert", "alert/1") == (kind, data["id"])
