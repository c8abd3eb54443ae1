"""`millrace status`: what runs on a data folder, whether it can work, and what is being tried out."""

import http.client
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.cli.options import DATA
from millrace.cli.status_models import ModelStatus, models_of
from millrace.local.errors import LocalError
from millrace.local.probe import http_get
from millrace.local.runfile import RunInfo, running


@dataclass(frozen=True)
class Readiness:
    """The answer of one service to "can you work?"."""

    name: str
    url: str
    pid: int | None
    restarts: int
    ready: bool
    failing: dict[str, str]


@click.command("status")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
              help="The data folder given to `millrace up`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(data: Path, *, as_json: bool) -> None:
    """Show the addresses of what runs here, whether each service is ready, and what each model serves and tries out.

    Exits with 1 when nothing runs on the data folder.
    """
    info = running(data)
    if info is None:
        raise LocalError(f"nothing runs on {data}; start it with: millrace up PROJECT --data {data}")
    services = [_ask(name, service.url, service.pid, service.restarts) for name, service in info.services.items()]
    models = models_of(info)
    if as_json:
        told = {"services": {one.name: asdict(one) for one in services}, "models": [asdict(one) for one in models]}
        click.echo(json.dumps({**info.as_json(), **told}))
    else:
        _show(info, services, models)


def _ask(name: str, url: str, pid: int | None, restarts: int) -> Readiness:
    """Ask a service's /readyz; an unreadable answer is a failing check too."""
    try:
        status, body = http_get(f"{url}/readyz")
    except OSError as error:
        return Readiness(name, url, pid, restarts, ready=False, failing={"http": str(error)})
    ready = status == http.client.OK
    return Readiness(name, url, pid, restarts, ready=ready, failing={} if ready else _failing(status, body))


def _failing(status: int, body: bytes) -> dict[str, str]:
    """The failing checks that a /readyz body names."""
    try:
        return {str(check): str(why) for check, why in json.loads(body)["failing"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"http": f"status {status}"}


def _show(info: RunInfo, services: list[Readiness], models: list[ModelStatus]) -> None:
    """Print for people."""
    console = Console()
    console.print(f"bootstrap_servers    {info.bootstrap_servers}", highlight=False, markup=False)
    console.print(f"schema_registry_url  {info.schema_registry_url}", highlight=False, markup=False, soft_wrap=True)
    if not services:
        return
    table = Table("service", "url", "pid", "restarts", "ready")
    for one in services:
        failing = "; ".join(f"{check}: {why}" for check, why in one.failing.items())
        table.add_row(
            one.name, one.url, str(one.pid or ""), str(one.restarts), "yes" if one.ready else f"no ({failing})"
        )
    console.print(table)
    for model in models:
        for line in model.lines():
            console.print(Text(line), soft_wrap=True)
