"""``millrace data report``: what it prints, what it writes, and how it says no."""

from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from millrace.cli.data_report import report as command
from millrace.cli.data_report import show
from millrace.contracts.codec import Codec
from millrace.data_report.make import make_report
from millrace.local.errors import LocalError
from tests.data_report.made_up import stream
from tests.support import tiny_project


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
