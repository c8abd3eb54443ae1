"""``millrace retrain``: an operator's request to train again, with the audit record that says who asked and why."""

import asyncio
import getpass
from pathlib import Path

import click

from millrace.cli.options import address_options, json_option, project_argument, reason_option
from millrace.contracts.events import RetrainModel
from millrace.operating.retrain import publish, requested


@click.command("retrain")
@project_argument
@reason_option
@address_options
@json_option
def command(
    project: Path, reason: str, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Ask for a retrain of PROJECT's model on its newest rows.

    The trainer answers as soon as it is free. Whether the result is deployed is decided by the gates, as always.
    """
    from millrace.bus.clock import SystemClock

    operator, now_ms = getpass.getuser(), SystemClock().now_ms()

    async def ask() -> RetrainModel:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            request, audit = requested(clients.project.model, operator, reason, now_ms)
            await publish(clients.transport, clients.codec, request, audit)
            return request

    request = asyncio.run(ask())
    if as_json:
        click.echo(request.model_dump_json())
    else:
        click.echo(f"Asked for a retrain of {request.model}: {request.request_id}")
        click.echo("Follow it: millrace models shows the version that comes of it, and why it serves or not.")
