"""``millrace models``: which versions there are, what serves, and why; a version's card."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from millrace.cli.manage import model_name
from millrace.cli.options import DATA, json_option
from millrace.cli.registry_http import ask, ask_text, model_path, pages, registry_url

SHOWN_REJECTIONS = 10  # newest first; --json gives all
STYLES = {"PROMOTED": "green", "REJECTED": "red", "RETIRED": "dim"}


def _data_option(function: Any) -> Any:
    return click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=DATA, show_default=True,
                        help="The data folder given to `millrace up`.")(function)  # fmt: skip


class _Models(click.Group):
    """The subcommands; `import` needs much, so it is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are met."""
        return [*self.commands, "import"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name != "import":
            return super().get_command(ctx, cmd_name)
        from millrace.cli.models_import import command as import_model

        return import_model


@click.group("models", cls=_Models, invoke_without_command=True)
@_data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path, *, as_json: bool) -> None:
    """Show the versions of the models, and why each serves or not: the same as `millrace models list`.

    Exits with 1 when no registry answers.
    """
    if context.invoked_subcommand is None:
        _list(data, as_json=as_json)
    given = {"data": data, "as_json": as_json}  # options before a subcommand hold for it too
    context.default_map = dict.fromkeys([*command.commands, "import"], given)


@command.command("list")
@_data_option
@json_option
def list_models(data: Path, *, as_json: bool) -> None:
    """Show every model with its versions, and why each serves or not."""
    _list(data, as_json=as_json)


@command.command("show")
@click.argument("model")
@click.argument("version", type=int, required=False)
@_data_option
@json_option
def show_model(model: str, version: int | None, data: Path, *, as_json: bool) -> None:
    """Show one MODEL, or one VERSION of it with all that its run told.

    MODEL is a model's name, or its project's folder.
    """
    url, name = registry_url(data), model_name(model)
    if version is None:
        found = _model(url, name)
        if as_json:
            click.echo(json.dumps(found))
        else:
            _show(_console(), found)
        return
    detail = ask(url, model_path(name, "versions", version))
    if as_json:
        click.echo(json.dumps(detail))
        return
    for key, value in detail.items():
        if value not in (None, "", [], {}):
            click.echo(f"{key:18} {value if isinstance(value, str | int) else json.dumps(value)}")


@command.command("card")
@click.argument("model")
@click.argument("version", type=int)
@_data_option
@json_option
def show_card(model: str, version: int, data: Path, *, as_json: bool) -> None:
    """Print the model card of a VERSION of MODEL, as Markdown.

    It says what the version was trained on, how it was tested, who agreed, where it served, and what its limits are.
    """
    path = model_path(model_name(model), "versions", version, "card")
    url = registry_url(data)
    click.echo(json.dumps(ask(url, path)) if as_json else ask_text(url, path, "text/markdown"))


def _list(data: Path, *, as_json: bool) -> None:
    url = registry_url(data)
    models = [_model(url, model["model"]) for model in ask(url, "/v1/models")["models"]]
    if as_json:
        click.echo(json.dumps({"models": models}))
        return
    console = _console()
    if not models:
        console.print("no model yet: the registry has seen no training run")
    for model in models:
        _show(console, model)


def _model(url: str, name: str) -> dict[str, Any]:
    """The model with its versions and rejected runs, of however many pages."""
    found = pages(url, model_path(name, "versions"))
    history = {key: [row for page in found for row in page[key]] for key in ("versions", "rejected")}
    return {**ask(url, model_path(name)), "history": {"model": name, **history}}


def _console() -> Any:
    from rich.console import Console

    return Console()


def _show(console: Any, model: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

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
