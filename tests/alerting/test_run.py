"""From the log to real receivers, through restarts and dead routes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from prometheus_client import REGISTRY

from millrace.alerting.run import GROUP, Notifier, routes_of
from millrace.alerting.settings import AlertSettings
from millrace.bus.clock import SystemClock
from millrace.bus.types import OutRecord, TopicPartition
from millrace.contracts.codec import Codec
from millrace.contracts.monitor_events import AlertHandled, AlertRaised
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import ALERT_ACTIONS, ALERTS, TopicRow, TopicSpec, topic_name
from tests.alerting.alerts import HOUR_MS, handled, raised
from tests.alerting.receivers import Post, Web, free_port, mail_server, web_server
from tests.support import World, tiny_project
from tests.transports import eventually

ALERT_TOPIC = TopicPartition(ALERTS.suffix, 0)


@pytest.fixture
async def world(tmp_path):
    """A log with alerts on it, none yet."""
    return await World.create(tiny_project(tmp_path / "tiny"))


async def say(world: World, row: TopicRow, event: AlertRaised | AlertHandled, schemas: Any = None) -> None:
    """Write it."""
    codec = Codec(schemas or world.schemas)
    await codec.prepare(world.project, row)
    topic = topic_name(row, world.project)
    await world.send(row, ("key", codec.encode(topic, event)))


def settings(web: Web | None = None, post: Post | None = None, **values: Any) -> AlertSettings:
    """Settings that name these receivers."""
    named: dict[str, Any] = {"timeout_s": 5, "longest_pause_s": 0.05}
    if web:
        named |= {"webhook_url": web.url}
    if post:
        named |= {"smtp_url": f"smtp://127.0.0.1:{post.port}", "smtp_from": "a@example.org", "smtp_to": "b@example.org"}
    return AlertSettings(**{**named, **values})


@asynccontextmanager
async def notifying(world: World, told: AlertSettings) -> AsyncIterator[Notifier]:
    """The routes at work; closed at the end, as a process that ends."""
    transport, clock = world.transport(), SystemClock()
    world.clock = clock  # type: ignore[assignment]  # alerts are as old as their place on the log says
    notifier = Notifier(transport, Codec(world.schemas), told, clock, routes_of(told, clock))
    task = asyncio.create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await transport.close()


def count(name: str, **labels: str) -> float:
    """A metric's value now."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def taken(web: Web, number: int) -> Callable[[], Awaitable[bool]]:
    """Whether the server has taken that many."""

    async def enough() -> bool:
        return len(web.taken) >= number

    return enough


def ids(web: Web) -> list[str]:
    """The alerts that the server took, in order."""
    return [json.loads(posted.body)["alert"]["alert_id"] for posted in web.taken]


@pytest.fixture(autouse=True)
def real_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pause is short; the log is written at the machine's time."""
    monkeypatch.setattr("millrace.alerting.lane.PAUSE_S", 0.02)
    monkeypatch.setattr(World, "transport", _transport)


def _transport(world: World) -> Any:
    from millrace.bus.memory import MemoryTransport

    return MemoryTransport(SystemClock(), log=world.log)


async def test_an_alert_goes_out_by_every_route(world):
    """Once by each, and a repetition by none; their positions are after it."""
    with web_server() as web, mail_server() as post:
        async with notifying(world, settings(web, post)) as notifier:
            await say(world, ALERTS, raised(1))
            await say(world, ALERTS, raised(2))
            await say(world, ALERTS, raised(3, subject="other"))
            await eventually(taken(web, 2), "the web server has both")
            await eventually(lambda: _same(len(post.taken), 2), "the mail server has both")
            for route in notifier.routes:
                await eventually(lambda route=route: _at_end(world, route), f"{route} is done")

    assert ["alert/1", "alert/3"] == ids(web)
    assert ["alert/1", "alert/3"] == [message["X-Millrace-Alert"] for message in post.taken]


async def _same(one: object, other: object) -> bool:
    return one == other


