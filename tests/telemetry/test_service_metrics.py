"""What every process says of itself: its checks, its requests, its restarts, its disk and memory."""

from pathlib import Path

import httpx
import pytest
from fastapi import HTTPException
from prometheus_client import REGISTRY

from millrace.telemetry import host
from millrace.telemetry.health import build_app


def value(name: str, **labels: str) -> float | None:
    """A sample of the registry."""
    return REGISTRY.get_sample_value(name, labels)


async def test_each_check_is_a_gauge() -> None:
    """As of the last answer: to a probe or to a scrape."""
    checks: dict[str, str | None] = {"bus": "no answer", "model": None}
    app = build_app("checked", lambda: checks)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        await client.get("/readyz")
        before = value("millrace_check_passing", service="checked", check="bus")
        checks["bus"] = None
        await client.get("/metrics")

    assert (0, 1) == (before, value("millrace_check_passing", service="checked", check="bus"))
    assert 1 == value("millrace_check_passing", service="checked", check="model")


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [("/things/7", "/things/{number}", "2xx"), ("/things/0", "/things/{number}", "4xx"), ("/nowhere", "other", "4xx")],
)
async def test_requests_are_measured_by_route(path: str, route: str, status: str) -> None:
    """What a caller makes up is no label; health and metrics are not counted."""
    app = build_app("routed", dict)

    @app.get("/things/{number}")
    async def thing(number: int) -> int:
        if not number:
            raise HTTPException(404)
        return number

    labels = {"service": "routed", "method": "GET", "route": route, "status": status}
    before = value("millrace_http_request_seconds_count", **labels) or 0
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        for asked in (path, "/livez", "/metrics"):
            await client.get(asked)

    assert before + 1 == value("millrace_http_request_seconds_count", **labels)
    routes = {sample.labels.get("route") for family in REGISTRY.collect() for sample in family.samples}
    assert not routes & {"/things/7", "/nowhere", "/livez", "/metrics"}


def test_a_service_says_what_it_is_and_how_often_it_began_again() -> None:
    """The count goes on growing over restarts, because the supervisor keeps it."""
    host.started("restarted", 2)

    assert 2 == value("millrace_process_restarts_total", service="restarted")
    (build,) = [one for family in REGISTRY.collect() for one in family.samples if one.name == "millrace_build_info"]
    assert {"version", "python", "service"} == set(build.labels)


@pytest.mark.parametrize(
    ("text", "limit"), [("1073741824\n", 1073741824.0), ("max\n", None), ("9223372036854771712\n", None), (None, None)]
)
def test_disk_and_memory_limit(tmp_path: Path, text: str | None, limit: float | None) -> None:
    """Of the folder that will be there; without a limit there is no series."""
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    service = f"measured-{limit}-{len(text or '')}"
    host.measure(service, tmp_path / "not" / "yet", (tmp_path / "memory.max",))

    assert limit == value("millrace_memory_limit_bytes", service=service)
    free, size = (value(f"millrace_disk_{what}_bytes", service=service) for what in ("free", "size"))
    assert free is not None
    assert size is not None
    assert 0 < free <= size
