"""`millrace demo-rollout`: five bad models, each stopped, and a rollback under full load."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from millrace.cli.demo_shell import conclude, played, tell_checks
from millrace.cli.options import json_option

if TYPE_CHECKING:
    from millrace.demo_rollout.report import RolloutReport

EXAMPLE = Path("examples/electricity")


@click.command("demo-rollout")
@click.argument("project", default=EXAMPLE, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rate", default=500.0, show_default=True, type=click.FloatRange(min=1),
              help="Rows per second while a case is under way.")  # fmt: skip
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=Path(".millrace/demo-rollout"),
              show_default=True, help="Data folder; emptied at the start.")  # fmt: skip
@click.option("--report", "reports", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"),
              show_default=True, help="Where demo-rollout.json, .html and .svg go.")  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the data folder; without this only a failed demo keeps it.")
@json_option
def command(project: Path, rate: float, data: Path, reports: Path, *, keep: bool, as_json: bool) -> None:
    """Deploy five bad models on the electricity PROJECT (default: examples/electricity), and show what stops each.

    Starts Kafka, a schema registry and the five services, and sends the project's rows. Then a worse, a slower, an
    erroring, a NaN-producing and a tampered model are deployed by a canary, a sound one after them, and a rollback is
    measured under full load. Everything is read back from the topics. Exits with 1 when a check fails.
    """
    from millrace.cli.up import install_software
    from millrace.demo_rollout.run import RolloutDemo
    from millrace.demo_rollout.write import write_reports
    from millrace.telemetry.log import configure

    configure("millrace-demo-rollout", level="ERROR")  # the lines below tell the rest
    console = Console(stderr=as_json)
    demo = RolloutDemo(
        project, data, rate, install_software(console), lambda words: click.echo(f"{words} …", err=as_json)
    )
    outcome = played(demo)
    written = write_reports(outcome, reports)
    report = outcome.report
    conclude(report, data, lambda: _summary(console, report, written), keep=keep, as_json=as_json)


def _summary(console: Console, report: "RolloutReport", written: list[Path]) -> None:
    """The models and what stopped them, what holds and what does not, and where the rest is."""
    table = Table("model", "stopped by", "events answered", "share", box=None, padding=(0, 2))
    for name, case in report.cases.items():
        stop = case.guardrail if case.stopped else "NOTHING"
        table.add_row(name, stop, f"{case.touched:,} of {case.events:,}", f"{case.touched_share:.2%}")
    console.print(table)
    console.print(f"run: {report.run_s} s, after {report.start_s} s to start", highlight=False)
    tell_checks(console, report, written)
