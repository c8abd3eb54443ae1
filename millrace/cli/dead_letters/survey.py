"""``millrace dead-letters list``: the newest letters, and how many there are of each reason."""

from collections import Counter, deque
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table

from millrace.bus.deadletter import place_of, replays, why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project
from millrace.contracts.topics import DEAD_LETTERS, topic_name
from millrace.operating.letters import Choice, Replayed, chosen, replayed_before, spans, time_text


@dataclass(frozen=True, slots=True)
class Letter:
    """One refused record in a list. ``place`` names it for ``show``; ``origin`` is where it was read.

    ``replayed`` is when it was sent back, None if it was not. ``replays`` counts how often the record had been sent
    back before it was refused here.
    """

    place: str
    time: str
    reason: str
    origin: str
    message: str
    replayed: str | None
    replays: int


@dataclass(frozen=True, slots=True)
class Survey:
    """The newest letters, oldest first, and how many there are of each reason, most frequent first."""

    topic: str
    letters: tuple[Letter, ...]
    counts: dict[str, int]


async def survey(transport: Transport, codec: Codec, project: Project, choice: Choice, limit: int) -> Survey:
    """Count the letters that are meant, and keep the newest ``limit`` of them."""
    topic = topic_name(DEAD_LETTERS, project)
    counts: Counter[str] = Counter()
    newest: list[Record] = []
    for span in await spans(transport, project, choice):
        kept: deque[Record] = deque(maxlen=limit)
        async for letters in chosen(transport, project, choice, span):
            counts.update(why(letter)["reason"] for letter in letters)
            kept.extend(letters)
        newest += kept
    newest.sort(key=lambda record: (record.timestamp_ms, record.partition, record.offset))
    before = await replayed_before(transport, codec, project) if newest else {}
    return Survey(topic, tuple(_letter(record, before) for record in newest[-limit:]), dict(counts.most_common()))


def _letter(record: Record, before: dict[str, Replayed]) -> Letter:
    told, sent_back = why(record), before.get(place_of(record))
    return Letter(
        place=f"{record.partition}/{record.offset}",
        time=time_text(record.timestamp_ms),
        reason=told["reason"],
        origin=f"{told['topic']}/{told['partition']}/{told['offset']}",
        message=told["message"],
        replayed=None if sent_back is None else time_text(sent_back.time_ms),
        replays=replays(record),
    )


def show_survey(found: Survey) -> None:
    """A table for people."""
    if not found.letters:
        click.echo(f"{found.topic} holds no such records.")
        return
    table = Table()
    for name in ("place", "time", "reason", "origin", "message", "replayed"):
        table.add_column(name, no_wrap=name in {"place", "time"}, overflow="fold")
    for letter in found.letters:
        replayed = f"{letter.replayed[:19]}Z" if letter.replayed else ""
        table.add_row(letter.place, f"{letter.time[:19]}Z", letter.reason, letter.origin, letter.message, replayed)
    Console().print(table, markup=False)
    for reason, count in found.counts.items():
        click.echo(f"{count:8,}  {reason}")
    click.echo(f"{sum(found.counts.values()):8,}  in all, the newest {len(found.letters)} are shown")
