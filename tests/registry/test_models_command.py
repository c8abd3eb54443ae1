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
from millrace.cli.status import command as status
from millrace.cli.status_models import ModelStatus
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


async def test_list_is_the_command_itself_and_options_may_stand_before_it(folder):
    """`millrace models` goes on to work as it did; `--data` before a subcommand holds for it too."""
    plain, listed = await run("--data", str(folder)), await run("--data", str(folder), "list")

    assert 0 == listed.exit_code, listed.output
    assert plain.output == listed.output


async def test_one_model_and_one_version_can_be_shown(folder):
    """The model as in the list; the version with all that its run told."""
    model = await run("show", "tiny", "--data", str(folder))
    version = await run("show", "tiny", "2", "--data", str(folder))
    as_json = await run("show", "tiny", "2", "--data", str(folder), "--json")

    assert model.output.startswith("tiny: version 2 is champion since 20")
    assert "train_rows         4500" in version.output.splitlines()
    assert (2, "run-2", "onnx-parity") == (
        json.loads(as_json.output)["version"],
        json.loads(as_json.output)["run_id"],
        json.loads(as_json.output)["checks"][0]["name"],
    )


async def test_a_card_is_printed_as_markdown_or_as_json(folder):
    """For people and for programs."""
    page = await run("card", "tiny", "2", "--data", str(folder))
    as_json = await run("card", "tiny", "2", "--data", str(folder), "--json")

    assert page.output.startswith("# tiny, version 2\n")
    assert "## Known limits" in page.output
    assert {"accuracy": 0.9} == json.loads(as_json.output)["metrics"]


async def test_a_version_that_is_not_there_is_said_in_the_registrys_words(folder):
    """Status 1, with those that are there."""
    result = await run("card", "tiny", "9", "--data", str(folder))

    assert 1 == result.exit_code
    assert "model 'tiny' has no version 9; it has [1, 2]" in result.output


async def test_status_tells_what_each_model_serves(folder):
    """Champion and epoch; a rollout or a freeze would follow."""
    words = await asyncio.to_thread(CliRunner().invoke, status, ["--data", str(folder)])
    as_json = await asyncio.to_thread(CliRunner().invoke, status, ["--data", str(folder), "--json"])

    assert "tiny: version 2 is champion (epoch 2)" in words.output.splitlines()
    assert [("tiny", 2, 2, [], None, None)] == [
        tuple(one[key] for key in ("model", "champion", "epoch", "rollouts", "frozen", "fault"))
        for one in json.loads(as_json.output)["models"]
    ]


async def test_status_goes_on_without_a_registry(tmp_path):
    """What is not known is said; the services are shown all the same."""
    with running(tmp_path, registry="http://127.0.0.1:9"):
        result = await asyncio.to_thread(CliRunner().invoke, status, ["--data", str(tmp_path)])

    assert 0 == result.exit_code
    assert "models: the registry does not answer at http://127.0.0.1:9" in result.output


def test_status_shows_a_rollout_with_its_evidence_and_a_freeze():
    """Strategy, step, the share and the counts of each version, the comparison, who froze it."""
    arm = {"variant": "candidate", "version": 2, "answered_rows": 5, "scored_rows": 60, "error_rows": 1,
           "missing_rows": 0, "labelled_rows": 4, "loss": 0.25}  # fmt: skip
    rollout = {
        "rollout_id": "rollout/tiny/2", "strategy": "canary", "step": 0, "began_at_ms": 0, "reason": "better",
        "traffic": [{"variant": "candidate", "version": 2, "share": 0.1, "mode": "LIVE"}], "arms": [arm],
        "total_pairs": [{"version": 2, "paired_rows": 60, "better_rows": 6, "worse_rows": 2, "difference": -0.05}],
    }  # fmt: skip
    lines = list(ModelStatus("tiny", 1, 2, (rollout,), {"by": "ada", "since_ms": 0, "reason": "holiday"}).lines())

    assert [
        "tiny: version 1 is champion (epoch 2)",
        "  rollout/tiny/2: canary, step 0, since 1970-01-01 00:00:00.000Z: better",
        "       10 %  version 2 as candidate: 5 answered, 60 scored, 1 errors, 0 missing, mean loss 0.25 on 4",
        "    version 2 and the champion on 60 same events: better on 6, worse on 2, mean difference of loss -0.05",
        "  frozen by ada since 1970-01-01 00:00:00.000Z: holiday",
    ] == lines


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
