"""What the commands of all demos do around their demo: stop it in order, and say how it ended."""

import asyncio
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import click
from rich.console import Console

from millrace.demo.report import Check
from millrace.local.runfile import RunInfo

Outcome_co = TypeVar("Outcome_co", covariant=True)


class Demo(Protocol[Outcome_co]):
    """Any of them."""

    async def run(self) -> Outcome_co:
        """Do it all; whatever happens, nothing is left running."""
        ...


class Judged(Protocol):
    """The report of any of them."""

    @property
    def checks(self) -> Sequence[Check]:
        """What must hold."""
        ...

    @property
    def failed(self) -> Sequence[Check]:
        """What of that does not."""
        ...

    def model_dump_json(self) -> str:
        """All of it."""
        ...


def played(demo: Demo[Outcome_co]) -> Outcome_co:
    """Run it to its end; Ctrl-C and SIGTERM end it with everything stopped in order."""
    try:
        return asyncio.run(_until_stopped(demo))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise click.Abort from None


async def _until_stopped(demo: Demo[Outcome_co]) -> Outcome_co:
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await demo.run()


async def until_told(console: Console, info: RunInfo) -> None:
    """Say where the console is, and wait for Ctrl-C or SIGTERM."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, told.set)
    if (service := info.services.get("console")) is not None:
        console.print(f"The console shows what happened and why: {service.url}", highlight=False, soft_wrap=True)
    console.print("Everything stays up until Ctrl-C.")
    await told.wait()


def conclude(report: Judged, data: Path, summary: Callable[[], None], *, keep: bool, as_json: bool) -> None:
    """Tell the report, and clear the data folder away; with a failed check it is kept, and the exit code is 1."""
    if as_json:
        click.echo(report.model_dump_json())
    else:
        summary()
    if report.failed:
        for check in report.failed:
            click.secho(f"FAILED {check.name}: {check.message}", err=True, fg="red")
        click.echo(f"the data folder and its logs are kept in {data}", err=True)
        sys.exit(1)
    if not keep:
        shutil.rmtree(data, ignore_errors=True)


def tell_checks(console: Console, report: Judged, written: Sequence[Path]) -> None:
    """What holds and what does not, and where the rest is."""
    for check in report.checks:
        console.print(f"{'✓' if check.passed else '✗'} {check.name}: {check.message}", markup=False, highlight=False)
    console.print("written: " + ", ".join(map(str, written)), markup=False, highlight=False, soft_wrap=True)
