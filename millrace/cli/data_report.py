"""``millrace data report``: a page about the data of a snapshot."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.text import Text

from millrace.cli.lake_option import lake_option, open_lake
from millrace.cli.options import address_options, json_option, project_argument

if TYPE_CHECKING:
    from millrace.data_report.report import Report
    from millrace.data_report.source import Origin

STYLES = {"bad": "bold red", "warn": "yellow", "note": "dim", "good": "green"}
MARKS = {"bad": "✗", "warn": "▲", "note": "•", "good": "✓"}


@click.command("report")
@project_argument
@click.argument("snapshot", default="newest")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path),
              help="The page's file; <data>/reports/<stream>-<snapshot>.html if left out.")  # fmt: skip
@click.option("--open", "show_page", is_flag=True, help="Show the page in the browser.")
@click.option("--from", "origin", type=click.Choice(["auto", "log", "lake"]), default="auto", show_default=True,
              help="Where to read rows; auto takes the lake for what retention has removed from the log.")  # fmt: skip
@lake_option
@address_options
@json_option
def report(
    project: Path,
    snapshot: str,
    out: Path | None,
    origin: "Origin",
    lake_root: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    show_page: bool,
    as_json: bool,
) -> None:
    """Make a page about the data that SNAPSHOT added to PROJECT's stream.

    SNAPSHOT is an id, as `millrace data list` shows it, or newest. The page compares its new rows with those before
    and with those that the serving version was trained on: distributions, missing values, refusals, flags, judged
    windows, drift. It is one file that needs nothing else. With --json and no --out no file is written.
    """
    made = asyncio.run(_make(project, snapshot, origin, lake_root, data, bootstrap, schema_registry))
    file = out
    if not as_json or show_page or out is not None:
        file = _write(made, data, out)
    if as_json:
        click.echo(made.model_copy(update={"file": None if file is None else str(file)}).model_dump_json())
    else:
        assert file is not None, "it was written"
        show(made, file, Console())
    if show_page:
        click.launch(str(file))


async def _make(
    project: Path,
    snapshot: str,
    origin: "Origin",
    lake_root: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
) -> "Report":
    from millrace.cli.connect import connected
    from millrace.data_report.make import make_report
    from millrace.stores.lake import LakeError

    async with connected(project, data, bootstrap, schema_registry) as clients:
        try:
            lake = None if origin == "log" else open_lake(clients.project, data, lake_root)
        except LakeError:
            if origin == "lake":
                raise
            lake = None  # there is none, and the log has what it has
        return await make_report(clients.project, clients.transport, clients.codec, lake, snapshot, origin=origin)


def _write(made: "Report", data: Path, out: Path | None) -> Path:
    from millrace.data_report.make import report_file, write_page
    from millrace.data_report.page import render

    file = out or report_file(data, made)
    try:
        write_page(render(made), file)
    except OSError as error:
        raise click.ClickException(f"{file} cannot be written: {error}; give another --out FILE.html") from error
    return file


def show(made: "Report", file: Path, console: Console) -> None:
    """What was found, worst first, and where the page is."""
    served = "no version served" if made.version is None else f"version {made.version} served"
    head = f"{made.new_rows:,} new rows in snapshot {made.snapshot_id}, {served}"
    console.print(Text(head, style="bold"))
    for one in made.findings:
        console.print(Text(f"{MARKS[one.weight]} {one.text}", style=STYLES[one.weight]))
    for note in made.notes:
        console.print(Text(f"note: {note}", style="dim"))
    console.print(f"written to {file}", highlight=False, markup=False, soft_wrap=True)
