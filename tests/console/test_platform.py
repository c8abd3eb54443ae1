"""The console as ``millrace up`` starts it: beside the five services, on a real broker."""

import asyncio
import json

import pytest

from millrace.local.platform import CONSOLE, SERVICES, Platform
from millrace.local.prepare import prepare
from millrace.local.probe import http_get
from tests.support import tiny_project

PATIENCE_S = 60


@pytest.mark.broker
@pytest.mark.slow
async def test_the_console_sees_every_service_of_its_platform(tmp_path, broker):
    """Its address stands with the others; all five are ready, and the pages and charts come from it."""
    project = tiny_project(tmp_path / "project", stream="shown", model="shown")
    platform = Platform(
        tmp_path / "data", project=project.folder, bootstrap_servers=broker.bootstrap_servers,
        schema_registry_url=broker.schema_registry_url, prepare=prepare,
    )  # fmt: skip
    async with platform:
        url = platform.info().services[CONSOLE].url

        async def overview():
            status, body = await asyncio.to_thread(http_get, f"{url}/api/overview", 10.0)
            assert 200 == status, body
            return json.loads(body)

        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await overview()
                states = {one["service"]: one["state"] for one in found["services"]}
                if found["ready"] and states == dict.fromkeys(SERVICES, "ready"):
                    break
                await asyncio.sleep(0.1)
        page, _ = await asyncio.to_thread(http_get, f"{url}/", 10.0)
        charts, _ = await asyncio.to_thread(http_get, f"{url}/static/plotly.min.js", 10.0)

    assert [200, 200] == [page, charts]
    assert ["shown"] == [stream["stream"] for stream in found["streams"]]
