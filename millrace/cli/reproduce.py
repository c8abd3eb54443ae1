"""``millrace reproduce``: train a run again from its rows as of then, and compare the bytes of the model."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import click

from millrace.cli.artifacts_option import artifacts_option, store_of
from millrace.cli.lake_option import lake_option, open_lake
from millrace.cli.manage import platform
from millrace.cli.options import address_options, json_option
from millrace.runs.plain import dumps

if TYPE_CHECKING:
    from millrace.cli.data_source import LakeSource
    from millrace.cli.reproduce_again import Repeated
    from millrace.contracts.project import Project


@click.command("reproduce")
@click.argument("run")
@click.option("--project", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="The model project; the one that runs on --data if left out.")  # fmt: skip
@lake_option
@artifacts_option
@address_options
@json_option
def command(
    run: str,
    folder: Path | None,
    lake_root: str | None,
    artifacts: str | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Train RUN again and compare: the bytes of the model must be the same.

    The rows are read again from the samples log, or from the lake as of then where retention has removed them, and
    must have the hash that the run noted. What the run's search settled on is fitted again in a child process. Exits
    with 1 if the model is another one, or cannot be made, and says what differs.
    """

    async def ask() -> "Repeated":
        from millrace.cli.reproduce_again import ahead, child_fitter, repeated
        from millrace.cli.runs_read import RunsReader

        async with platform(data, bootstrap, schema_registry) as log:
            reader = RunsReader(log.transport, log.codec)
            found = (await reader.refresh()).find(run).last
            project = project_of(folder, data)

            def lake() -> "LakeSource":
                from millrace.cli.data_source import LakeSource

                return LakeSource(open_lake(project, data, lake_root))

            for line in ahead(project, found):
                click.secho(f"note: {line}", err=True, fg="yellow")
            store = store_of(data, artifacts)
            return await repeated(project, log, store, found, child_fitter(project, data), lake)

    said = asyncio.run(ask())
    if as_json:
        click.echo(dumps(said.as_json()))
    else:
        for line in said.lines():
            click.secho(line, fg="green" if said.equal else "red")
    if not said.equal:
        raise SystemExit(1)


def project_of(folder: Path | None, data: Path) -> "Project":
    """The project in that folder, else the one that runs on the data folder.

    Raises:
        ClickException: neither is known.
    """
    from millrace.contracts.project import load_project
    from millrace.local.runfile import running

    if folder is None:
        info = running(data)
        if info is None or info.project is None:
            raise click.ClickException(
                f"which project the run is of is not known: nothing runs on {data}; give --project"
            )
        folder = Path(info.project)
    return load_project(folder)
