"""What ``millrace erase`` says: what it found, what it did, and what is left until it expires."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from millrace.cli.erase_remains import Remains
from millrace.cli.erase_survey import Found, Held

SHOWN = 10  # snapshots and runs, the newest; --json gives all


@dataclass(frozen=True, slots=True)
class Target:
    """One life of the person that is to be erased; ``destroyed_at_ms`` where its key is gone but not all is done."""

    found: Found
    life: int
    destroyed_at_ms: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What there is to be erased. ``erased_at_ms`` is when the person was erased last, ``known`` whether ever seen."""

    targets: tuple[Target, ...]
    remains: tuple[Remains, ...]
    erased_at_ms: int | None
    known: bool


@dataclass(frozen=True, slots=True)
class Erased:
    """One life that was erased."""

    found: Found
    key_destroyed_at_ms: int
    lake_rows_removed: int


def report(plan: Plan, erased: Sequence[Erased]) -> dict[str, Any]:
    """Everything, for programs. ``status`` is ``erased``, ``already-erased`` or ``unknown``."""
    return {
        "status": _status(plan, erased),
        "erased_at_ms": max((one.key_destroyed_at_ms for one in erased), default=plan.erased_at_ms),
        "erased": [asdict(one) for one in erased],
        "remains": [asdict(one) for one in plan.remains],
    }


def show_plan(console: Console, plan: Plan) -> None:
    """What holds data of the person."""
    for target in plan.targets:
        found = target.found
        unfinished = (
            "" if target.destroyed_at_ms is None else f", destroyed {_time(target.destroyed_at_ms)}, unfinished"
        )
        console.print(Text(f"pseudonym {found.pseudonym}{unfinished}", style="bold"))
        table = Table("what", "how much", "which")
        table.add_row("samples on the log", *_rows(found.samples))
        if found.lake is not None:
            table.add_row("rows in the lake", *_rows(found.lake))
        else:
            table.add_row("rows in the lake", "no lake was found: none are removed; --lake says where it is")
        table.add_row("data snapshots", str(len(found.snapshots)), _some(found.snapshots))
        runs = [f"{one.model} {one.run_id[:12]} {one.status}" for one in found.trained]
        table.add_row("training runs", str(len(runs)), _some(runs))
        versions = [
            f"{one.model} {one.version} {one.version_status}" for one in found.trained if one.version is not None
        ]
        table.add_row("model versions", str(len(versions)), _some(versions))
        console.print(table)


def show_end(console: Console, plan: Plan, erased: Sequence[Erased]) -> None:
    """What was done, and what upstream's topics still hold."""
    status = _status(plan, erased)
    if status == "unknown":
        console.print("nobody of that name ever had a key here; check the spelling, and the stream")
    elif status == "already-erased":
        assert plan.erased_at_ms is not None, "that is what the status says"
        console.print(f"already erased, since {_time(plan.erased_at_ms)}")
    for one in erased:
        words = f"erased {one.found.pseudonym}: key destroyed {_time(one.key_destroyed_at_ms)}"
        if one.found.table is not None:
            words += f", {one.lake_rows_removed} rows removed from {one.found.table}"
        console.print(Text(words))
    for left in plan.remains:
        if left.expires_at_ms is not None:
            words = (
                f"{left.topic}: {left.records} records name the person until {_time(left.expires_at_ms)} at the latest"
            )
            console.print(Text(words, style="yellow"))
        if left.unreadable:
            console.print(Text(f"{left.topic}: {left.unreadable} records could not be attributed", style="yellow"))


def _status(plan: Plan, erased: Sequence[Erased]) -> str:
    if erased:
        return "erased"
    return "already-erased" if plan.known else "unknown"


def _rows(held: Sequence[Held]) -> tuple[str, str]:
    places = [f"partition {one.partition}: {one.rows}, offsets {one.first_offset} to {one.last_offset}" for one in held]
    return str(sum(one.rows for one in held)), "\n".join(places)


def _some(names: Sequence[str]) -> str:
    more = [f"and {len(names) - SHOWN} older"] if len(names) > SHOWN else []
    return "\n".join([*reversed(names[-SHOWN:]), *more])


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
