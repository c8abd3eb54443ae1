"""`millrace status`: what runs on a data folder, whether it can work and keeps up, and what is served and tried out."""

import asyncio
import http.client
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from millrace.cli.options import DATA
from millrace.cli.status_models import ModelStatus, models_of
from millrace.local.errors import LocalError
from millrace.local.probe import failing_checks, http_get
from millrace.local.runfile import RunInfo, running
from millrace.telemetry.scrape import Figures, figures

LIVE_S = 1.0  # between two looks


@dataclass(frozen=True)
class Readiness:
    """The answer of one service to "can you work?", and what its metrics say; None where it does not tell."""

    name: str
    url: str
    pid: int | None
    restarts: int
    ready: bool
    failing: dict[str, str]
    lag_records: int | None = None
    memory_bytes: int | None = None
    cpu_seconds: float | None = None


@click.command("status")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
              help="The data folder given to `millrace up`.")  # fmt: skip
@click.option("--live", is_flag=True, help="Look again every second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(data: Path, *, live: bool, as_json: bool) -> None:
    """Show what runs here: whether each service is ready and keeps up, what each model serves, tries out and waits for.

    Exits with 1 when nothing runs on the data folder.
    """
    if live and as_json:
        raise click.UsageError("--live is for people and --json for programs; leave one of them out")
    if live:
        asyncio.run(_live(data))
        return
    info, services, models = look(data)
    if as_json:
        told = {"services": {one.name: asdict(one) for one in services}, "models": [asdict(one) for one in models]}
        click.echo(json.dumps({**info.as_json(), **told}))
    else:
        console = Console()
        for part in page(info, services, models):
            console.print(part, soft_wrap=True)


def look(data: Path) -> tuple[RunInfo, list[Readiness], list[ModelStatus]]:
    """Everything at this moment. Raises ``LocalError`` when nothing runs there."""
    info = running(data)
    if info is None:
        raise LocalError(f"nothing runs on {data}; start it with: millrace up PROJECT --data {data}")
    services = [_ask(name, service.url, service.pid, service.restarts) for name, service in info.services.items()]
    return info, services, models_of(info)


async def _live(data: Path) -> None:
    """Draw the page anew each second, in place. Ends with an error when nothing runs there any more."""
    with Live(Text("…"), auto_refresh=False) as view:
        while True:
            seen = await asyncio.to_thread(look, data)
            view.update(Group(*page(*seen)), refresh=True)
            await asyncio.sleep(LIVE_S)


def _ask(name: str, url: str, pid: int | None, restarts: int) -> Readiness:
    """Ask a service's /readyz and /metrics; an unreadable answer is a failing check too."""
    try:
        status, body = http_get(f"{url}/readyz")
    except OSError as error:
        return Readiness(name, url, pid, restarts, ready=False, failing={"http": str(error)})
    ready = status == http.client.OK
    told = _figures(url)
    return Readiness(
        name, url, pid, restarts, ready, {} if ready else failing_checks(status, body),
        _whole(told.lag_records), _whole(told.memory_bytes), told.cpu_s,
    )  # fmt: skip


def _figures(url: str) -> Figures:
    """What its metrics say; nothing, if it does not answer or is no Prometheus exporter."""
    try:
        _, body = http_get(f"{url}/metrics")
        return figures(body.decode())
    except (OSError, ValueError):
        return Figures()


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def page(info: RunInfo, services: list[Readiness], models: list[ModelStatus]) -> Iterator[Table | Text]:
    """The parts of the page, for people."""
    yield Text(f"bootstrap_servers    {info.bootstrap_servers}")
    yield Text(f"schema_registry_url  {info.schema_registry_url}")
    if not services:
        return
    table = Table("service", "url", "pid", "restarts", "behind", "memory", "ready")
    for one in services:
        failing = "; ".join(f"{check}: {why}" for check, why in one.failing.items())
        lag = "" if one.lag_records is None else f"{one.lag_records:,}"
        memory = "" if one.memory_bytes is None else f"{one.memory_bytes / (1 << 20):.0f} MiB"
        ready = Text("yes", "green") if one.ready else Text(f"no ({failing})", "red")
        table.add_row(one.name, one.url, str(one.pid or ""), str(one.restarts), lag, memory, ready)
    yield table
    for model in models:
        for line in model.lines():
            yield Text(line)
