"""Options that several commands share, spelled once so that they read alike everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

DATA = Path(".millrace")

F = TypeVar("F", bound=Callable[..., Any])


def project_argument(function: F) -> F:
    """The model project's folder."""
    return click.argument("project", type=click.Path(exists=True, file_okay=False, path_type=Path))(function)


def address_options(function: F) -> F:
    """Where the system runs: a data folder, or the two addresses."""
    for option in (
        click.option("--schema-registry", metavar="URL", help="Schema registry (Confluent API); with --bootstrap."),
        click.option("--bootstrap", metavar="HOST:PORT", help="Kafka to talk to, instead of what runs on --data."),
        click.option(
            "--data",
            type=click.Path(file_okay=False, path_type=Path),
            default=DATA,
            show_default=True,
            help="The data folder given to millrace up.",
        ),
    ):
        function = option(function)
    return function


def reason_option(function: F) -> F:
    """Why it is done: at least a word."""
    return click.option(
        "--reason", metavar="TEXT", required=True, callback=_said, help="Why, in words; kept in the log for ever."
    )(function)


def _said(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter(f"got {value!r}; say in a few words why, for whoever reads the log later")
    return value


def json_option(function: F) -> F:
    """One JSON object on standard output instead of text for people."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object.")(function)
