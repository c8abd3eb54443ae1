"""`millrace models`: which versions there are, what serves, and why."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import OpenerDirector, ProxyHandler, build_opener

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.cli.options import DATA
from millrace.local.runfile import running

TIMEOUT_S = 10.0
SHOWN_REJECTIONS = 10  # newest first; --json gives all
STYLES = {"PROMOTED": "green", "REJECTED": "red", "RETIRED": "dim"}


@click.command("models")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
              help="The data folder given to `millrace up`.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with everything that the registry tells.")
def command(data: Path, *, as_json: bool) -> None:
    """Show the versions of the models, and why each serves or not.

    Exits with 1 when no registry answers.
    """
    url = _registry_url(data)
    names = [model["model"] for model in _ask(url, "/v1/models")["models"]]
    models = [_model(url, name) for name in names]
    if as_json:
        click.echo(json.dumps({"models": models}))
        return
    console = Console()
    if not models:
        console.print("no model yet: the registry has seen no training run")
    for model in models:
        _show(console, model)


def _registry_url(data: Path) -> str:
    info = running(data)
    if info is None:
        raise click.ClickException(f"nothing runs on {data}; start it with: millrace up PROJECT --data {data}")
    if "registry" not in info.services:
        raise click.ClickException(f"no registry runs on {data}, only {sorted(info.services)}; see: millrace status")
    return info.services["registry"].url


def _model(url: str, name: str) -> dict[str, Any]:
    path = f"/v1/models/{quote(name, safe='')}"
    return {**_ask(url, path), "history": _ask(url, f"{path}/versions")}


def _ask(url: str, path: str) -> Any:
    """The registry's answer, as JSON."""
    try:
        with _opener().open(url + path, timeout=TIMEOUT_S) as response:
            return json.load(response)
    except HTTPError as error:
        with error:
            detail = error.read().decode(errors="replace")
        raise click.ClickException(f"the registry answered {error.code} to {path}: {detail}") from error
    except (OSError, ValueError) as error:
        raise click.ClickException(f"the registry does not answer at {url}: {error}; see: millrace status") from error


def _opener() -> OpenerDirector:
    """Straight to the address: a proxy from the environment must not be asked about this machine."""
    return build_opener(ProxyHandler({}))


def _show(console: Console, model: dict[str, Any]) -> None:
    history = model["history"]
    console.print(Text(_headline(model), style="bold"))
    table = Table("version", "status", "metrics", "decided", "trigger", "why")
    rejected = history["rejected"][:SHOWN_REJECTIONS]
    for row in sorted([*history["versions"], *rejected], key=lambda row: row["decided_at_ms"], reverse=True):
        cells = [_number(row), row["status"], _metrics(row["metrics"]), _time(row["decided_at_ms"])]
        style = STYLES.get(row["status"], "")
        table.add_row(*(Text(cell) for cell in [*cells, row["trigger"] or "", "; ".join(row["reasons"])]), style=style)
    console.print(table)
    left_out = len(history["rejected"]) - len(rejected)
    if left_out:
        console.print(f"{left_out} older rejections are left out; --json shows all")


def _headline(model: dict[str, Any]) -> str:
    if model["champion"] is None:
        return f"{model['model']}: nothing is deployed yet"
    since = _time(model["deployed_at_ms"])
    head = f"{model['model']}: version {model['champion']} is champion since {since} (epoch {model['epoch']})"
    return "\n".join([head, f"  why: {model['reason']}", *(f"  {line}" for line in _serving(model))])


def _serving(model: dict[str, Any]) -> list[str]:
    """What the partitions really serve, where that is known."""
    lines = []
    for row in model["serving"]:
        what = f"partition {row['partition']} serves version {row['version']} from offset {row['from_offset']}"
        if row["status"] == "FAILED":
            what = f"partition {row['partition']} could not load version {row['version']}: {row['reason']}"
        lines.append(f"{what} (epoch {row['epoch']})")
    return lines


def _number(row: dict[str, Any]) -> str:
    return "-" if row["version"] is None else str(row["version"])


def _metrics(metrics: dict[str, float | None]) -> str:
    return "\n".join(f"{name} {'-' if value is None else f'{value:.4g}'}" for name, value in sorted(metrics.items()))


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