async def _differ(one: object, other: object) -> bool:
    return one != other


async def _at_end(world: World, route: str) -> bool:
    position = world.log.position(f"{GROUP}-{route}", ALERT_TOPIC)
    records = await world.records(ALERTS)
    return position is not None and position > max((record.offset for record in records), default=-1)


async def test_a_dead_route_is_told_and_blocks_no_other(world):
    """The mail goes out while nobody listens for the webhook; when somebody does, nothing was lost."""
    with web_server() as web, mail_server() as post:
        web.statuses += [503] * 3
        before = count("millrace_alert_deliveries_total", route="webhook", outcome="failed")
        async with notifying(world, settings(web, post, webhook_url=f"http://127.0.0.1:{free_port()}")) as notifier:
            await say(world, ALERTS, raised(1))
            await eventually(lambda: _same(len(post.taken), 1), "the mail went out")
            await eventually(lambda: _differ(notifier.trouble()["webhook"], None), "trouble is told")
            assert "1 alerts wait" in str(notifier.trouble()["webhook"])
            assert notifier.trouble()["email"] is None
            assert 1 == count("millrace_alert_route_failing", route="webhook")
        assert count("millrace_alert_deliveries_total", route="webhook", outcome="failed") > before
        async with notifying(world, settings(web, post)) as notifier:
            await eventually(taken(web, 1), "the webhook got it after all")
            await eventually(lambda: _same(notifier.trouble()["webhook"], None), "and is well")

    assert (["alert/1"], 4) == (ids(web), len(web.posted)), "three tries failed, with the same key"
    assert 1 == len({posted.headers["idempotency-key"] for posted in web.posted})
    assert 1 == len(post.taken), "the other route did not send it again"


async def test_what_is_refused_is_told_and_left(world):
    """One alert that the receiver cannot take does not stop the next."""
    with web_server(422) as web:
        async with notifying(world, settings(web)):
            await say(world, ALERTS, raised(1))
            await say(world, ALERTS, raised(2, subject="other"))
            await eventually(taken(web, 1), "the second")

    assert (["alert/2"], 2) == (ids(web), len(web.posted))
    assert count("millrace_alert_deliveries_total", route="webhook", outcome="refused") >= 1


async def test_what_a_route_cannot_put_into_words_is_told_and_left(world):
    """An alert whose id breaks a header: whatever the library raises, the next alert goes out."""
    with web_server() as web:
        async with notifying(world, settings(web)):
            await say(world, ALERTS, raised(1, alert_id="alert\n1"))
            await say(world, ALERTS, raised(2, subject="other"))
            await eventually(taken(web, 1), "the second")

    assert ["alert/2"] == ids(web)


async def test_a_restart_remembers_what_was_sent(world):
    """The next process begins after it, and still holds repetitions back."""
    with web_server() as web:
        async with notifying(world, settings(web)):
            await say(world, ALERTS, raised(1))
            await eventually(lambda: _at_end(world, "webhook"), "it is done")
        await say(world, ALERTS, raised(2))
        await say(world, ALERTS, raised(3, severity="CRITICAL"))
        async with notifying(world, settings(web)):
            await eventually(lambda: _at_end(world, "webhook"), "and so are these")

    assert ["alert/1", "alert/3"] == ids(web)


async def test_silence_and_acknowledgement_are_heard(world):
    """Also those that come while a route cannot deliver: what waits is not sent."""
    now_ms = SystemClock().now_ms()
    with web_server() as web:
        web.statuses += [503] * 1000
        async with notifying(world, settings(web)):
            await say(world, ALERTS, raised(1))
            await say(world, ALERTS, raised(2, subject="other"))
            await say(world, ALERTS, raised(3, subject="third"))
            await eventually(lambda: _differ(len(web.posted), 0), "one was tried")
            await say(world, ALERT_ACTIONS, handled("SILENCED", now_ms, subject="other", until_ms=now_ms + HOUR_MS))
            await say(world, ALERT_ACTIONS, handled("ACKNOWLEDGED", now_ms, alert_id="alert/1"))
            web.statuses.clear()
            await eventually(lambda: _at_end(world, "webhook"), "all are settled")

    assert set(ids(web)) <= {"alert/1", "alert/3"}
    assert "alert/3" in ids(web)


