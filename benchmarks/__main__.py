"""``make bench``: ours and the peers on the same samples, model and broker, in one interleaved run.

How it measures. Each round makes a stream of its own: all events are loaded, the real ingest turns them into samples,
and these are the input of every row that serves. A row's whole input lies ready before its process starts. The
process starts, joins its group and works; meanwhile another client asks the broker 25 times a second how far a reader
of committed records could see in its output topic (``watch.py``). *Cold* is the rate over the first third of the
outputs, from the first visible one on; *warm* the rate between half and 95 %. Starting is in neither. Both ends of a
span lie just behind a visible commit, so rows that commit seldom are not favoured. Afterwards an independent client
reads all outputs and counts duplicates and gaps against the inputs that they name (``readback.py``).

What differs. A slow row is stopped when it has done its share of the events (``rows.py``). MLServer reads JSON, and
from "latest" only: its requests are sent once it answers. Its answers come in bursts, so its rate, cold and warm, is
that from the sending of the requests to 95 % of the answers. The monitor has a stream of its own, on which half of the
rows are labels and the version has a training profile, so that it does all that it does by default; its findings are
few, so its progress is the position that moves with them. ``millrace-serving-labelled`` is serving on that stream:
events a second are rows there, labels included.

The order of the rows rotates from round to round. Nothing here asserts a speed.
"""

import json
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import import_module, resources, util
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks import picture, report
from benchmarks.rows import ROWS
from benchmarks.run import FEATURES, TREES, Bench, Outcome, Tell
from millrace.local.embedded import start_embedded
from millrace.telemetry import log

NAMES = [row.name for row in ROWS]
EXTRAS = ("latency", "cost", "trust")
QUICK_EVENTS = 30_000
REPORT_WIDTH = 140


@click.command(help=__doc__)
@click.option("--events", default=400_000, show_default=True, help="In each round; slow rows do a share of them.")
@click.option("--rounds", default=3, show_default=True, help="Each row runs once in each.")
@click.option("--partitions", default=4, show_default=True, help="Of every topic.")
@click.option("--only", multiple=True, type=click.Choice([*NAMES, *EXTRAS]), help="These only; may be repeated.")
@click.option("--quick", is_flag=True, help=f"One round of {QUICK_EVENTS:,} events: to see whether it works.")
@click.option("--report", "folder", default=Path("reports"), show_default=True, type=click.Path(path_type=Path))
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs and data in this folder.")
def main(
    *, events: int, rounds: int, partitions: int, only: Sequence[str], quick: bool, folder: Path, keep: Path | None
) -> None:
    """Run, print the table, write bench.json and bench.svg."""
    if quick:
        events, rounds = min(events, QUICK_EVENTS), 1
    signal.signal(signal.SIGTERM, _end)
    log.configure("bench", "WARNING")
    console, began_s = Console(), time.monotonic()
    if not console.is_terminal:
        console = Console(width=REPORT_WIDTH)
    wanted = [row for row in ROWS if not only or row.name in only]
    extras = [name for name in EXTRAS if not only or name in only]
    with ExitStack() as stack:
        work = (keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="millrace-bench-")))).resolve()
        with telling(console) as tell:
            outcomes = []
            for one in run_rows(work, wanted, tell, events=events, rounds=rounds, partitions=partitions):
                outcomes.append(one)
                console.print(in_words(one))
            found = {name: run_extra(name, work / name, tell, quick=quick) for name in extras}
    rows = report.rows_of(outcomes)
    made: dict[str, Any] = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),  # noqa: TID251  # the one moment that is told
        "machine": report.machine(kafka_version()),
        "settings": {
            "events": events, "rounds": rounds, "partitions": partitions, "features": len(FEATURES), "trees": TREES,
            "took_s": round(time.monotonic() - began_s),
        },
        "rows": rows,
        "ratios": report.ratios_of(rows),
        "latency_ms": found.get("latency", {}),
        "cost": found.get("cost", {}),
        "trust": found.get("trust", {}),
    }  # fmt: skip
    write(folder, {"bench.json": json.dumps(made, indent=2) + "\n", "bench.svg": picture.draw(made)})
    show(console, made)
    console.print(f"written: {folder / 'bench.json'}, {folder / 'bench.svg'}")


