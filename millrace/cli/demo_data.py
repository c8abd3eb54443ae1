"""`millrace demo-data`: five faults in a real stream, caught record by record, and none of it trained on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from millrace.cli.demo_shell import conclude, played, tell_checks
from millrace.cli.options import json_option

if TYPE_CHECKING:
    from millrace.demo_data.report import DataReport

EXAMPLE = Path("examples/electricity")


@click.command("demo-data")
@click.argument("project", default=EXAMPLE, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rows", type=click.IntRange(min=1), help="Stop after so many rows of the file; default all of them.")
@click.option("--first-rows", default=6_000, show_default=True, type=click.IntRange(min=1),
              help="Good rows before the faults; enough for the first model.")  # fmt: skip
@click.option("--fault-rows", default=8_000, show_default=True, type=click.IntRange(min=1_000),
              help="Rows among which the faults are.")  # fmt: skip
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=Path(".millrace/demo-data"),
              show_default=True, help="Data folder; emptied at the start.")  # fmt: skip
@click.option("--report", "reports", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"),
              show_default=True, help="Where demo-data.json, demo-data.html and demo-data.svg go.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the data folder; without this only a failed demo keeps it.")
@json_option
def command(
    project: Path, rows: int | None, first_rows: int, fault_rows: int, data: Path, reports: Path, *, keep: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Show on the electricity PROJECT (default: examples/electricity) that bad data is caught and never trained on.

    Starts Kafka, a schema registry and the five services, and sends the project's rows with five faults among them: a
    unit change, a new category, a missing burst, a duplicated hour, a schema change. Then reads everything back and
    looks up what became of each single record. Exits with 1 when a check fails.
    """
    from millrace.cli.up import install_software
    from millrace.demo_data.progress import LiveView, PlainView
    from millrace.demo_data.run import DataDemo
    from millrace.demo_data.story import Pace
    from millrace.demo_data.write import write_reports
    from millrace.telemetry.log import configure

    configure("millrace-demo-data", level="ERROR")  # the view tells the rest
    console = Console(stderr=as_json)
    software = install_software(console)
    view = LiveView(console) if console.is_terminal else PlainView(lambda line: click.echo(line, err=as_json))
    pace = Pace(first_rows, fault_rows, rows)
    with view:
        outcome = played(DataDemo(project, data, software, view, pace))
    written = write_reports(outcome, reports)
    report = outcome.report
    conclude(report, data, lambda: _summary(console, report, written), keep=keep, as_json=as_json)


def _summary(console: Console, report: "DataReport", written: list[Path]) -> None:
    """The faults and what caught them, what holds and what does not, and where the rest is."""
    table = Table("fault", "bad events", "caught", "by", box=None, padding=(0, 2))
    for name, figures in report.faults.items():
        by = ", ".join(f"{reason} {count:,}" for reason, count in figures.caught_by.items())
        table.add_row(name.replace("_", " "), f"{figures.injected:,}", f"{figures.caught:,}", by)
    console.print(table)
    console.print(f"run: {report.run_s} s, after {report.start_s} s to start", highlight=False)
    tell_checks(console, report, written)
