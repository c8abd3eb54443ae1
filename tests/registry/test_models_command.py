"""`millrace models`: what it shows, and what it says when there is nobody to ask."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from click.testing import CliRunner

from millrace.cli.models import command
from millrace.contracts import topics
from millrace.local.runfile import FolderLock, RunInfo, RunningService, write_run
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.health import build_app
from tests.registry.runs import append, make_run, ready, registry, until, until_decided
from tests.support import World, tiny_project


@contextlib.contextmanager
def running(folder, **services: str) -> Iterator[None]:
    """A data folder on which these services run."""
    lock = FolderLock(folder)
    lock.acquire()
    rows = {name: RunningService(url, None, 0) for name, url in services.items()}
    write_run(folder, RunInfo("127.0.0.1:1", "http://127.0.0.1:2", None, os.getpid(), rows))
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def served(app) -> Iterator[str]:
    """The application on a port of this machine."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    started = threading.Event()

    async def serve():
        """Serve, and say when the port is open."""
        task = asyncio.ensure_future(server.serve())
        await until(lambda: server.started)
        started.set()
        await task

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


async def run(*words: str):
    """The command, in a thread of its own as it blocks, on a terminal wide enough not to fold."""
    return await asyncio.to_thread(CliRunner(env={"COLUMNS": "250", "NO_COLOR": "1"}).invoke, command, list(words))


@pytest.fixture
async def folder(tmp_path):
    """The data folder of a running registry that knows two versions and a rejected run."""
    world = await World.create(tiny_project(tmp_path / "project"))
    digest = ArtifactStore(tmp_path / "artifacts").put(b"a model")
    odd = make_run("run-3", against=1, artifact_sha256=digest, metrics={"accuracy": float("nan")})
    async with registry(world, tmp_path) as service:
        for count, finished in enumerate([make_run(artifact_sha256=digest),
                                          make_run("run-2", against=1, artifact_sha256=digest), odd]):  # fmt: skip
            await append(world, topics.TRAINING_RUNS, finished)
            await until_decided(world, count + 1)
    async with registry(world, tmp_path) as service:
        await ready(service)
        app = build_app("registry", service.checks)
        service.add_routes(app)
        with served(app) as url, running(tmp_path, registry=url):
            yield tmp_path


async def test_people_see_versions_champion_and_why(folder):
    """A headline with champion, epoch and reason; a table with every version and rejected run, newest first."""
    result = await run("--data", str(folder))
    lines = result.output.splitlines()
    rows = [line for line in lines if any(word in line for word in ("PROMOTED", "RETIRED", "REJECTED"))]

    assert 0 == result.exit_code, result.output
    assert lines[0].startswith("tiny: version 2 is champion since 20")
    assert lines[0].endswith("(epoch 2)")
    assert "  why: accuracy 0.900 beats the 0.800 of version 1 on the same 500 rows" == lines[1]
    assert ["REJECTED", "PROMOTED", "RETIRED"] == [row.split("│")[2].strip() for row in rows]
    assert "it was compared with version 1, but version 2 is champion now" in rows[0]


async def test_programs_get_everything_as_one_json_object(folder):
    """--json is what the API said, nothing else on the output."""
    result = await run("--data", str(folder), "--json")
    (model,) = json.loads(result.output)["models"]

    assert (2, 2, [2, 1], 1) == (
        model["champion"],
        model["epoch"],
        [row["version"] for row in model["history"]["versions"]],
        len(model["history"]["rejected"]),
    )


@pytest.mark.parametrize(
    ("services", "words"),
    [
        (None, "nothing runs on"),
        ({"ingest": "http://127.0.0.1:9"}, "no registry runs on"),
        ({"registry": "http://127.0.0.1:9"}, "the registry does not answer at http://127.0.0.1:9"),
    ],
)
async def test_nobody_to_ask_is_one_clear_message(tmp_path, services, words):
    """No traceback: what was looked for, where, and the way out; status 1."""
    with running(tmp_path, **services) if services else contextlib.nullcontext():
        result = await run("--data", str(tmp_path))

    assert 1 == result.exit_code
    assert f"Error: {words}" in result.output
    assert "millrace " in result.output


async def test_an_answer_that_is_an_error_is_shown(tmp_path):
    """The registry's own words reach the one who asked."""
    app = build_app("registry", dict)
    with served(app) as url, running(tmp_path, registry=url):
        result = await run("--data", str(tmp_path))

    assert 1 == result.exit_code
    assert 'the registry answered 404 to /v1/models: {"detail":"Not Found"}' in result.output
