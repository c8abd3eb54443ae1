"""The command line, the API and the event stream against a registry at work on a real broker, over real HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from click.testing import CliRunner

from millrace.bus.clock import SystemClock
from millrace.bus.context import Context
from millrace.bus.kafka import KafkaTransport
from millrace.cli.main import cli
from millrace.cli.prepare import command as prepare
from millrace.contracts.codec import Codec
from millrace.contracts.project import load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from services.registry.shell import RegistryService
from tests.conftest import Broker
from tests.registry.runs import ready, until
from tests.support import tiny_project

pytestmark = pytest.mark.broker
MODEL = "governed"


@contextlib.asynccontextmanager
async def at_work(broker: Broker, folder: Path) -> AsyncIterator[tuple[RegistryService, str]]:
    """A registry on the broker, and its address."""
    transport = KafkaTransport(broker.bootstrap_servers, "registry")
    async with SchemaRegistry(broker.schema_registry_url) as schemas:
        context = Context(load_project(folder), transport, Codec(schemas), SystemClock(), "registry@test")
        service = RegistryService(
            context,
            artifacts=ArtifactStore(folder / "artifacts"),
            database_url=f"sqlite:///{folder / 'registry.db'}",
        )
        app = build_app("registry", service.checks)
        service.add_routes(app)
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
        working, serving = asyncio.create_task(service.run()), asyncio.create_task(server._serve())
        try:
            await until(lambda: server.started)
            await ready(service)
            yield service, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            server.should_exit = True
            await asyncio.wait_for(serving, 20)
            await transport.close()


async def test_what_the_command_line_asks_is_done_and_told_by_api_stream_and_history(
    tmp_path: Path, broker: Broker
) -> None:
    """Freeze by command, unfreeze over HTTP; both come over the stream, which ends when the service stops."""
    tiny_project(tmp_path, stream=MODEL, model=MODEL)
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner, told = CliRunner(), []

    async def run(*words: str) -> tuple[int, str]:
        """Status and output of a command, without what the registry in this process logs meanwhile."""
        result = await asyncio.to_thread(runner.invoke, cli, [*words, *at])
        return result.exit_code, "".join(
            line for line in result.output.splitlines(keepends=True) if not line.startswith("{")
        )

    async def listen(url: str) -> None:
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("GET", f"{url}/v1/models/{MODEL}/events") as stream,
        ):
            async for line in stream.aiter_lines():
                told.append(line)  # noqa: PERF401  # it is looked at while it grows

    await asyncio.to_thread(runner.invoke, prepare, [str(tmp_path), *at], catch_exceptions=False)
    async with at_work(broker, tmp_path) as (_, url), httpx.AsyncClient(base_url=url, timeout=30) as client:
        listening = asyncio.create_task(listen(url))
        frozen = await run("freeze", MODEL, "--reason", "a holiday", "--by", "ada")
        refused = await run("promote", str(tmp_path), "7", "--reason", "why not", "--by", "ada")
        body = {"reason": "back again", "requested_by": "grace"}
        thawed = await client.post(f"/v1/models/{MODEL}/unfreeze", json=body, headers={"If-Match": '"0"'})
        audits = (await client.get(f"/v1/models/{MODEL}/audit")).json()["audits"]
        await until(lambda: sum(line.startswith("data: ") for line in told) == 3)
    async with asyncio.timeout(20):  # the service has stopped, so the stream ends
        await listening
    history = await run("history", MODEL)

    assert (0, f"{MODEL} is frozen: nothing but rolling back happens by itself (a holiday)\n") == frozen
    assert (1, f"refused: there is no version 7; {MODEL} has no version yet\n") == refused
    assert (200, "grace") == (thawed.status_code, thawed.json()["audit"]["actor"])
    assert ["unfreeze", "promote", "freeze"] == [audit["action"] for audit in audits]
    assert ["freeze", "promote", "unfreeze"] == [
        json.loads(line.removeprefix("data: "))["action"] for line in told if line.startswith("data: ")
    ]
    assert 0 == history[0]
    assert all(words in history[1] for words in ("freeze accepted  ada", "promote refused", "unfreeze accepted  grace"))