async def test_what_cannot_be_read_is_told_and_passed(world):
    """Garbage on the topic stops nothing. What Prometheus raised is left to Alertmanager."""
    before = count("millrace_alert_deliveries_total", route="webhook", outcome="unreadable")
    with web_server() as web:
        async with notifying(world, settings(web)):
            await world.send(ALERTS, ("key", b"garbage"))
            await world.send(ALERT_ACTIONS, ("key", b"garbage"))
            await say(world, ALERTS, raised(1, service="prometheus"))
            await say(world, ALERTS, raised(2))
            await eventually(lambda: _at_end(world, "webhook"), "all are passed")

    assert ["alert/2"] == ids(web)
    assert before + 1 == count("millrace_alert_deliveries_total", route="webhook", outcome="unreadable")


async def test_prometheus_alerts_are_sent_where_that_is_wished(world):
    """For who has no Alertmanager of their own routes."""
    with web_server() as web:
        async with notifying(world, settings(web, prometheus=True)):
            await say(world, ALERTS, raised(1, service="prometheus"))
            await eventually(taken(web, 1), "it is sent")

    assert ["alert/1"] == ids(web)


async def test_a_new_route_begins_with_what_is_new(world, monkeypatch):
    """Not with all that was raised in the last 90 days."""
    monkeypatch.setattr("millrace.alerting.lane.FIRST_LOOK_MS", -HOUR_MS)
    await say(world, ALERTS, raised(1))
    with web_server() as web:
        async with notifying(world, settings(web)):
            await eventually(lambda: _at_end(world, "webhook"), "it stands at the end")
            await say(world, ALERTS, raised(2, subject="other"))
            await eventually(taken(web, 1), "what came then")

    assert ["alert/2"] == ids(web)


async def test_without_a_route_it_waits(world):
    """No address is no error."""
    async with notifying(world, AlertSettings()) as notifier:
        assert {} == notifier.trouble()


@pytest.mark.broker
async def test_on_a_real_log(broker, tmp_path):
    """The same against Kafka and its schema registry: delivered by both routes, positions committed."""
    from millrace.bus.kafka import KafkaTransport

    project = tiny_project(tmp_path / "tiny")
    transport, registry = (
        KafkaTransport(broker.bootstrap_servers, "alerting"),
        SchemaRegistry(broker.schema_registry_url),
    )
    rows = [ALERTS, ALERT_ACTIONS]
    await transport.create_topics([TopicSpec(row.suffix, 1, row.retention_ms) for row in rows])
    codec = Codec(registry)
    await codec.prepare(project, *rows)
    mine = raised(1, alert_id=f"alert/{tmp_path.name}", subject=str(tmp_path), raised_at_ms=SystemClock().now_ms())
    with web_server() as web, mail_server() as post:
        told = settings(web, post)
        notifier = Notifier(transport, Codec(registry), told, SystemClock(), routes_of(told, SystemClock()))
        task = asyncio.create_task(notifier.run())
        producer = await transport.producer("test.alerting")
        (offset,) = await producer.commit([OutRecord(ALERTS.suffix, b"tiny", codec.encode(ALERTS.suffix, mine), 0)])

        async def passed() -> bool:
            groups = [f"{GROUP}-{route}" for route in notifier.routes]
            at = [(await transport.committed(group, [ALERT_TOPIC]))[ALERT_TOPIC] for group in groups]
            return all(position is not None and position > offset for position in at)

        await eventually(passed, "both groups are past it")
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    await transport.close()
    await registry.aclose()

    assert 1 == ids(web).count(mine.alert_id)
    assert 1 == [message["X-Millrace-Alert"] for message in post.taken].count(mine.alert_id)
