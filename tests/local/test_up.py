"""The commands `up` and `status`, as processes."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GIVEN = ("--bootstrap", "kafka:1", "--schema-registry", "http://registry:2")
COMMAND = "import importlib, sys; importlib.import_module(f'millrace.cli.{sys.argv.pop(1)}').command()"


def millrace(*words: str) -> list[str]:
    """A command line."""
    return [sys.executable, "-c", COMMAND, *words]


def status(data: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run `status` on a data folder."""
    return subprocess.run(
        millrace("status", "--data", str(data), *words), capture_output=True, text=True, check=False, timeout=60
    )


@contextmanager
def up(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `up` on a broker and registry that somebody else runs, and the first line it printed."""
    command = millrace("up", "--data", str(data), *GIVEN, "--json")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_tells_the_addresses_and_stops_when_told(tmp_path: Path, number: signal.Signals) -> None:
    """One JSON line with what `status` shows too; after the signal it ends well and nothing runs."""
    with up(tmp_path) as (process, line):
        told = json.loads(line)
        shown = status(tmp_path, "--json")
        process.send_signal(number)
        assert process.wait(60) == 0

    assert (told["event"], told["bootstrap_servers"], told["schema_registry_url"]) == ("up", *GIVEN[1::2])
    assert shown.returncode == 0
    expected = {name: value for name, value in told.items() if name != "event"}
    assert {**expected, "models": []} == json.loads(shown.stdout)
    assert not (tmp_path / "run.json").exists()


def test_status_knows_that_a_killed_up_does_not_run(tmp_path: Path) -> None:
    """The run file stays behind; status says that nothing runs, and fails."""
    with up(tmp_path) as (process, _line):
        assert status(tmp_path).returncode == 0
        process.kill()
        process.wait(60)

    assert (tmp_path / "run.json").exists()
    shown = status(tmp_path)
    assert shown.returncode == 1
    assert "nothing runs on" in shown.stderr
