"""``millrace runs``: training runs as the log tells them: what they had, how good they are, what became of them."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from millrace.cli.artifacts_option import artifacts_option, store_of
from millrace.cli.manage import model_name
from millrace.cli.options import address_options, json_option
from millrace.cli.runs_export import export
from millrace.runs.plain import dumps

if TYPE_CHECKING:
    from millrace.cli.runs_read import RunsReader
    from millrace.runs.fold import Run

LOOK_S = 0.2
SHOWN = 30  # newest first


@click.group("runs")
def command() -> None:
    """List, show, compare and export training runs.

    They are read from the log, so this answers without a registry, and about runs that are under way.
    """


command.add_command(export)


@command.command("list")
@click.argument("model", required=False)
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="How many, newest first.")
@address_options
@json_option
def list_runs(
    model: str | None, limit: int, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """List the runs of MODEL, newest first; of all models if it is left out.

    MODEL is a model's name, or its project's folder.
    """

    async def read() -> "RunsReader":
        from millrace.cli.runs_read import reading

        async with reading(data, bootstrap, schema_registry) as reader:
            return reader

    reader = asyncio.run(read())
    runs = reader.runs.of(None if model is None else model_name(model))
    left_out = len(runs) - limit
    runs, notes = runs[:limit], list(reader.notes)
    if left_out > 0:
        notes.append(f"{left_out} older runs are left out; --limit shows more")
    if as_json:
        click.echo(dumps({"runs": [_short(run) for run in runs], "notes": notes}))
        return
    from rich.console import Console

    from millrace.cli.runs_show import show_list

    show_list(runs, notes, Console())


@command.command("show")
@click.argument("run")
@click.option("--follow", is_flag=True, help="Tell what happens until the run has ended.")
@artifacts_option
@address_options
@json_option
def show(
    run: str,
    artifacts: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Show all about RUN: what it had, how it learned, metrics, checks, and what the registry made of it.

    RUN is a run's id, or its beginning. With --follow and --json each line is an object: progress, then the run.
    """

    async def read() -> "tuple[Run, list[str]]":
        from millrace.cli.runs_read import reading

        async with reading(data, bootstrap, schema_registry) as reader:
            found = reader.runs.find(run)
            if follow:
                found = await followed(reader, found.run_id, as_json=as_json)
            return found, reader.notes

    found, notes = asyncio.run(read())
    from millrace.cli.runs_read import record_of

    files, missing = record_of(found, store_of(data, artifacts))
    if missing is not None and found.last.status == "SUCCEEDED":
        notes = [*notes, missing]
    if as_json:
        click.echo(dumps({**found.as_json(), "record_files": sorted(files), "notes": notes}))
        return
    from rich.console import Console

    from millrace.cli.runs_show import show_run

    show_run(found, files, notes, Console())


@command.command("compare")
@click.argument("run", nargs=-1, required=True)
@address_options
@json_option
def compare_runs(
    run: tuple[str, ...], data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Set two or more RUNs side by side, and mark what differs."""
    if len(run) < 2:
        raise click.BadParameter(f"only {run[0]} is given; two are needed to compare", param_hint="RUN")

    async def read() -> "list[Run]":
        from millrace.cli.runs_read import reading

        async with reading(data, bootstrap, schema_registry) as reader:
            return [reader.runs.find(name) for name in run]

    from millrace.runs.compare import compare

    found = asyncio.run(read())
    lines = compare(found)
    if as_json:
        rows = [{"name": line.name, "values": line.values, "differs": line.differs} for line in lines]
        click.echo(dumps({"runs": [one.run_id for one in found], "lines": rows}))
        return
    from rich.console import Console

    from millrace.cli.runs_show import show_comparison

    show_comparison(found, lines, Console())


async def followed(reader: "RunsReader", run_id: str, *, as_json: bool, look_s: float = LOOK_S) -> "Run":
    """Tell each news of the run until it has ended; the run as it is then."""
    from millrace.cli.runs_show import progress_line

    told, attempt = 0, 0
    while True:
        run = reader.runs.find(run_id)
        told = told if run.attempts == attempt else 0
        attempt = run.attempts
        for news in run.progress[told:]:
            said = {"at_ms": news.at_ms, **news.progress.model_dump()}
            click.echo(dumps(said) if as_json else progress_line(news))
        told = len(run.progress)
        if run.ended:
            return run
        await asyncio.sleep(look_s)
        await reader.refresh()


def _short(run: "Run") -> dict[str, Any]:
    """What a list tells of a run."""
    last = run.last
    names = {
        "run_id", "model", "status", "trigger", "caused_by", "because", "train_rows", "holdout_rows", "family",
        "window", "metrics", "champion_version", "champion_metrics", "error", "duration_s", "changed_at_ms",
    }  # fmt: skip
    return {
        **last.model_dump(mode="json", include=names),
        "began_at_ms": run.began_ms,
        "attempts": run.attempts,
        "version": run.version,
        "decision": run.decision,
        "reasons": run.reasons,
    }
