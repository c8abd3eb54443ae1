"""``millrace lineage``: from a prediction back to its rows, from an event forward to all that it touched."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from click import Command
from click.testing import CliRunner
from rich.console import Console

from millrace.bus.clock import LoopClock
from millrace.bus.context import Context
from millrace.bus.deadletter import dead_letter
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record, TopicPartition
from millrace.cli import lineage_scan
from millrace.cli.data import command as data
from millrace.cli.lineage import command as lineage
from millrace.cli.lineage import show
from millrace.cli.lineage_read import LineageReader
from millrace.cli.lineage_scan import LogScan, source_needle
from millrace.cli.prepare import command as prepare
from millrace.contracts import schemas, topics
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.lineage.graph import Graph
from millrace.lineage.subject import LineageError
from tests.cli.lineage_world import HISTORY, history, prediction, sample, say, tell
from tests.conftest import Broker
from tests.support import EPOCH_MS, World, tiny_project


def reader(world: World) -> LineageReader:
    """A reader of the world's log."""
    return LineageReader(world.project, world.transport(), Codec(world.schemas))


async def ask(folder: Path, what: str) -> Graph:
    """The answer over the small history."""
    return await reader(await history(folder)).answer(what)


def edges(graph: Graph) -> set[tuple[str, str]]:
    """What came from what."""
    return {(edge.source, edge.target) for edge in graph.edges}


async def test_a_prediction_leads_back_to_the_rows_that_trained_its_model(tmp_path: Path) -> None:
    """Sample and source event; version, deployment, run with its hashes, ranges, snapshot and table version."""
    graph = await ask(tmp_path, "tiny/tiny-samples/0/7")

    made = "prediction:tiny/tiny-samples/0/7"
    assert made == graph.subject
    assert {
        ("event:tiny-events/0/4", "sample:tiny-samples/0/7"),
        ("sample:tiny-samples/0/7", made),
        ("version:1", made),
        ("deployment:deployment/tiny/1", made),
        ("run:run-a", "version:1"),
        ("rows:tiny-samples/0/0-7", "run:run-a"),
        ("snapshot:snap-1", "run:run-a"),
        ("table:4", "snapshot:snap-1"),
    } == edges(graph)
    facts = graph.nodes["run:run-a"].facts
    assert ("f", "code", "config", "lock", 7) == tuple(
        facts[name] for name in ("feature_set", "code_hash", "config_hash", "lock_hash", "seed")
    )
    assert ("registry", "it is better") == tuple(
        graph.nodes["deployment:deployment/tiny/1"].facts[name] for name in ("decided_by", "reason")
    )


@pytest.mark.parametrize(
    "what", ["event:e1", "tiny-events/0/1", "tiny-samples/0/1", "tiny-labels/0/1", "tiny-samples/0/4"]
)
async def test_an_event_leads_forward_to_all_that_it_touched(tmp_path: Path, what: str) -> None:
    """By its id, its place, its sample's or its label's: the runs that have it as a row, and their predictions."""
    graph = await ask(tmp_path, what)

    assert {
        ("event:tiny-events/0/1", "sample:tiny-samples/0/1"),
        ("label:tiny-labels/0/1", "sample:tiny-samples/0/4"),
        ("sample:tiny-samples/0/1", "run:run-a"),  # it lies before the rows of run-b
        ("sample:tiny-samples/0/4", "run:run-a"),
        ("run:run-a", "version:1"),
        ("version:1", "deployment:deployment/tiny/1"),
        ("version:1", "predictions:1/0"),
    } == {(one, other) for one, other in edges(graph) if _is_direct(graph, one, other)}
    made = graph.nodes["predictions:1/0"]
    assert {"rows": 1, "from_offset": 7, "until_offset": 8, "spans": [[7, 9]]} == {
        name: made.facts[name] for name in ("rows", "from_offset", "until_offset", "spans")
    }


def _is_direct(graph: Graph, one: str, other: str) -> bool:
    """Whether the edge has nothing to do with what later features may have seen."""
    indirect = {name for name, node in graph.nodes.items() if node.kind == "reached"}
    indirect |= {"run:run-b", "run:run-c", "version:2"}
    return not {one, other} & indirect


