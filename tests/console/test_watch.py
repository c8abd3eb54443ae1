"""How the services do: ready, not ready with the failing check, or down; how busy and how far behind."""

import httpx
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from millrace.bus.clock import LoopClock
from millrace.console.http import Reply
from millrace.console.watch import Target, Watcher
from millrace.telemetry.health import build_app
from millrace.telemetry.scrape import figures
from tests.support import EPOCH_MS


class Services:
    """Real health applications, asked without a network; ``down`` are those that do not answer."""

    def __init__(self):
        self.checks = {"bus": None}
        self.down = set()
        self.told = []
        self.app = build_app("ingest", lambda: self.checks)

    async def fetch(self, url, timeout_s, headers):
        """Asks the application, or finds nobody."""
        if "ingest" in self.down:
            raise ConnectionRefusedError("nobody answers")
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.app)) as client:
            response = await client.get(url, headers=dict(headers))
        return Reply(response.status_code, response.content, response.headers["content-type"])


async def test_a_service_is_ready_not_ready_or_down():
    """With the failing check in words; each change is told once, with since when."""
    services = Services()
    clock, told = LoopClock(EPOCH_MS), []
    watcher = Watcher(lambda: {"ingest": Target("http://ingest", 2)}, services.fetch, clock, told.append)
    for checks, down in (({"bus": None}, False), ({"bus": None}, False), ({"bus": "no answer"}, False), ({}, True)):
        services.checks, services.down = checks, {"ingest"} if down else set()
        await watcher.look()
    states = [[seen.state for seen in changed] for changed in told]
    shown = watcher.seen["ingest"].to_json()

    assert [["ready"], [], ["not_ready"], ["down"]] == states
    assert [("bus", "no answer")] == list(told[2][0].failing)
    assert ("down", [{"check": "http", "why": "nobody answers"}], None) == (
        shown["state"],
        shown["failing"],
        shown["memory_bytes"],
    )
    assert 2 == told[0][0].restarts


async def test_nobody_to_look_at_is_no_error():
    """A console may be started before the platform."""
    told = []
    watcher = Watcher(dict, Services().fetch, LoopClock(EPOCH_MS), told.append)
    await watcher.look()

    assert [[]] == told


def test_figures_are_read_from_real_metrics():
    """Lag is the sum over partitions; counters are kept by direction and topic."""
    registry = CollectorRegistry()
    lag = Gauge("millrace_lag_records", "Lag.", ["service", "topic", "partition"], registry=registry)
    taken = Counter("millrace_records_in_total", "Taken.", ["service", "topic"], registry=registry)
    lag.labels("ingest", "a", "0").set(2)
    lag.labels("ingest", "a", "1").set(3)
    taken.labels("ingest", "a").inc(7)
    found = figures(generate_latest(registry).decode())

    assert (5.0, {("in", "a"): 7.0}, None) == (found.lag_records, found.records, found.cpu_s)
