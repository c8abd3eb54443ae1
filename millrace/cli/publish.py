"""`millrace publish`: send a file with history as events and labels."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millrace.cli.address import Address, resolve
from millrace.cli.options import address_options, json_option, project_argument

if TYPE_CHECKING:
    from millrace.contracts.project import Project
    from millrace.demo.dataset import DatasetFile
    from millrace.demo.publish import Publisher

LOOK_S = 0.2


@click.command("publish")
@project_argument
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--rate", default=0.0, type=click.FloatRange(min=0), help="Rows per second; 0 is as fast as possible.",
              show_default=True)  # fmt: skip
@click.option("--from-row", default=0, show_default=True, type=click.IntRange(min=0), help="First row, counted from 0.")
@click.option("--rows", type=click.IntRange(min=0), help="How many rows; all that follow unless given.")
@address_options
@json_option
def command(
    project: Path,
    file: Path | None,
    rate: float,
    from_row: int,
    rows: int | None,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    *,
    as_json: bool,
) -> None:
    """Send FILE, or the dataset that PROJECT names, as events and labels.

    FILE is a CSV (plain or .gz) or a .parquet file. Each row is one event and then its label; a row without a label is
    sent as an event alone. All rows are checked before the first is sent. If it is stopped, it says with which
    --from-row to go on; rows sent twice would be recognised by their ids.
    """
    from millrace.contracts.project import load_project
    from millrace.demo.dataset import DatasetFile
    from millrace.telemetry.log import configure

    configure("millrace-publish", level="ERROR")
    loaded = load_project(project)
    dataset = DatasetFile(loaded, file)
    stop = dataset.rows if rows is None else min(dataset.rows, from_row + rows)
    if from_row > dataset.rows:
        raise click.ClickException(f"{dataset.path} has {dataset.rows} rows, --from-row {from_row} lies behind its end")
    address = resolve(data, bootstrap, schema_registry)
    try:
        sent, labels = asyncio.run(_publish(loaded, dataset, address, from_row, stop, rate, Console(stderr=True)))
    except KeyboardInterrupt:
        raise click.Abort from None
    done = {"file": str(dataset.path), "from_row": from_row, "events": sent, "labels": labels}
    click.echo(json.dumps(done) if as_json else f"sent {sent:,} events and {labels:,} labels of {dataset.path}")


async def _publish(
    project: "Project", dataset: "DatasetFile", address: Address, start: int, stop: int, rate: float, console: Console
) -> tuple[int, int]:
    from millrace.bus.clock import SystemClock
    from millrace.bus.kafka import KafkaTransport
    from millrace.contracts.codec import Codec
    from millrace.contracts.registry_client import SchemaRegistry
    from millrace.demo.publish import Publisher

    transport = KafkaTransport(address.bootstrap_servers, "millrace-publish")
    registry = SchemaRegistry(address.schema_registry_url)
    publisher = Publisher(transport, Codec(registry), project, SystemClock())
    try:
        with _shown(console, publisher, stop - start) as look:
            watching = asyncio.create_task(look)
            try:
                await publisher.send(dataset, start, stop, rate)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
        return publisher.sent, publisher.labels
    finally:
        if publisher.sent < stop - start:
            click.echo(f"{publisher.sent:,} rows were sent; go on with --from-row {start + publisher.sent}", err=True)
        await publisher.close()
        await transport.close()
        await registry.aclose()


@contextmanager
def _shown(console: Console, publisher: "Publisher", total: int) -> Iterator[Coroutine[Any, Any, None]]:
    """A progress bar, on a terminal only; what it gives is to be run beside the publisher."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rows", total=total)

        async def look() -> None:
            while True:
                bar.update(task, completed=publisher.sent)
                await asyncio.sleep(LOOK_S)

        yield look()
