"""What the ``millrace data`` commands show to people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from millrace.cli.data_features import Comparison
    from millrace.cli.data_travel import Answer

SHOWN_ROWS = 10
VERDICTS = {True: "the run's own: verified", False: "NOT the run's own", None: "the run has none to compare with"}
LISTED = {
    "snapshots": ("snapshot_id", "rows", "labelled_rows", "table_version", "taken_at_ms"),
    "runs": ("run_id", "status", "version", "train_rows", "holdout_rows", "changed_at_ms"),
}
"""What fits beside one another on 80 columns; ``--json`` has all, with every hash."""


def show(answer: "Answer", out: Path | None, console: Console) -> None:
    """What was read, and its first rows."""
    table, run = answer.rows.table, answer.run
    what = f"of {run.run_id}" if run is not None else f"as of {_time(answer.time_ms or 0)}"
    console.print(Text(f"{table.num_rows:,} rows {what}, read from the {answer.source}", style="bold"))
    if run is not None:
        console.print(f"{run.train_rows:,} to train on, {run.holdout_rows:,} held out", highlight=False)
        console.print(
            f"rows_sha256 {answer.rows.sha256} ({VERDICTS[answer.verified]})", highlight=False, soft_wrap=True
        )
    for note in answer.notes:
        console.print(Text(f"note: {note}", style="red" if answer.verified is False else "dim"))
    if out is not None:
        console.print(f"written to {out}", highlight=False, markup=False, soft_wrap=True)
        return
    shown = Table(*table.column_names)
    for row in table.slice(0, SHOWN_ROWS).to_pylist():
        shown.add_row(*(Text(_cell(value)) for value in row.values()))
    console.print(shown)
    if table.num_rows > SHOWN_ROWS:
        console.print(f"{table.num_rows - SHOWN_ROWS:,} more; --out FILE writes all", highlight=False)


def show_list(found: Mapping[str, Any], console: Console) -> None:
    """Snapshots and runs, as ``data list`` has found them."""
    for kind, columns in LISTED.items():
        table = Table(title=f"{kind} of {found['stream' if kind == 'snapshots' else 'model']}")
        for name in columns:
            table.add_column(name, no_wrap=name in columns[:2], overflow="fold")
        for row in found[kind]:
            cells = (_time(row[name]) if name.endswith("_ms") else _short(row[name]) for name in columns)
            table.add_row(*(Text(cell) for cell in cells))
        console.print(table)
    for note in found["notes"]:
        console.print(Text(f"note: {note}", style="dim"))


def show_comparison(found: "Comparison", console: Console) -> None:
    """How many recorded features differ from those computed again, and where."""
    told = f"{found.rows:,} rows computed again, {found.differing:,} differ from what was recorded"
    console.print(Text(told, style="red" if found.differing else "bold"))
    for name, rows in found.by_feature.items():
        console.print(f"  {name}: {rows:,}", highlight=False, markup=False)
    for one in found.first:
        console.print(Text("  {place}: {feature} was recorded as {recorded}, is {computed}".format_map(one)))
    for note in found.notes:
        console.print(Text(f"note: {note}", style="dim"))


def _short(value: object) -> str:
    """A cell of a list; long hashes are shown as far as they are told apart, ``--json`` has all of them."""
    text = "-" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