def write(folder: Path, content: dict[str, str]) -> None:
    """Replace the files, each whole, readable by all, as the umask says: reports are shared."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        temporary = folder / f".{name}.partial"
        temporary.write_text(text, "utf-8")
        temporary.replace(folder / name)


def in_words(one: Outcome) -> str:
    """What one row did in one round."""
    if one.count is None or one.skipped is not None:
        return f"{one.row.name}: {one.skipped}"
    figures = zip(("cold", "warm"), report.rates_of(one), strict=True)
    said = ", ".join(f"{name} {value:,.0f}/s" for name, value in figures if value is not None)
    return f"{one.row.name}: {said or 'too short to measure'}"


def _end(*_signal: object) -> None:
    """Ended from outside: by the way that stops the processes and removes the folder."""
    sys.exit(1)


def run_rows(
    work: Path, wanted: Sequence[Any], tell: Tell, *, events: int, rounds: int, partitions: int
) -> Iterator[Outcome]:
    """The rows of the table; nothing is started where none is wanted."""
    if wanted:
        with start_embedded(work / "platform") as embedded:
            yield from Bench(embedded, work, events=events, partitions=partitions, tell=tell).run(rounds, wanted)


def run_extra(name: str, folder: Path, tell: Tell, *, quick: bool) -> Any:
    """``latency``, ``cost`` or ``trust``; what went wrong instead, so that the table is not lost with it.

    On a broker of its own, which has not to look after what all the rows left behind.
    """
    if util.find_spec(f"benchmarks.{name}") is None:
        return {"skipped": f"there is no benchmarks/{name}.py"}
    tell(name, 0, 1)
    settings: dict[str, Any] = dict(QUICK_EXTRAS[name]) if quick else {}
    with start_embedded(folder / "platform") as embedded:
        if name == "latency":
            settings["broker_pid"] = embedded.processes()["kafka"].pid
        else:
            settings["tell"] = lambda what: tell(f"{name}: {what}", 0, 1)
        try:
            found = import_module(f"benchmarks.{name}").run(
                folder, embedded.bootstrap_servers, embedded.schema_registry_url, **settings
            )
        except RuntimeError as error:
            return {"skipped": str(error)}
    tell(name, 1, 1)
    return found


QUICK_EXTRAS: dict[str, dict[str, Any]] = {
    "latency": {"rates": (200, 2_000), "seconds": 5, "warm_up_s": 2, "prime_s": 2},
    "cost": {"events": 20_000},
    "trust": {"events": 60_000, "rounds": 1},
}


@contextmanager
def telling(console: Console) -> Iterator[Callable[[str, int, int], None]]:
    """Shows what runs: a bar on a terminal, a line for each row elsewhere."""
    if not console.is_terminal:
        yield lambda name, done, _of: None if done else console.print(f"… {name}")
        return
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("start", total=None)

        def tell(name: str, done: int, of: int) -> None:
            if not done:
                progress.reset(task)
            progress.update(task, description=name, completed=min(done, of), total=of)

        yield tell


def show(console: Console, made: dict[str, Any]) -> None:
    """The table of the run."""
    table = Table(title="median (least to greatest)")
    for place, heading in enumerate(report.HEADINGS):
        table.add_column(heading, justify="right" if 2 <= place <= 6 else "left", no_wrap=place < 7)
    for cells in report.table_cells(made, asked_only=True):
        table.add_row(*cells)
    console.print(table)


def kafka_version() -> str:
    """The embedded broker's, as its lock file says."""
    lock = resources.files("millrace.local").joinpath("kafka.lock").read_text("utf-8")
    found = re.search(r"kafka_2\.13:jar:(\S+)", lock)
    return found[1] if found else "unknown"


if __name__ == "__main__":
    main()