async def test_an_event_leads_to_the_later_samples_that_look_back_at_it(tmp_path: Path) -> None:
    """Its difference is seen by the next event, its label by those until the next label; and so by more runs."""
    graph = await ask(tmp_path, "event:e1")

    later = graph.nodes["reached:0/1"]
    assert ("w", 2, 3, 6) == tuple(later.facts[name] for name in ("entity", "samples", "from_offset", "until_offset"))
    assert {("sample:tiny-samples/0/1", later.id), *((later.id, f"run:run-{name}") for name in "abc")} == {
        edge for edge in edges(graph) if later.id in edge
    }


async def test_predictions_that_look_back_are_counted(tmp_path: Path) -> None:
    """By the version that made them."""
    graph = await ask(tmp_path, "event:e3")

    assert {"1": 1, "2": 1} == graph.nodes["reached:0/5"].facts["predictions"]


async def test_an_event_that_was_scored_leads_to_its_prediction(tmp_path: Path) -> None:
    """It has no label yet, so that it is no row of any run."""
    graph = await ask(tmp_path, "event:e5")

    assert ("sample:tiny-samples/0/9", "prediction:tiny/tiny-samples/0/9") in edges(graph)
    assert [] == graph.of_kind("run")


async def test_a_rejected_run_and_a_version_answer_too(tmp_path: Path) -> None:
    """A run says what became of it, a version what it came from and made."""
    rejected, second = await ask(tmp_path / "a", "run-c"), await ask(tmp_path / "b", "version 2")

    assert ("run:run-c", "rejection:run-c") in edges(rejected)
    assert {("run:run-b", "version:2"), ("version:2", "predictions:2/0")} <= edges(second)
    assert "version:2" == second.subject


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("hello", "not understood; give a prediction id"),
        ("run-x", "no run run-x of model tiny: looked through training-runs, which has 3"),
        ("v9", r"no version 9 of model tiny: looked through model-versions, which has \[1, 2\]"),
        ("event:none", "nothing came of event 'none': looked through tiny-samples, all partitions"),
        ("tiny-events/0/99", "nothing came of tiny-events/0/99: looked through tiny-samples/0"),
        ("tiny-samples/0/99", "no record at offset 99; its offsets are 0 to"),
        ("tiny-samples/4/0", "no partition 4"),
        ("other/other-samples/0/1", "this project's predictions are tiny/tiny-samples/<partition>/<offset>"),
        ("alerts/0/1", "no lineage of single records"),
        ("tiny/tiny-samples/0/0", "not scored: it is from before the first deployment"),
        ("tiny/tiny-samples/0/2", "the sample there is the label of 'e0'"),
        ("tiny/tiny-samples/0/99", "there is no sample either"),
        ("tiny/tiny-samples/0/7/challenger", r"of that sample there are \['tiny/tiny-samples/0/7'\]"),
    ],
)
async def test_what_is_not_known_is_said(tmp_path: Path, what: str, why: str) -> None:
    """The message names what was looked through, and the way out."""
    with pytest.raises(LineageError, match=why):
        await ask(tmp_path, what)


async def test_an_event_that_was_refused_is_found_in_the_dead_letters(tmp_path: Path) -> None:
    """By its place, and by its id."""
    world = await history(tmp_path)
    _, value = await world.event(id="far", x=99.0)
    record = Record("tiny-events", 0, 77, EPOCH_MS, b"w", value)
    letter = dead_letter(
        "tiny-dead-letters", record, stage="VALUE_CONVERTER", reason="out-of-range", message="99", error_class="E"
    )
    await (await world.transport().producer("test.dead")).commit([letter])

    for what in ("event:far", "tiny-events/0/77"):
        with pytest.raises(
            LineageError, match=r"refused \(out-of-range: 99\), see millrace dead-letters show PROJECT 0/0"
        ):
            await reader(world).answer(what)


async def test_a_prediction_that_retention_has_removed_is_still_explained(tmp_path: Path) -> None:
    """What scored it is known from the serving status; what cannot be counted any more is said."""
    world = await history(tmp_path)
    world.log.delete_before(TopicPartition("tiny-predictions", 0), 1)

    graph = await reader(world).answer("tiny/tiny-samples/0/7")
    forward = await reader(world).answer("v1")

    assert ("version:1", graph.subject) in edges(graph)
    assert any("retention has removed it" in note for note in graph.notes)
    assert [] == forward.of_kind("predictions")
    assert any("predictions of samples before offset 9" in note for note in forward.notes)


