"""`millrace publish`: what is wrong is said before it talks to anybody; what is right is on the topics afterwards."""

import asyncio
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from millrace.bus.kafka import KafkaTransport
from millrace.cli.publish import command
from millrace.contracts.errors import MillraceError
from millrace.local.prepare import prepare
from tests.conftest import Broker
from tests.demo.scene import stream_project


def outcome(*arguments: object) -> tuple[int, str]:
    """Status and message of a call."""
    result = CliRunner().invoke(command, [str(one) for one in arguments])
    said = str(result.exception) if isinstance(result.exception, MillraceError) else result.output
    return result.exit_code, said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["nothing runs on", "millrace up"]),
        (["--bootstrap", "localhost:1"], ["--schema-registry is missing"]),
        (["--from-row", "401"], ["400 rows", "--from-row 401"]),
        (["--rate", "-1"], ["--rate"]),
    ],
)
def test_a_call_that_cannot_work_says_why(tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    """Nothing runs, half an address, a row behind the end, a rate below 0."""
    stream_project(tmp_path / "project")
    status, said = outcome(tmp_path / "project", "--data", tmp_path / "data", *arguments)

    assert 0 != status
    assert [] == [word for word in words if word not in said], said


def test_bad_rows_are_found_before_anything_is_sent(tmp_path: Path) -> None:
    """The file is wrong and nothing runs: the file is named."""
    stream_project(tmp_path / "project")
    (tmp_path / "bad.csv").write_text("x,truth\n1,yes\nabc,no\n")
    status, said = outcome(tmp_path / "project", tmp_path / "bad.csv", "--data", tmp_path / "data")

    assert (1, True) == (status, "row 1, column 'x': the value is 'abc'" in said)


async def _count(bootstrap_servers: str, topic: str) -> int:
    """How many records a read_committed reader sees."""
    transport = KafkaTransport(bootstrap_servers, "test")
    begin, end = await transport.bounds(topic, 0)
    found = [record async for batch in transport.read(topic, 0, begin, end) for record in batch]
    await transport.close()
    return len(found)


@pytest.mark.broker
def test_the_rows_asked_for_are_on_the_topics(tmp_path: Path, broker: Broker) -> None:
    """Rows 10 to 29 on a real broker: as many events and labels, and one JSON object that says so."""
    folder = tmp_path / "project"
    stream_project(folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    stream = f"publish-{abs(hash(tmp_path)) % 10**8}"
    (folder / "model.yaml").write_text(yaml.safe_dump({**config, "stream": stream, "model": stream}))
    where = (broker.bootstrap_servers, broker.schema_registry_url)
    asyncio.run(prepare(*where, folder))
    addresses = ["--bootstrap", where[0], "--schema-registry", where[1]]
    status, said = outcome(folder, "--from-row", "10", "--rows", "20", "--rate", "200", "--json", *addresses)

    assert 0 == status, said
    assert {"events": 20, "labels": 20, "from_row": 10, "file": str(folder / "rows.csv")} == json.loads(said)
    counts = [asyncio.run(_count(where[0], f"{stream}-{suffix}")) for suffix in ("events", "labels")]
    assert [20, 20] == counts
