"""What ``promote``, ``rollback``, ``approve`` and their like share: a request to the registry, and what came of it.

They need no registry's HTTP: the request is written to the log, and its answer read from there.
"""

import asyncio
import getpass
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from millrace.cli.options import address_options, json_option, reason_option

if TYPE_CHECKING:
    from services.registry.commands import Log, Outcome

ANSWER_S = 10.0
REFUSED, UNANSWERED = 1, 2
Versions = Literal["named", "optional", "none"]


@asynccontextmanager
async def platform(data: Path, bootstrap: str | None, schema_registry: str | None) -> "AsyncIterator[Log]":
    """A connection to the topics that all models share; it needs no project. Raises ``LocalError`` if there is none."""
    from millrace.bus.clock import SystemClock
    from millrace.bus.kafka import KafkaTransport
    from millrace.cli.address import resolve
    from millrace.contracts.codec import Codec
    from millrace.contracts.registry_client import SchemaRegistry
    from millrace.telemetry import log
    from services.registry.commands import Log

    log.configure("millrace-cli", "ERROR")  # what is tried again and succeeds is no news to whoever waits
    address = resolve(data, bootstrap, schema_registry)
    transport = KafkaTransport(address.bootstrap_servers, "millrace-cli")
    try:
        async with SchemaRegistry(address.schema_registry_url) as registry:
            yield Log(transport, Codec(registry), SystemClock())
    finally:
        await transport.close()


def model_name(model: str) -> str:
    """The model's name; of a model project's folder, the name that its model.yaml gives."""
    folder = Path(model)
    if not (folder / "model.yaml").is_file():
        return model
    from millrace.contracts.project import load_project

    return load_project(folder).model


def managing(
    verb: str, summary: str, *, version: Versions = "none", space: bool = False, immediate: bool = False
) -> click.Command:
    """The command of a verb.

    Args:
        verb: one of ``services.registry.commands.VERBS``.
        summary: its help; the rest is the same for all.
        version: whether the version is an argument, an option ``--to``, or nothing.
        space: whether a space may be named.
        immediate: whether the project's rollout strategy may be skipped.
    """

    def run(**options: Any) -> None:
        asyncio.run(_run(verb, **options))

    command: Callable[..., Any] = json_option(address_options(run))
    for decorate in _options(version, space=space, immediate=immediate):
        command = decorate(command)
    text = f"{summary}\n\n{_HELP}"
    return click.command(verb, help=text)(command)


_HELP = f"""MODEL is a model's name, or its project's folder. The registry's answer is printed; exits with {REFUSED}
when it refuses, with {UNANSWERED} when none answers in time. The request stands in the log all the same."""


def _options(version: Versions, *, space: bool, immediate: bool) -> list[Callable[..., Any]]:
    """Options last to first, as click wants them."""
    made = [
        click.option("--wait", "wait_s", type=click.FloatRange(min=0), default=ANSWER_S, show_default=True,
                     metavar="SECONDS", help="How long to wait for the answer."),
        click.option("--expect-epoch", type=click.IntRange(min=0), metavar="EPOCH",
                     help="Only if this epoch is in force; millrace status shows it."),
        click.option("--by", metavar="NAME", default=getpass.getuser, show_default="login name", help="Who asks."),
        reason_option,
    ]  # fmt: skip
    if immediate:
        made.append(click.option("--immediate", is_flag=True, help="At once, without the project's rollout strategy."))
    if space:
        spaces = click.Choice(["development", "test", "production"])
        made.append(click.option("--space", type=spaces, help="Space that it is about.  [default: production]"))
    if version == "optional":
        made.append(click.option("--to", "version", type=int, metavar="VERSION",
                                 help="Version to go back to; left out: what served before."))  # fmt: skip
    if version == "named":
        made.append(click.argument("version", type=int))
    return [*made, click.argument("model")]


async def _run(
    verb: str,
    *,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    as_json: bool,
    wait_s: float,
    **asked: Any,
) -> None:
    from services.registry.commands import ask

    async with platform(data, bootstrap, schema_registry) as log:
        outcome = await ask(log, request_of(verb, log.clock.now_ms(), **asked), timeout_s=wait_s)
    tell(outcome, as_json=as_json)


def request_of(
    verb: str,
    now_ms: int,
    *,
    model: str,
    reason: str,
    by: str,
    version: int | None = None,
    space: str | None = None,
    expect_epoch: int | None = None,
    immediate: bool = False,
) -> Any:
    """The request. The same arguments give the same id, which is the same request."""
    from millrace.contracts.events import ManageModel
    from services.registry.commands import VERBS

    name = model_name(model)
    return ManageModel(
        request_id=f"request/{name}/{verb}/{by}/{now_ms}",
        model=name,
        action=VERBS[verb],
        version=version,
        space=space,
        expected_epoch=expect_epoch,
        immediate=immediate,
        reason=reason,
        requested_by=by,
        requested_at_ms=now_ms,
    )


def tell(outcome: "Outcome", *, as_json: bool) -> None:
    """Print what came of it, and exit accordingly."""
    audit, request = outcome.audit, outcome.request
    if as_json:
        told = "UNANSWERED" if audit is None else audit.outcome
        body = {
            "outcome": told,
            "request": request.model_dump(),
            "audit": None if audit is None else audit.model_dump(),
        }
        click.echo(json.dumps(body))
    elif audit is None:
        click.secho(
            f"no answer in time: {request.request_id} stands in the log, and is answered when a registry of "
            f"{request.model} reads it. Is one ready (millrace status)? Is that the name (millrace models)? "
            f"What came of it: millrace history {request.model}",
            err=True, fg="yellow",
        )  # fmt: skip
    elif outcome.accepted:
        epoch = "" if audit.epoch is None else f" (epoch {audit.epoch})"
        click.echo(f"{audit.reason}{epoch}")
    else:
        click.secho(f"refused: {audit.reason}", err=True, fg="red")
    if not outcome.accepted:
        raise SystemExit(UNANSWERED if audit is None else REFUSED)
