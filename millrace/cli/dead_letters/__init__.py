"""``millrace dead-letters``: which records were refused, why, what was in them; and sending them back after a fix."""

import asyncio
import getpass
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from millrace.cli.dead_letters.show import show_detail
from millrace.cli.dead_letters.survey import Survey, show_survey, survey
from millrace.cli.dead_letters.when import parse_place, parse_when
from millrace.cli.options import address_options, json_option, project_argument
from millrace.contracts.project import Project
from millrace.contracts.topics import DEAD_LETTERS, EVENTS, LABELS, SAMPLES, topic_name
from millrace.operating.detail import detail
from millrace.operating.letters import Choice, letter_at, replayed_before
from millrace.operating.replay import Replay
from millrace.operating.replay_run import Report, Run

LIMIT = 20
LOOK_S = 0.2
IMPOSSIBLE_SHOWN = 20
ORIGINS = {row.suffix: row for row in (EVENTS, LABELS, SAMPLES)}

F = TypeVar("F", bound=Callable[..., Any])


@click.group("dead-letters")
def command() -> None:
    """List, show and send back refused records."""


def choice_options(function: F) -> F:
    """Which letters."""
    for option in (
        click.option("--topic", type=click.Choice(list(ORIGINS)), help="Only those that came from this topic."),
        click.option("--until", metavar="TIME", help="Only those refused before: like --since."),
        click.option(
            "--since", metavar="TIME", help="Only those refused since: 2026-11-21T17:30 (UTC), or 2h, 30m ago."
        ),
        click.option("--reason", metavar="SLUG", help="Only those refused for this reason, such as out-of-range."),
    ):
        function = option(function)
    return function


def _choice(
    project: Project, reason: str | None, since: str | None, until: str | None, topic: str | None,
    places: tuple[str, ...] = (),
) -> Choice:  # fmt: skip
    from millrace.bus.clock import SystemClock

    now_ms = SystemClock().now_ms()
    return Choice(
        reason,
        None if since is None else parse_when(since, now_ms),
        None if until is None else parse_when(until, now_ms),
        None if topic is None else topic_name(ORIGINS[topic], project),
        tuple(parse_place(place) for place in places),
    )


@command.command("list")
@project_argument
@choice_options
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Only the newest so many.")
@address_options
@json_option
def list_letters(
    project: Path,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    topic: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List the refused records of PROJECT's stream, and count them by reason."""

    async def ask() -> Survey:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            choice = _choice(clients.project, reason, since, until, topic)
            return await survey(clients.transport, clients.codec, clients.project, choice, limit)

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        show_survey(found)


@command.command("show")
@project_argument
@click.argument("place", metavar="PARTITION/OFFSET")
@address_options
@json_option
def show_letter(
    project: Path, place: str, data: Path, bootstrap: str | None, schema_registry: str | None, *, as_json: bool
) -> None:
    """Show one refused record of PROJECT's stream: headers, message and value."""
    partition, offset = parse_place(place)

    async def ask() -> dict[str, Any]:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            topic = topic_name(DEAD_LETTERS, clients.project)
            record = await letter_at(clients.transport, topic, partition, offset)
            before = await replayed_before(clients.transport, clients.codec, clients.project)
            return await detail(record, clients.codec, before)

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(found))
    else:
        show_detail(found)


@command.command("replay")
@project_argument
@click.argument("places", metavar="[PARTITION/OFFSET]...", nargs=-1)
@choice_options
@click.option("--dry-run", is_flag=True, help="Say what would be sent back, and send nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@address_options
@json_option
def replay_letters(
    project: Path,
    places: tuple[str, ...],
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    reason: str | None,
    since: str | None,
    until: str | None,
    topic: str | None,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Send refused records of PROJECT's stream back to where they came from, after what refused them was mended.

    All that are not named are left alone; without any condition all are meant, except repeats. Each is sent back once,
    however often this is run, also when it was stopped or killed in the middle. Key, value and headers are those that
    the record came with; millrace.replayed-from names its dead letter. The audit log keeps who did it.
    """
    from millrace.bus.clock import SystemClock

    operator, now_ms = getpass.getuser(), SystemClock().now_ms()

    async def work() -> Report:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            run = Run(operator, now_ms, _choice(clients.project, reason, since, until, topic, places))
            planned = await Replay(clients.transport, clients.codec, clients.project, run).dry()
            if dry_run or not planned.replayed:
                return planned
            if not yes:
                _ask(planned)
            replay = Replay(clients.transport, clients.codec, clients.project, run)
            with _shown(Console(stderr=True), replay, planned.done) as look:
                watching = asyncio.create_task(look)
                try:
                    return await replay.go()
                finally:
                    watching.cancel()
                    await asyncio.gather(watching, return_exceptions=True)

    try:
        report = asyncio.run(work())
    except KeyboardInterrupt:
        raise click.Abort from None
    if as_json:
        click.echo(json.dumps({"dry_run": dry_run, **report.to_json()}))
    else:
        _show_report(report, dry=dry_run)


def _ask(planned: Report) -> None:
    """Show what would be done, and end here unless somebody agrees."""
    _show_report(planned, dry=True, err=True)
    click.confirm("Send them back?", abort=True, err=True)


def _show_report(report: Report, *, dry: bool, err: bool = False) -> None:
    for reason, count in report.reasons.most_common():
        click.echo(f"{count:8,}  {reason}", err=err)
    click.echo(
        f"{'would replay' if dry else 'replayed'} {report.replayed:,}, skipped {report.skipped:,} as replayed before, "
        f"left out {report.repeats:,} repeats, {len(report.impossible):,} not possible",
        err=err,
    )
    for one in report.impossible[:IMPOSSIBLE_SHOWN]:
        click.echo(f"  {one.place}: {one.why}", err=err)
    if len(report.impossible) > IMPOSSIBLE_SHOWN:
        click.echo(f"  and {len(report.impossible) - IMPOSSIBLE_SHOWN:,} more; --json names all", err=err)


@contextmanager
def _shown(console: Console, replay: Replay, total: int) -> Iterator[Coroutine[Any, Any, None]]:
    """A progress bar, on a terminal only; what it gives is to be run beside the replay."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("letters", total=total)

        async def look() -> None:
            while True:
                bar.update(task, completed=replay.report.done)
                await asyncio.sleep(LOOK_S)

        yield look()
