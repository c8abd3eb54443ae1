"""``millrace runs``: what the log tells of training runs."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from millrace.bus.clock import SystemClock
from millrace.bus.context import Context
from millrace.bus.kafka import KafkaTransport
from millrace.cli.main import cli
from millrace.cli.prepare import command as prepare
from millrace.cli.runs import followed
from millrace.cli.runs_export import write
from millrace.cli.runs_read import RunsReader, record_of
from millrace.cli.runs_show import show_comparison, show_list, show_run
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.registry_client import SchemaRegistry
from millrace.runs.compare import compare
from millrace.stores.artifacts import ArtifactStore
from services.trainer.train.record import make_record
from tests.cli.lineage_world import say, tell
from tests.conftest import Broker
from tests.runs.made import began, decided, event, progressed, succeeded
from tests.support import World, tiny_project, until
from tests.trainer.search.made import signs
from tests.trainer.test_record import made

RUNS, VERSIONS = topics.TRAINING_RUNS, topics.MODEL_VERSIONS


async def world_of(folder: Path) -> World:
    """Two runs, one deployed and one under way."""
    world = await World.create(tiny_project(folder / "tiny"))
    await say(world, RUNS, began(), progressed(1, loss=3.0), progressed(2, loss=1.0), succeeded())
    await say(world, VERSIONS, decided())
    await say(world, RUNS, began("run-b", at_ms=began().changed_at_ms + 99_000), progressed(1, run_id="run-b"))
    return world


def reader_of(world: World) -> RunsReader:
    """A reader of the world's log."""
    return RunsReader(world.transport(), Codec(world.schemas))


def console() -> Console:
    """A wide one that remembers."""
    return Console(record=True, width=220)


def kept_record(store: ArtifactStore) -> str:
    """The address of a record such as the trainer makes."""
    task = signs()
    return store.put(make_record(task, *made(task)))


async def test_runs_are_read_with_what_the_registry_made_of_them(tmp_path: Path) -> None:
    """Newest first; what is no event is named, and what is added later is found."""
    world = await world_of(tmp_path)
    await world.send(RUNS, ("tiny", b"nonsense"))
    reader = reader_of(world)
    runs = await reader.refresh()

    assert ["run-b", "run-a"] == [run.run_id for run in runs.of("tiny")]
    assert "version 2 REGISTERED" == runs.find("run-a").decision
    assert 1 == len(reader.notes)
    assert "is no TrainingRunChanged and was left out" in reader.notes[0]
    await say(world, RUNS, succeeded("run-b"))
    assert "SUCCEEDED" == (await reader.refresh()).find("run-b").last.status


async def test_a_list_has_a_few_lines_for_each_run(tmp_path: Path) -> None:
    """Status, why, rows, metric beside the champion's, decision, duration; the newest first."""
    out = console()
    show_list((await reader_of(await world_of(tmp_path)).refresh()).of(), ["a note"], out)
    text = out.export_text()

    for words in (
        "run-a", "SUCCEEDED after 10.0 s", "DRIFT: accuracy fell", "60 + 20 rows; accuracy 0.875 (champion 0.75)",
        "version 2 REGISTERED: it is better", "run-b", "STARTED", "fitting: at work", "note: a note",
    ):  # fmt: skip
        assert words in text


async def test_a_run_is_shown_with_checks_curves_and_record(tmp_path: Path) -> None:
    """The losses that were told as a row of bars; the history of its record; what failed in words."""
    store = ArtifactStore(tmp_path / "artifacts")
    world = await World.create(tiny_project(tmp_path / "tiny"))
    end = succeeded(record_sha256=kept_record(store))
    await say(world, RUNS, began(), progressed(1, loss=3.0), progressed(2, loss=1.0), end)
    run = (await reader_of(world).refresh()).find("run-a")
    files, missing = record_of(run, store)
    out = console()
    show_run(run, files, [], out)
    text = out.export_text()

    assert missing is None
    for words in ("█▁ 3 → 1", "train_loss", "worse where x < 3", "FAILED", "tree on last:60 with depth 3",
                  "tiny-samples/0 offsets 3 to 90", "baseline majority", "holdout.svg"):  # fmt: skip
        assert words in text


async def test_a_run_under_way_shows_how_far_it_is(tmp_path: Path) -> None:
    """And what it has needed so far."""
    world = await World.create(tiny_project(tmp_path / "tiny"))
    news = progressed(2, loss=1.0, cpu_s=1.5, memory_bytes_max=2.0**20)
    await say(world, RUNS, began(), progressed(1, loss=3.0), news)
    out = console()
    show_run((await reader_of(world).refresh()).find("run-a"), {}, [], out)

    assert "fitting 2/10: at work, loss 1, 1 MiB memory, 1.5 s processor" in out.export_text()