async def test_a_place_is_found_by_halving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a log with gaps, for every sample, whether it was scored or not."""
    monkeypatch.setattr(lineage_scan, "NEAR", 3)
    monkeypatch.setattr(lineage_scan, "CHUNK", 7)
    world = await World.create(tiny_project(tmp_path))
    for start in range(0, 60, 6):
        await say(world, topics.PREDICTIONS, *(prediction(offset) for offset in range(start, start + 6, 2)))
    scan = LogScan(world.transport(), Codec(world.schemas))

    found = [len(await scan.predictions_of("tiny-predictions", 0, offset)) for offset in range(62)]
    backwards = [record.offset async for record in scan.backwards("tiny-predictions", 0)]

    assert [1, 0] * 30 + [0, 0] == found
    assert sorted(backwards, reverse=True) == backwards
    assert 30 == len(backwards)


@pytest.mark.parametrize("number", [0, 63, 64, 8191, 8192, 2**40])
async def test_the_needle_is_what_stands_in_a_sample(tmp_path: Path, number: int) -> None:
    """Topic, partition and offset of the source stand side by side, in every version of the schema."""
    world = await World.create(tiny_project(tmp_path))
    await say(world, topics.SAMPLES, sample(1, source_partition=number % 200, source_offset=number))
    (record,) = await world.records(topics.SAMPLES)

    assert source_needle("tiny-events", number % 200, number) in (record.value or b"")
    newest = [field["name"] for field in schemas.newest("sample-recorded").parsed["fields"]]
    start = newest.index("source_topic")
    assert ["source_topic", "source_partition", "source_offset"] == newest[start : start + 3]


async def test_people_get_trees_and_programs_one_object(tmp_path: Path) -> None:
    """The trees name every thing; the object holds plain values, and every edge's ends are nodes."""
    graph = await ask(tmp_path, "event:e1")
    console = Console(width=160, record=True)

    show(graph, console)

    text = console.export_text()
    assert all(node.title in text for node in graph.nodes.values())
    said: dict[str, Any] = json.loads(json.dumps(graph.as_json(), allow_nan=False))
    names = {node["id"] for node in said["nodes"]}
    assert {"subject", "nodes", "edges", "notes"} == set(said)
    assert {end for edge in said["edges"] for end in (edge["from"], edge["to"])} <= names
    assert said["subject"] in names


@pytest.mark.broker
def test_the_commands_read_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """Lineage, time travel and the list: the same history as above, asked by the commands."""
    project = tiny_project(tmp_path, stream="told", model="told")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    runner.invoke(prepare, [str(tmp_path), *at], catch_exceptions=False)
    asyncio.run(_tell(broker, project))

    def asked(command: Command, *words: str) -> Any:
        done = runner.invoke(command, [*words, *at], catch_exceptions=False)
        assert 0 == done.exit_code, done.output
        return done.stdout

    back = json.loads(asked(lineage, str(tmp_path), "told/told-samples/0/7", "--json"))
    out = tmp_path / "rows.csv"
    rows = json.loads(asked(data, "at", str(tmp_path), "version", "1", "--out", str(out), "--json"))
    listed = json.loads(asked(data, "list", str(tmp_path), "--json"))

    assert "run:run-a" in {node["id"] for node in back["nodes"]}
    assert "run run-a" in asked(lineage, str(tmp_path), "event:e1")
    assert ("run-a", 3, "log", str(out)) == tuple(rows[key] for key in ("run_id", "rows", "source", "file"))
    assert 4 == len(out.read_text().splitlines())
    assert "3 rows of run-a" in asked(data, "at", str(tmp_path), "run-a")
    assert {"run-a", "run-b", "run-c"} == {one["run_id"] for one in listed["runs"]}


async def _tell(broker: Broker, project: Project) -> None:
    """The small history under another name; offsets are the same, because each topic is one transaction."""
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    async with SchemaRegistry(broker.schema_registry_url) as registry:
        context = Context(project, transport, Codec(registry), LoopClock(EPOCH_MS), "test")
        for row, events in HISTORY.items():
            renamed = [type(one).model_validate_json(one.model_dump_json().replace("tiny", "told")) for one in events]
            await tell(context, row, *renamed)
    await transport.close()
