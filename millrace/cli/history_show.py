"""A model's history for people: a table on a terminal, one plain line per event elsewhere."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.registry.history_views import EntryView, History, ServedView

SHOWN_OTHERS = 10  # newest first; --json gives all
STYLES = {"promoted": "green", "rolled back": "red", "aborted": "red", "rejected": "red", "loading failed": "red"}


def show(history: History, console: Console, notes: Sequence[str]) -> None:
    """What served, why, and why nothing else did; the whole life, if it was asked for."""
    for line in (*_served(history.served), *_why(history.served), *_others(history.served)):
        console.print(Text(line), soft_wrap=True)
    if history.events:
        console.print()
        _life(history, console)
    for note in notes:
        console.print(Text(f"note: {note}", style="dim"), soft_wrap=True)


def _served(served: ServedView) -> Iterator[str]:
    when = "now" if served.at_ms is None else f"at {time_of(served.at_ms)}"
    if served.epoch is None or served.since_ms is None:
        yield f"{served.model}: nothing served {when}, it was never deployed until then"
    else:
        until = "" if served.until_ms is None else f" until {time_of(served.until_ms)}"
        since = f"from {time_of(served.since_ms)}{until}"
        yield f"{served.model} {when}: epoch {served.epoch}, {served.deployment_id}, {since}"
        yield f"  decided by {served.decided_by}: {served.reason}"
    if served.rollout_id is not None:
        yield f"  {served.rollout_id} is under way: {served.strategy}, step {served.step}"
    for part in served.traffic:
        share = "unseen" if part.mode == "SHADOW" else f"{part.share * 100:.3g} %"
        approved = f", approved by {', '.join(part.approved_by)}" if part.approved_by else ""
        yield f"  {share:>7}  version {part.version} as {part.variant}, {part.source}, run {part.run_id}{approved}"
    for row in served.partitions:
        if row.status == "FAILED":
            yield f"  partition {row.partition} could not load version {row.version} (epoch {row.epoch}): {row.reason}"
        else:
            since = time_of(row.since_ms)
            yield f"  partition {row.partition} serves epoch {row.epoch} from offset {row.from_offset}, since {since}"
    if served.frozen is not None:
        frozen = served.frozen
        yield f"  frozen by {frozen.by} since {time_of(frozen.since_ms)}: {frozen.reason}"


def _why(served: ServedView) -> Iterator[str]:
    if served.chain:
        yield "why:"
    for link in served.chain:
        when = "" if link.at_ms is None else f"{time_of(link.at_ms)}  "
        yield f"  <- {link.kind} {link.id}{f': {link.what}' if link.what else ''}".replace("<- ", f"<- {when}")


def _others(served: ServedView) -> Iterator[str]:
    if served.others:
        yield "why not the others:"
    for other in served.others[:SHOWN_OTHERS]:
        named = f"version {other.version}" if other.version is not None else f"run {other.run_id}"
        evidence = "" if other.evidence_id is None else f", {other.evidence_id}"
        yield f"  {named}: {other.state}: {other.why} [{other.id}{evidence}]"
    left_out = len(served.others) - SHOWN_OTHERS
    if left_out > 0:
        yield f"  {left_out} older ones are left out; --json shows all"


def _life(history: History, console: Console) -> None:
    if console.is_terminal:
        console.print(_table(history.events))
        return
    for rollout, entries in groupby(history.events, key=lambda entry: entry.rollout_id):
        if rollout is not None:
            console.print(Text(f"{rollout}:"), soft_wrap=True)
        for entry in entries:
            cells = [cell for cell in _cells(entry) if cell]
            console.print(Text(f"{'  ' if rollout else ''}{'  '.join(cells)}"), soft_wrap=True)


def _table(events: Sequence[EntryView]) -> Table:
    """The life as a table, the steps of a rollout under one heading."""
    table = Table("time", "what", "version", "in force", "by", "why")
    for rollout, entries in groupby(events, key=lambda entry: entry.rollout_id):
        if rollout is not None:
            table.add_section()
            table.add_row("", Text(rollout, style="bold"))
        for entry in entries:
            cells = list(_cells(entry))
            cells[1] = f"  {cells[1]}" if rollout is not None else cells[1]
            table.add_row(*map(Text, cells), style=STYLES.get(entry.what.partition(" (")[0], ""))
        if rollout is not None:
            table.add_section()
    return table


def _cells(entry: EntryView) -> tuple[str, ...]:
    traffic = "" if entry.traffic is None else f"epoch {entry.epoch}: {entry.traffic}"
    effect = ", ".join(f"partition {one.partition} from offset {one.from_offset}" for one in entry.took_effect)
    named = "" if entry.version is None else f"version {entry.version}"
    why = f"{entry.why} ({effect})" if effect else entry.why
    return time_of(entry.at_ms), entry.what, named, traffic, entry.by or "", why


def time_of(time_ms: int) -> str:
    """Time for people.

    >>> time_of(1_600_000_000_123)
    '2020-09-13 12:26:40.123Z'
    """
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