async def test_following_tells_each_news_once_and_ends_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what happens while nobody looks, and a second attempt from its beginning."""
    world = await World.create(tiny_project(tmp_path / "tiny"))
    await say(world, RUNS, began(), progressed(1, loss=3.0))
    reader = reader_of(world)
    await reader.refresh()
    following = asyncio.create_task(followed(reader, "run-a", as_json=True, look_s=0.001))
    said: list[str] = []

    async def told() -> list[str]:
        said.extend(capsys.readouterr().out.splitlines())
        return said

    await until(told, 1)
    await say(world, RUNS, progressed(2, loss=1.0), succeeded())
    run = await following
    await until(told, 2)

    assert [3.0, 1.0] == [json.loads(line)["values"]["loss"] for line in said]
    assert "SUCCEEDED" == run.last.status


async def test_a_comparison_marks_what_differs(tmp_path: Path) -> None:
    """On a terminal by a sign, so that it does not hang on a colour."""
    runs = await reader_of(await world_of(tmp_path)).refresh()
    both = [runs.find("run-a"), runs.find("run-b")]
    out = console()
    show_comparison(both, compare(both), out)
    lines = {line.split("│")[2].strip(): line for line in out.export_text().splitlines() if line.count("│") > 3}

    assert "≠" in lines["status"]
    assert "≠" not in lines["model"]


async def test_a_lost_record_is_told_and_a_run_without_one_too(tmp_path: Path) -> None:
    """The first may be in another store."""
    store = ArtifactStore(tmp_path)
    world = await World.create(tiny_project(tmp_path / "tiny"))
    await say(world, RUNS, succeeded(record_sha256="c" * 64), event("run-f", "FAILED", error="no"))
    runs = await reader_of(world).refresh()

    assert "is the store another one? See --artifacts" in (record_of(runs.find("run-a"), store)[1] or "")
    assert "only a run that succeeded has one" in (record_of(runs.find("run-f"), store)[1] or "")


@pytest.mark.broker
def test_the_commands_on_a_real_broker(broker: Broker, tmp_path: Path) -> None:
    """List, show, compare and export, each as one JSON object; what is refused says why."""
    project = tiny_project(tmp_path / "tiny", stream="runsof", model="runsof")
    addresses = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    assert 0 == runner.invoke(prepare, [str(project.folder), *addresses]).exit_code
    digest = kept_record(ArtifactStore(tmp_path / "data" / "artifacts"))

    async def fill() -> None:
        transport = KafkaTransport(broker.bootstrap_servers, "test-runs")
        try:
            async with SchemaRegistry(broker.schema_registry_url) as schemas:
                context = Context(project, transport, Codec(schemas), SystemClock(), "test")
                ended = succeeded("run-of-a", model="runsof", record_sha256=digest)
                await tell(context, RUNS, ended, event("run-of-b", "FAILED", model="runsof", error="no"))
        finally:
            await transport.close()

    asyncio.run(fill())

    def ask(*words: str) -> dict:
        ran = runner.invoke(cli, ["runs", *words, "--data", str(tmp_path / "data"), *addresses, "--json"])
        assert 0 == ran.exit_code, ran.output
        said: dict = json.loads(ran.output)
        return said

    assert {"run-of-a", "run-of-b"} == {run["run_id"] for run in ask("list", str(project.folder))["runs"]}
    assert "loss.svg" in ask("show", "run-of-a", "--follow")["record_files"]
    assert ["run-of-a", "run-of-b"] == ask("compare", "run-of-a", "run-of-b")["runs"]
    exported = ask("export", "run-of-a", "--to", str(tmp_path / "out"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == exported["files"]
    assert 2 == runner.invoke(cli, ["runs", "export", "run-of-a", *addresses]).exit_code
    assert 2 == runner.invoke(cli, ["runs", "compare", "run-of-a", *addresses]).exit_code


async def test_a_record_is_written_to_a_folder_with_the_event(tmp_path: Path) -> None:
    """Files of the record, and what the log says of the run."""
    run = (await reader_of(await world_of(tmp_path)).refresh()).find("run-a")
    names = write(run, {"run.json": b"{}"}, tmp_path / "new" / "out")

    assert ["run-event.json", "run.json"] == names
    assert "run-a" == json.loads((tmp_path / "new" / "out" / "run-event.json").read_text())["run_id"]
