"""``millrace data report``: what it prints, what it writes, and how it says no."""

import asyncio
import json
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from millrace.bus.clock import LoopClock
from millrace.bus.context import Context
from millrace.bus.kafka import KafkaTransport
from millrace.cli.data_report import report as command
from millrace.cli.data_report import show
from millrace.cli.prepare import command as prepare
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange
from millrace.contracts.project import Project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.data_report.facts import ReportError
from millrace.data_report.make import make_report
from millrace.local.errors import LocalError
from tests.cli.lineage_world import sample, snapshot, tell
from tests.conftest import Broker
from tests.data_report.made_up import stream
from tests.support import EPOCH_MS, tiny_project
from tests.transports import eventually

ROWS = 40


async def test_people_get_the_findings_worst_first(tmp_path: Path) -> None:
    """A line for each, and where the page is."""
    world = await stream(tmp_path)
    made = await make_report(world.project, world.transport(), Codec(world.schemas))
    console = Console(width=200, record=True, file=StringIO())

    show(made, tmp_path / "page.html", console)

    lines = console.export_text().splitlines()
    assert f"300 new rows in snapshot {made.snapshot_id}, version 1 served" == lines[0]
    assert [one.text for one in made.findings] == [line[2:] for line in lines[1 : 1 + len(made.findings)]]
    assert lines[-1].startswith("written to ")


def test_without_a_system_it_says_how_to_start_one(tmp_path: Path) -> None:
    """And writes nothing."""
    tiny_project(tmp_path / "project")
    words = [str(tmp_path / "project"), "--data", str(tmp_path / "data"), "--json"]

    with pytest.raises(LocalError, match="nothing runs on"):
        CliRunner().invoke(command, words, catch_exceptions=False)
    assert [] == list(tmp_path.rglob("*.html"))


@pytest.mark.broker
def test_the_command_on_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """A page in the data folder or where it is asked for; with --json alone no page; an unknown snapshot is refused."""
    project = tiny_project(tmp_path / "project", stream="reported", model="reported")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    at += ["--data", str(tmp_path / "data")]
    CliRunner().invoke(prepare, [str(project.folder), *at[:4]], catch_exceptions=False)
    until = asyncio.run(_write(project, broker))
    out = tmp_path / "out" / "page.html"

    def run(*words: str) -> str:
        return CliRunner().invoke(command, [str(project.folder), *words, *at], catch_exceptions=False).stdout

    alone = json.loads(run("--json"))
    pages = list(tmp_path.rglob("*.html"))
    told = run(f"0/{until}")
    both = json.loads(run("newest", "--out", str(out), "--json"))

    assert (ROWS, None, f"reported/0/{until}") == (
        alone["windows"]["new"]["rows"], alone["file"], alone["snapshot_id"],
    )  # fmt: skip
    assert [] == pages
    assert f"written to {tmp_path / 'data' / 'reports' / f'reported-0-{until}.html'}" in told
    assert (str(out), True) == (both["file"], out.read_text().startswith("<!doctype html>"))
    with pytest.raises(ReportError, match="no snapshot '0/1' of stream 'reported'"):
        run("0/1")


async def _write(project: Project, broker: Broker) -> int:
    """Some samples and a snapshot of them; where it ends."""
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    try:
        async with SchemaRegistry(broker.schema_registry_url) as registry:
            context = Context(project, transport, Codec(registry), LoopClock(EPOCH_MS), "test")
            await context.codec.prepare(project, topics.EVENTS)
            records = [{"id": f"e{row}", "who": "w", "at": EPOCH_MS + row, "x": row / ROWS} for row in range(ROWS)]
            events = [context.codec.encode_record("reported-events", record) for record in records]
            samples = [sample(row, event=event, feature_set=project.feature_set) for row, event in enumerate(events)]
            await tell(context, topics.SAMPLES, *samples)
            until = ROWS + 1  # the marker of the transaction has a place too
            await eventually(lambda: _ends_at(transport, "reported-samples", until), "the samples are visible")
            whole = OffsetRange(topic="reported-samples", partition=0, from_offset=0, until_offset=until)
            told = {"stream": "reported", "ranges": (whole,), "rows": ROWS, "feature_set": project.feature_set}
            before = (await transport.bounds("data-snapshots", 0)).end
            await tell(context, topics.DATA_SNAPSHOTS, snapshot(f"reported/0/{until}", until, **told))
            await eventually(lambda: _ends_at(transport, "data-snapshots", before + 1), "so is the snapshot")
    finally:
        await transport.close()
    return until


async def _ends_at(transport: KafkaTransport, topic: str, offset: int) -> bool:
    return (await transport.bounds(topic, 0)).end >= offset
