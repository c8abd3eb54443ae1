"""``millrace runs export``: a run's record as files, or the run in an MLflow tracking server."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from millrace.cli.artifacts_option import artifacts_option, store_of
from millrace.cli.options import address_options, json_option
from millrace.runs.plain import dumps

if TYPE_CHECKING:
    from millrace.runs.fold import Run

EVENT = "run-event.json"
"""The run as the log has it, beside the files of its record."""


@click.command("export")
@click.argument("run")
@click.option("--to", "folder", type=click.Path(file_okay=False, path_type=Path), help="Write its files here.")
@click.option("--mlflow", "uri", metavar="URL", help="Bring it to this MLflow tracking server.")
@artifacts_option
@address_options
@json_option
def export(
    run: str,
    folder: Path | None,
    uri: str | None,
    artifacts: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Export RUN: its files to a folder (--to), or all of it to MLflow (--mlflow), or both.

    In MLflow the experiment has the model's name, the run the run's id. Exporting it again brings what is new.

    \b
    millrace runs export run-0123456789abcdef --to here
    millrace runs export run-0123456789abcdef --mlflow http://127.0.0.1:5000
    """  # noqa: D301  # the backslash is click's: keep these lines apart
    if folder is None and uri is None:
        raise click.UsageError("say where to: --to FOLDER, --mlflow URL, or both")

    async def read() -> "Run":
        from millrace.cli.runs_read import reading

        async with reading(data, bootstrap, schema_registry) as reader:
            return reader.runs.find(run)

    from millrace.cli.runs_read import record_of

    found = asyncio.run(read())
    files, missing = record_of(found, store_of(data, artifacts))
    said: dict[str, Any] = {"run_id": found.run_id, "note": missing}
    if folder is not None:
        said |= {"folder": str(folder), "files": write(found, files, folder)}
    if uri is not None:
        said["mlflow"] = bring(found, files, uri)
    if as_json:
        click.echo(dumps(said))
        return
    if missing is not None:
        click.secho(f"note: {missing}", err=True, fg="yellow")
    if folder is not None:
        click.echo(f"{len(said['files'])} files of {found.run_id} in {folder}")
    if uri is not None:
        how = "Exported" if said["mlflow"]["created"] else "Brought up to date"
        click.echo(f"{how}: {said['mlflow']['url']}")


def write(run: "Run", files: Mapping[str, bytes], folder: Path) -> list[str]:
    """Write them. Raises ``ClickException`` if that cannot be done."""
    wanted = {**files, EVENT: f"{dumps(run.as_json(), indent=1)}\n".encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in wanted.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        raise click.ClickException(f"{folder} cannot be written: {error}") from error
    return sorted(wanted)


def bring(run: "Run", files: Mapping[str, bytes], uri: str) -> dict[str, Any]:
    """Bring the run to MLflow, and say where it is there."""
    from millrace.cli.runs_mlflow import Mlflow
    from millrace.runs.mlflow import exported

    return Mlflow(uri).send(exported(run, files))._asdict()
