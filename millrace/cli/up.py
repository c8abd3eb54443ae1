"""`millrace up`: run everything here, until told to stop."""

import asyncio
import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from millrace.cli.options import DATA
from millrace.local.bundle import Progress as OnProgress
from millrace.local.bundle import Software, install
from millrace.local.platform import Platform
from millrace.local.runfile import RunInfo
from millrace.local.supervisor import Change
from millrace.telemetry.log import configure


@click.command("up")
@click.argument("project", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
              help="Folder for everything that is kept: log, schemas, models, ports.")  # fmt: skip
@click.option("--bootstrap", metavar="HOST:PORT", help="Use this Kafka instead of an embedded one.")
@click.option("--schema-registry", metavar="URL", help="Use this schema registry (Confluent API) instead.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: first the addresses, then each change.")
def command(
    project: Path | None, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Start Kafka, a schema registry and, for PROJECT, the five services; run until Ctrl-C.

    The first start downloads Kafka and the schema registry (about 200 MB); later starts need no network.
    """
    configure("millrace-up", level="WARNING")  # the view tells the rest
    view = View(as_json=as_json)
    try:
        # Before the event loop runs, so that Ctrl-C ends a slow download at once.
        software = None if bootstrap and schema_registry else install_software(view.console)
        asyncio.run(_run(project, data, bootstrap, schema_registry, software, view))
    except KeyboardInterrupt:
        raise click.Abort from None


async def _run(
    project: Path | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    software: Software | None,
    view: "View",
) -> None:
    """Start the platform, show it, and stop it on a signal or when the supervision itself breaks."""
    from millrace.local.prepare import prepare

    platform = Platform(
        data, project=project, bootstrap_servers=bootstrap, schema_registry_url=schema_registry, software=software,
        prepare=prepare, on_change=view.changed,
    )  # fmt: skip
    told_to_stop = _signals()

    async def live() -> None:
        with view.waiting():
            await platform.start()
        view.up(platform.info())
        await asyncio.gather(platform.wait(), told_to_stop.wait())

    living = asyncio.create_task(live())
    told = asyncio.create_task(told_to_stop.wait())
    try:
        await asyncio.wait({living, told}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            living.result()  # it only ends early by an error
    finally:
        view.stopping()
        living.cancel()
        told.cancel()
        await asyncio.gather(living, told, return_exceptions=True)
        await platform.stop()


def _signals() -> asyncio.Event:
    """An event that Ctrl-C and SIGTERM set."""
    event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, event.set)
    return event


class View:
    """What the user sees: a table and short lines, or JSON lines on standard output."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.console = Console(stderr=as_json)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Show that something is being done, on a terminal only."""
        if self.console.is_terminal:
            with self.console.status("Starting …"):
                yield
        else:
            yield

    def up(self, info: RunInfo) -> None:
        """Show every address."""
        if self._as_json:
            click.echo(json.dumps({"event": "up", **info.as_json()}))
            return
        table = Table(title="Millrace is up", title_justify="left")
        table.add_column("what")
        table.add_column("address", overflow="fold")
        table.add_column("pid", justify="right")
        table.add_row("Kafka", info.bootstrap_servers, "")
        table.add_row("schema registry", info.schema_registry_url, "")
        for name, service in info.services.items():
            table.add_row(name, service.url, str(service.pid or ""))
        self.console.print(table)
        self.console.print("Ctrl-C stops it.")

    async def changed(self, change: Change) -> None:
        """Show that a process ended or is back."""
        if self._as_json:
            state = change.state
            shown = {"process": state.name, "pid": state.pid, "restarts": state.restarts, "reason": change.reason}
            click.echo(json.dumps({"event": change.what, **shown}))
            return
        self.console.print(f"{change.state.name} {change.what} {change.reason}".rstrip(), markup=False)

    def stopping(self) -> None:
        """Say that it takes a moment."""
        if not self._as_json:
            self.console.print("Stopping …")


def install_software(console: Console) -> Software:
    """Fetch what is missing, with a progress bar on a terminal."""
    if not console.is_terminal:
        return install()
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        return install(progress=_shown_on(bar))


def _shown_on(bar: Progress) -> OnProgress:
    """A callback that draws; the bar appears with the first byte."""

    def show(arrived_bytes: int, total_bytes: int) -> None:
        task = bar.task_ids[0] if bar.task_ids else bar.add_task("Downloading Kafka and the schema registry, once")
        bar.update(task, completed=arrived_bytes, total=total_bytes)

    return show
