"""Runs on a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from millrace.cli.history_show import time_of
from millrace.contracts.events import RunProgress
from millrace.runs.compare import Line
from millrace.runs.fold import Run, Told, sparkline
from millrace.runs.record import numbers, table

STYLES = {"SUCCEEDED": "green", "FAILED": "red", "STARTED": "yellow"}
ROWS_METRIC = "rows"  # counts the rows that the others were measured on
RESOURCES = frozenset({"cpu_s", "memory_bytes_max", "disk_bytes", "wall_s"})
UNITS = (("memory_bytes_max", "MiB memory", 1 / 1024 / 1024), ("cpu_s", "s processor", 1.0), ("wall_s", "s", 1.0))
HASHES = (
    "feature_set", "rows_sha256", "code_hash", "config_hash", "lock_hash", "artifact_sha256", "golden_sha256",
    "record_sha256",
)  # fmt: skip


def show_list(runs: Sequence[Run], notes: Sequence[str], console: Console) -> None:
    """A few lines for each run; a table of all this would need a wide terminal."""
    if not runs:
        console.print("no training run yet")
    for run in runs:
        last = run.last
        again = "" if run.attempts == 1 else f", attempt {run.attempts}"
        head = (run.run_id, "bold"), f"  {last.model}  {time_of(run.began_ms)[:19]}Z  "
        took = f" {'after' if run.ended else 'for'} {last.duration_s:.1f} s{again}"
        console.print(Text.assemble(*head, (last.status, STYLES[last.status]), took))
        for line in _lines(run):
            console.print(Padding(Text(line), (0, 0, 0, 4)))
    _note(notes, console)


def _lines(run: Run) -> Iterator[str]:
    last = run.last
    yield f"{last.trigger}: {last.because or last.caused_by}"
    measured = f"; {', '.join(_metrics(run))}" if last.metrics else ""
    yield f"{last.train_rows:,} + {last.holdout_rows:,} rows{measured}"
    if run.decision:
        yield f"{run.decision}{': ' if run.reasons else ''}{'; '.join(run.reasons)}"
    yield from filter(None, [last.error, _stage(run)])


def _stage(run: Run) -> str:
    """What a run under way does."""
    if run.ended or not run.progress:
        return ""
    progress = run.progress[-1].progress
    return f"{progress.stage}: {progress.message}"


def _metrics(run: Run) -> Iterator[str]:
    champion = run.last.champion_metrics
    for name, value in sorted(run.last.metrics.items()):
        if name != ROWS_METRIC:
            beside = f" (champion {champion[name]:.4g})" if name in champion else ""
            yield f"{name} {value:.4g}{beside}"


def show_run(run: Run, files: Mapping[str, bytes], notes: Sequence[str], console: Console) -> None:
    """All that is known about one run."""
    last = run.last
    console.print(Text.assemble((run.run_id, "bold"), f" of {last.model}: ", (last.status, STYLES[last.status])))
    for line in _facts(run):
        console.print(Text(f"  {line}"))
    if last.error:
        console.print(Text(f"  failed: {last.error}", style="red"))
    for line in _curves(run, files):
        console.print(Text(f"  {line}"))
    if last.metrics:
        console.print(_metrics_table(run))
    if last.checks:
        console.print(_checks_table(run))
    for name in HASHES:
        if getattr(last, name):
            console.print(Text(f"  {name:16} {getattr(last, name)}", style="dim"))
    if files:
        how = f"millrace runs export {run.run_id} --to FOLDER writes"
        console.print(Text(f"  record: {how} {', '.join(sorted(files))}", style="dim"))
    _note(notes, console)


def _facts(run: Run) -> Iterator[str]:
    last = run.last
    yield f"because: {last.because or last.trigger} ({last.caused_by})"
    yield (
        f"began {time_of(run.began_ms)}, attempt {run.attempts}, {last.duration_s:.1f} s so far"
        if not run.ended
        else (f"began {time_of(run.began_ms)}, ended {time_of(last.changed_at_ms)}, {last.duration_s:.1f} s")
    )
    yield f"rows: {last.train_rows:,} to train on, {last.holdout_rows:,} held out"
    for part in last.ranges:
        yield f"  {part.topic}/{part.partition} offsets {part.from_offset} to {part.until_offset}"
    if last.family:
        params = ", ".join(f"{name} {value}" for name, value in sorted(last.params.items()))
        yield f"choice: {last.family} on {last.window}{f' with {params}' if params else ''}"
    if run.decision:
        yield f"registry: {run.decision}{': ' if run.reasons else ''}{'; '.join(run.reasons)}"


def _curves(run: Run, files: Mapping[str, bytes]) -> Iterator[str]:
    """What was told while it worked, and how the loss fell by its record."""
    for name, values in run.series().items():
        if len(values) > 1 and name not in RESOURCES:
            yield f"{name:20} {sparkline(values)} {values[0]:.4g} → {values[-1]:.4g}"
    steps = table(files, "history.csv")
    for column in ("train_loss", "validation_loss"):
        points = numbers(steps, column)
        if points:
            losses = [value for _, value in points]
            yield f"{column:20} {sparkline(losses)} {losses[0]:.4g} → {losses[-1]:.4g}, {points[-1][0]} steps"
    if run.progress and not run.ended:
        yield progress_line(run.progress[-1])


def progress_line(told: Told) -> str:
    """How far a run is, in one line."""
    progress = told.progress
    of = f"/{progress.steps}" if progress.steps else ""
    measured = [f"{name} {value:.4g}" for name, value in progress.values.items() if name not in RESOURCES]
    return f"{time_of(told.at_ms)}  {progress.stage} {progress.step}{of}: " + ", ".join(
        [progress.message, *measured, *_needed(progress)]
    )


def _needed(progress: RunProgress) -> Iterator[str]:
    for name, unit, factor in UNITS:
        if name in progress.values:
            yield f"{progress.values[name] * factor:.3g} {unit}"


def _metrics_table(run: Run) -> Table:
    said = Table("metric", "candidate", "champion")
    for name, value in sorted(run.last.metrics.items()):
        champion = run.last.champion_metrics.get(name)
        said.add_row(name, f"{value:.6g}", "" if champion is None else f"{champion:.6g}")
    for name, value in sorted(run.last.baselines.items()):
        said.add_row(Text(f"baseline {name}"), f"{value:.6g}", "", style="dim")
    return said


def _checks_table(run: Run) -> Table:
    said = Table("check", "", "measured", "allowed", "in words")
    for check in run.last.checks:
        how, style = ("passed", "") if check.passed else ("FAILED", "red")
        cells = (check.name, how, f"{check.value:.4g}", f"{check.limit:.4g}", check.message)
        said.add_row(*map(Text, cells), style=style)
    return said


def show_comparison(runs: Sequence[Run], lines: Sequence[Line], console: Console) -> None:
    """The runs in columns; a line where they differ is marked."""
    said = Table("", "", *(escape(run.run_id) for run in runs))
    for line in lines:
        mark, style = ("≠", "bold") if line.differs else ("", "dim")
        said.add_row(mark, line.name, *(Text(_said(value)) for value in line.values), style=style)
    console.print(said)


def _said(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _note(notes: Sequence[str], console: Console) -> None:
    for note in notes:
        console.print(Text(f"note: {note}", style="dim"))
