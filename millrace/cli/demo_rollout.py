"""`millrace demo-rollout`: five bad models, each stopped, and a rollback under full load."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from millrace.cli.options import json_option

if TYPE_CHECKING:
    from millrace.demo_rollout.report import RolloutReport
    from millrace.demo_rollout.run import Outcome, RolloutDemo

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
    try:
        software = install_software(console)
        demo = RolloutDemo(project, data, rate, software, lambda words: click.echo(f"{words} …", err=as_json))
        outcome = asyncio.run(_until_stopped(demo))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.Abort from None
    written = write_reports(outcome, reports)
    report = outcome.report
    if as_json:
        click.echo(report.model_dump_json())
    else:
        _summary(console, report, written)
    if report.failed:
        for check in report.failed:
            click.secho(f"FAILED {check.name}: {check.message}", err=True, fg="red")
        click.echo(f"the data folder and its logs are kept in {data}", err=True)
        sys.exit(1)
    if not keep:
        shutil.rmtree(data, ignore_errors=True)


async def _until_stopped(demo: "RolloutDemo") -> "Outcome":
    """Run it; SIGTERM ends it as Ctrl-C does, with everything stopped in order."""
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await demo.run()


def _summary(console: Console, report: "RolloutReport", written: list[Path]) -> None:
    """The models and what stopped them, what holds and what does not, and where the rest is."""
    table = Table("model", "stopped by", "events answered", "share", box=None, padding=(0, 2))
    for name, case in report.cases.items():
        stop = case.guardrail if case.stopped else "NOTHING"
        table.add_row(name, stop, f"{case.touched:,} of {case.events:,}", f"{case.touched_share:.2%}")
    console.print(table)
    for check in report.checks:
        console.print(f"{'✓' if check.passed else '✗'} {check.name}: {check.message}", markup=False, highlight=False)
    console.print(f"run: {report.run_s} s, after {report.start_s} s to start", highlight=False)
    console.print("written: " + ", ".join(map(str, written)), markup=False, highlight=False, soft_wrap=True)
