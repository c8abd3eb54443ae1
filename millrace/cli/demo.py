"""`millrace demo`: the whole loop on the example, watched and then checked."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from millrace.cli.demo_shell import conclude, played, tell_checks, until_told
from millrace.cli.options import json_option

if TYPE_CHECKING:
    from millrace.demo.report import Report
    from millrace.demo.run import Outcome
    from millrace.local.runfile import RunInfo

EXAMPLE = Path("examples/electricity")


@click.command("demo")
@click.argument("project", default=EXAMPLE, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rate", default=550.0, show_default=True, type=click.FloatRange(min=1), help="Rows per second.")
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), default=Path(".millrace/demo"),
              show_default=True, help="Data folder; emptied at the start.")  # fmt: skip
@click.option("--report", "reports", type=click.Path(file_okay=False, path_type=Path), default=Path("reports"),
              show_default=True, help="Where demo.json, demo.html and demo.svg go.")  # fmt: skip
@click.option("--stay/--no-stay", default=None,
              help="Leave everything up at the end until Ctrl-C.  [default: on a terminal]")  # fmt: skip
@click.option("--keep", is_flag=True, help="Keep the data folder; without this only a failed demo keeps it.")
@json_option
def command(
    project: Path, rate: float, data: Path, reports: Path, *, stay: bool | None, keep: bool, as_json: bool
) -> None:
    """Run the whole loop on PROJECT (default: examples/electricity) and check that it closed.

    Starts Kafka, a schema registry and the five services, publishes the project's dataset, waits for the first model,
    goes on, and reads everything back. Exits with 1 when a check fails.
    """
    from millrace.cli.up import install_software
    from millrace.demo.live import LiveView, PlainView
    from millrace.demo.run import Demo
    from millrace.demo.write import write_reports
    from millrace.telemetry.log import configure

    configure("millrace-demo", level="ERROR")  # the view tells the rest
    console = Console(stderr=as_json)
    software = install_software(console)
    view = LiveView(console) if console.is_terminal else PlainView(lambda line: click.echo(line, err=as_json))
    stays = console.is_terminal if stay is None else stay

    async def left_up(outcome: "Outcome", info: "RunInfo") -> None:
        """Tell how it ended, then leave all of it to be looked at."""
        view.close()
        _summary(console, outcome.report, write_reports(outcome, reports))
        await until_told(console, info)

    with view:
        outcome = played(Demo(project, data, rate, software, view, stay=left_up if stays else None))
    report = outcome.report

    def told() -> None:
        if not stays:
            _summary(console, report, write_reports(outcome, reports))

    conclude(report, data, told, keep=keep, as_json=as_json)


def _summary(console: Console, report: "Report", written: list[Path]) -> None:
    """The figures that matter, what holds and what does not, and where the rest is."""
    accuracy, latency, wait = report.accuracy, report.event_to_prediction_ms, report.drift_to_serving_s
    table = Table(show_header=False, box=None, padding=(0, 2))
    others = f"first model frozen {_share(accuracy.frozen)}, last label {_share(accuracy.repeat_last)}"
    before, warnings = report.events_before_first_model, report.drift_events - report.alarms
    for what, value in (
        ("accuracy", f"loop {_share(accuracy.loop)}, {others} (rows {report.first_rows:,} onward)"),
        ("predictions", f"{report.predictions:,} for {report.valid_events:,} valid events, {before:,} before a model"),
        ("drifts", f"{report.alarms} alarms, {warnings} warnings, {report.retrains} retrains"),
        ("deployments", f"{report.deployments}, {report.drift_caused_deployments} of them caused by drift"),
        ("event to prediction", f"p50 {latency.p50} ms, p99 {latency.p99} ms"),
        ("drift to serving", f"p50 {wait.p50} s, at most {wait.max} s"),
        ("run", f"{report.run_s} s, after {report.start_s} s to start"),
    ):  # fmt: skip
        table.add_row(what, value)
    console.print(table)
    tell_checks(console, report, written)


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"
