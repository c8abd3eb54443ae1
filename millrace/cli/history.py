"""``millrace history``: what a model's log tells: what served when, by whose word and why, and why nothing else did."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from millrace.cli.manage import model_name, platform
from millrace.cli.options import address_options, json_option

if TYPE_CHECKING:
    from millrace.contracts.rollout_policy import Spaces
    from services.registry.commands import Log
    from services.registry.history import Life


@click.command("history")
@click.argument("model")
@click.option("--at", "at", metavar="TIME", help="What served then: ISO 8601 (UTC where it names no zone), or ms.")
@address_options
@json_option
def command(
    model: str, at: str | None, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Show the life of MODEL, one line per event; with --at, what served at that time and why.

    MODEL is a model's name, or its project's folder. It is read from the log, so it answers without a registry.

    \b
    millrace history power-price
    millrace history power-price --at 2026-11-21T20:00:00Z
    """  # noqa: D301  # the backslash is click's: keep these lines apart
    from services.registry.times import time_ms

    try:
        at_ms = None if at is None else time_ms(at)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--at") from error
    name = model_name(model)

    async def read() -> tuple["Life", list[str]]:
        async with platform(data, bootstrap, schema_registry) as log:
            return await read_life(log, name)

    life, notes = asyncio.run(read())
    if not life.is_known:
        raise click.ClickException(f"the log says nothing about a model {name!r}; millrace models lists those it knows")
    from millrace.cli.history_show import show
    from services.registry.history_line import told

    history = told(life, at_ms, _spaces(model))
    if as_json:
        click.echo(json.dumps({**history.model_dump(), "notes": notes}, allow_nan=False))
        return
    from rich.console import Console

    show(history, Console(), notes)


async def read_life(log: "Log", model: str) -> tuple["Life", list[str]]:
    """The life of a model by the control topics, and which of their records are no events."""
    from millrace.contracts import topics
    from millrace.contracts.errors import ContractError
    from millrace.contracts.events import DriftDetected, Event
    from services.registry.follow import FOLLOWED
    from services.registry.history import Life

    life, notes = Life(model), []
    read: dict[topics.TopicRow, type[Event]] = {**FOLLOWED, topics.DRIFT_EVENTS: DriftDetected}
    for row, kind in read.items():
        topic = row.suffix
        begin, end = await log.transport.bounds(topic, 0)
        async for records in log.transport.read(topic, 0, begin, end):
            for record in records:
                try:
                    life.add(await log.codec.decode(kind, record.value))
                except ContractError as error:
                    notes.append(f"{topic}/0/{record.offset} is no {kind.__name__} and was left out: {error}")
    return life, notes


def _spaces(model: str) -> "Spaces | None":
    """Who has to agree, where the project is at hand."""
    if not (Path(model) / "model.yaml").is_file():
        return None
    from millrace.contracts.project import load_project

    return load_project(Path(model)).spaces
