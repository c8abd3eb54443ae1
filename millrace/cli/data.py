"""``millrace data``: the rows as a run saw them or as they were known at a time, and what there is to travel to."""

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from millrace.cli.data_report import report
from millrace.cli.data_show import show, show_comparison, show_list
from millrace.cli.lake_option import lake_option, open_lake
from millrace.cli.options import DATA, address_options, json_option, project_argument

if TYPE_CHECKING:
    from millrace.cli.data_travel import Answer
    from millrace.lineage.facts import Facts

SUFFIXES = (".parquet", ".csv")
SNAPSHOT = {
    "snapshot_id", "feature_set", "ranges", "table_version", "rows", "labelled_rows", "content_sha256", "taken_at_ms",
}  # fmt: skip
RUN = {
    "ranges", "excluded", "train_rows", "holdout_rows", "table_version", "snapshot_id", "artifact_sha256",
    "changed_at_ms",
}  # fmt: skip


@click.group("data")
def command() -> None:
    """Read the data again as it was, and look at it."""


command.add_command(report)


@command.command("at")
@project_argument
@click.argument("when", nargs=-1, required=True)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows to this .parquet or .csv.")
@click.option("--from", "origin", type=click.Choice(["auto", "log", "lake"]), default="auto", show_default=True,
              help="Where to read; auto takes the lake for what retention has removed from the log.")  # fmt: skip
@lake_option
@address_options
@json_option
def at(
    project: Path,
    when: tuple[str, ...],
    out: Path | None,
    origin: str,
    lake_root: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Give the rows of PROJECT as they were at WHEN.

    WHEN is a run id or a version (v3, or version 3): exactly the rows that it was made from, in their order, marked
    train or holdout. Or a time (2026-03-01T12:00Z): every sample that was in the log then; a label that was unknown
    then is null. Exits with 1 if the rows are not those that the run had.
    """
    if out is not None and out.suffix not in SUFFIXES:
        raise click.BadParameter(f"{out} ends in {out.suffix!r}; give one of {list(SUFFIXES)}", param_hint="--out")

    async def ask() -> "Answer":
        from millrace.cli.connect import connected
        from millrace.cli.data_source import LakeSource, LogSource
        from millrace.cli.data_travel import travel
        from millrace.cli.lineage_facts import read_facts

        async with connected(project, data, bootstrap, schema_registry) as clients:
            loaded = clients.project
            facts, _ = await read_facts(loaded, clients.transport, clients.codec)
            log = LogSource(loaded, clients.transport, clients.codec)

            def lake() -> LakeSource:
                return LakeSource(open_lake(loaded, data, lake_root))

            return await travel(loaded, facts, " ".join(when), log, lake, origin)

    answer = asyncio.run(ask())
    if out is not None:
        write(answer.rows.table, out)
    if as_json:
        rows = {} if out is not None else {"data": [_plain(row) for row in answer.rows.table.to_pylist()]}
        click.echo(json.dumps({**answer.as_json(), "file": None if out is None else str(out), **rows}))
    else:
        show(answer, out, Console())
    if answer.verified is False:
        raise click.exceptions.Exit(1)


@command.command("list")
@project_argument
@address_options
@json_option
def list_data(project: Path, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool) -> None:
    """List the snapshots of PROJECT's stream and the runs of its model, with the hashes of what they are made of."""

    async def ask() -> "tuple[Facts, list[str]]":
        from millrace.cli.connect import connected
        from millrace.cli.lineage_facts import read_facts

        async with connected(project, data, bootstrap, schema_registry) as clients:
            return await read_facts(clients.project, clients.transport, clients.codec)

    facts, notes = asyncio.run(ask())
    found = {**listed(facts), "notes": notes}
    if as_json:
        click.echo(json.dumps(found))
    else:
        show_list(found, Console())


@command.command("features")
@project_argument
@lake_option
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
              help="The data folder given to millrace up.")  # fmt: skip
@json_option
def features(project: Path, lake_root: str | None, data: Path, *, as_json: bool) -> None:
    """Compute the features of PROJECT's stream again, from the lake, and compare them with the recorded ones.

    Online and offline are one code, so none may differ. Exits with 1 if one does.
    """
    from millrace.cli.data_features import recompute
    from millrace.contracts.project import load_project

    loaded = load_project(project)
    found = recompute(loaded, open_lake(loaded, data, lake_root))
    if as_json:
        click.echo(json.dumps(found.as_json()))
    else:
        show_comparison(found, Console())
    if found.differing:
        raise click.exceptions.Exit(1)


def write(table: Any, out: Path) -> None:
    """The rows as a Parquet or CSV file. Raises ``ClickException`` if it cannot be written."""
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if out.suffix == ".parquet":
            pyarrow.parquet.write_table(table, out)
        else:
            pyarrow.csv.write_csv(table, out)
    except OSError as error:
        raise click.ClickException(f"{out} cannot be written: {error}") from error


def listed(facts: "Facts") -> dict[str, Any]:
    """Snapshots and runs, oldest first, as the object that ``data list --json`` prints."""
    from millrace.lineage.facts import hashes

    snapshots = [one.model_dump(mode="json", include=SNAPSHOT) for one in facts.snapshots.values()]
    runs = [
        {
            "run_id": one.run_id,
            "status": one.status,
            "version": facts.version_of(one.run_id),
            **hashes(one),
            **one.model_dump(mode="json", include=RUN),
        }
        for one in facts.runs.values()
    ]
    return {"stream": facts.stream, "model": facts.model, "snapshots": snapshots, "runs": runs}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON has it: times in milliseconds, what is missing as null."""
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return round(value.timestamp() * 1000)
    return None if isinstance(value, float) and not math.isfinite(value) else value
