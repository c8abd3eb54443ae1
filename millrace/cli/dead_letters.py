"""``millrace dead-letters``: which records were refused, why, and what was in them."""

import asyncio
import json
from collections import Counter, deque
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from millrace.bus.deadletter import why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.cli.options import address_options, json_option, project_argument
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, ContractError
from millrace.contracts.project import Project
from millrace.contracts.topics import DEAD_LETTERS, topic_name

LIMIT = 20


@dataclass(frozen=True, slots=True)
class Letter:
    """One refused record in a list. ``place`` names it for ``show``; ``origin`` is where it was read."""

    place: str
    time: str
    reason: str
    origin: str
    message: str


@dataclass(frozen=True, slots=True)
class Survey:
    """The newest letters, oldest first, and how many there are of each reason, most frequent first."""

    topic: str
    letters: tuple[Letter, ...]
    counts: dict[str, int]


@click.group("dead-letters")
def command() -> None:
    """List and show refused records."""


@command.command("list")
@project_argument
@address_options
@click.option("--reason", metavar="SLUG", help="Only those refused for this reason, such as out-of-range.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Only the newest so many.")
@json_option
def list_letters(
    project: Path,
    data: Path,
    bootstrap: str | None,
    schema_registry: str | None,
    reason: str | None,
    limit: int,
    *,
    as_json: bool,
) -> None:
    """List the refused records of PROJECT's stream, and count them by reason."""

    async def ask() -> Survey:
        from millrace.cli.connect import connected

        async with connected(project, data, bootstrap, schema_registry) as clients:
            return await survey(clients.transport, clients.project, reason=reason, limit=limit)

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(asdict(found)))
    else:
        _show_survey(found)


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
            return await detail(record, clients.codec)

    found = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show_detail(found)


async def survey(transport: Transport, project: Project, *, reason: str | None, limit: int) -> Survey:
    """Read the whole topic; keep the newest ``limit`` letters of ``reason`` (all reasons for None), count all of it."""
    topic = topic_name(DEAD_LETTERS, project)
    counts: Counter[str] = Counter()
    newest: list[Record] = []
    for partition in range(project.partitions):
        kept: deque[Record] = deque(maxlen=limit)
        begin, end = await transport.bounds(topic, partition)
        async for batch in transport.read(topic, partition, begin, end):
            for record in batch:
                slug = why(record)["reason"]
                if reason in {None, slug}:
                    counts[slug] += 1
                    kept.append(record)
        newest += kept
    newest.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    return Survey(topic, tuple(_letter(record) for record in newest[-limit:]), dict(counts.most_common()))


def _letter(record: Record) -> Letter:
    told = why(record)
    origin = f"{told['topic']}/{told['partition']}/{told['offset']}"
    return Letter(_place(record), _time(record.timestamp_ms), told["reason"], origin, told["message"])


def parse_place(place: str) -> tuple[int, int]:
    """Partition and offset.

    >>> parse_place("0/17")
    (0, 17)
    """
    partition, slash, offset = place.partition("/")
    if not (slash and partition.isdecimal() and offset.isdecimal()):
        raise click.BadParameter(f"{place!r} is not PARTITION/OFFSET, such as 0/17", param_hint="PARTITION/OFFSET")
    return int(partition), int(offset)


async def letter_at(transport: Transport, topic: str, partition: int, offset: int) -> Record:
    """The record at that place. Raises ``BusError`` if there is none, naming the offsets that there are."""
    begin, end = await transport.bounds(topic, partition)
    if begin <= offset < end:
        async for batch in transport.read(topic, partition, offset, offset + 1):
            return batch[0]
    raise BusError(
        f"{topic}/{partition} has no record at offset {offset}; its offsets are {begin} to {end - 1}, with gaps where "
        "transactions ended"
    )


async def detail(record: Record, codec: Codec) -> dict[str, Any]:
    """Everything about one letter; ``decoded`` is None where the value is no event, and ``undecodable`` says why."""
    value = record.value or b""
    found: dict[str, Any] = {
        "place": _place(record),
        "time": _time(record.timestamp_ms),
        **why(record),
        "key": _text(record.key),
        "headers": [[name, _text(content)] for name, content in record.headers],
        "value_hex": value.hex(),
        "decoded": None,
        "undecodable": None,
    }
    try:
        found["decoded"] = json.loads(json.dumps(await codec.decode_record(record.value), default=_plain))
    except ContractError as error:
        found["undecodable"] = str(error)
    return found


def _place(record: Record) -> str:
    return f"{record.partition}/{record.offset}"


def _time(time_ms: int) -> str:
    """Log time for people.

    >>> _time(1_600_000_000_000)
    '2020-09-13T12:26:40.000+00:00'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")


def _text(content: bytes | None) -> str | None:
    """As text where it is text, else as hex."""
    if content is None:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"0x{content.hex()}"


def _plain(value: object) -> str:
    """What JSON has no form for: bytes as hex, the rest (decimals, dates) as their text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def _show_survey(found: Survey) -> None:
    if not found.letters:
        click.echo(f"{found.topic} holds no such records.")
        return
    table = Table()
    for name in ("place", "time", "reason", "origin", "message"):
        table.add_column(name, no_wrap=name in {"place", "time"}, overflow="fold")
    for letter in found.letters:
        table.add_row(letter.place, f"{letter.time[:19]}Z", letter.reason, letter.origin, letter.message)
    Console().print(table, markup=False)
    for reason, count in found.counts.items():
        click.echo(f"{count:8,}  {reason}")
    click.echo(f"{sum(found.counts.values()):8,}  in all, the newest {len(found.letters)} are shown")


def _show_detail(found: dict[str, Any]) -> None:
    for name in ("place", "time", "reason", "message", "key"):
        click.echo(f"{name:8} {found[name]}")
    click.echo(f"{'origin':8} {found['topic']}/{found['partition']}/{found['offset']}")
    click.echo("headers")
    for name, content in found["headers"]:
        click.echo(f"  {name}: {content}")
    click.echo(f"value, {len(found['value_hex']) // 2} bytes\n  {found['value_hex']}")
    decoded = found["decoded"]
    click.echo(
        f"not decodable: {found['undecodable']}"
        if decoded is None
        else f"decoded\n{json.dumps(decoded, indent=2, ensure_ascii=False)}"
    )
