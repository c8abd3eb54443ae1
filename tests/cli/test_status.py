"""``millrace status``: what it shows for people."""

import io

from click.testing import CliRunner
from rich.console import Console

from millrace.cli.status import Readiness, command, page
from millrace.cli.status_models import ModelStatus
from millrace.local.runfile import RunInfo

INFO = RunInfo("broker:1", "http://registry", None, 1)
WAITING = {"version": 3, "why": "waiting for approval of production: 1 of 2 (ada)", "state": "waiting"}


def shown(services, models):
    """The page as text."""
    console = Console(file=io.StringIO(), width=160)
    for part in page(INFO, services, models):
        console.print(part)
    return console.file.getvalue()


def test_services_are_told_with_lag_and_memory():
    """What does not tell them has an empty cell; what is not ready says which check fails."""
    serving = Readiness("serving", "http://s", 7, 1, ready=True, failing={}, lag_records=1234, memory_bytes=210 << 20)
    ingest = Readiness("ingest", "http://i", 8, 0, ready=False, failing={"bus": "no answer"})
    text = shown([serving, ingest], [])

    assert "1,234" in text
    assert "210 MiB" in text
    assert "no (bus: no answer)" in text


def test_a_model_says_since_when_and_why_and_what_waits():
    """With the command that ends the wait."""
    model = ModelStatus("power", champion=2, epoch=4, waiting=(WAITING,), since_ms=0, reason="it is better")
    text = shown([Readiness("registry", "u", 1, 0, ready=True, failing={})], [model])

    assert "power: version 2 is champion (epoch 4)" in text
    assert "since 1970-01-01 00:00:00" in text
    assert "it is better" in text
    assert "version 3: waiting for approval of production: 1 of 2 (ada); millrace approve power 3" in text


def test_live_and_json_exclude_each_other(tmp_path):
    """A stream of pages is nothing for a program."""
    result = CliRunner().invoke(command, ["--data", str(tmp_path), "--live", "--json"])

    assert result.exit_code == 2
    assert "leave one of them out" in result.output
