"""``make bench-rollouts``: thousands of simulated rollouts under each policy, and whether they keep their promises.

Each rollout is driven through the registry's own verdicts by measurements as the monitor publishes them
(``rollouts_drive.py``), in worlds where the candidate is equal, better, worse, failing, or judged by late and
noisy labels (``rollouts_worlds.py``). What is promised stands in ``rollouts_judge.py``. The same seeds give the same
figures. It ends with 1 if a promised rate is exceeded by more than the error of the simulation.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks import rollouts_judge, rollouts_picture
from benchmarks.rollouts_drive import Ended, run
from benchmarks.rollouts_worlds import CHAMPION_ACCURACY, DISCORDANT, POLICIES, WORLDS, cells

CHUNK = 100
REPORT_WIDTH = 140
Task = tuple[int, int, int]  # cell, first seed, seed after the last


@click.command(help=__doc__)
@click.option("--seeds", default=2000, show_default=True, type=click.IntRange(min=1), help="Rollouts for each cell.")
@click.option("--only", multiple=True, type=click.Choice(list(POLICIES)), help="These policies; may be repeated.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default="one for each core", help="Processes.")
@click.option("--report", "folder", default=Path("reports"), show_default=True, type=click.Path(path_type=Path))
def main(*, seeds: int, only: Sequence[str], jobs: int, folder: Path) -> None:
    """Simulate, print the table, write bench-rollouts.json and bench-rollouts.svg."""
    console = Console(width=None if sys.stdout.isatty() else REPORT_WIDTH)
    began = time.monotonic()
    report = measure(seeds, only or tuple(POLICIES), jobs, console)
    report["seconds"] = round(time.monotonic() - began, 1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench-rollouts.json").write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    (folder / "bench-rollouts.svg").write_text(rollouts_picture.draw(report), "utf-8")
    console.print(_table(report))
    for fault in report["faults"]:
        console.print(f"[red]{fault}[/red]")
    console.print(f"{folder / 'bench-rollouts.json'} and .svg are written, after {report['seconds']:.0f} s")
    sys.exit(0 if report["passed"] else 1)


def measure(seeds: int, only: Sequence[str], jobs: int, console: Console) -> dict[str, Any]:
    """All figures of these policies."""
    ends = _ends(seeds, only, jobs, console)
    policies: dict[str, dict[str, Any]] = {policy: {} for policy in only}
    for at, (policy, world) in enumerate(cells()):
        if policy in only:
            policies[policy][world.name] = rollouts_judge.figures(policy, world, ends[at])
    found = rollouts_judge.faults(policies)
    return {
        "seeds": seeds,
        "settings": {name: json.loads(POLICIES[name].model_dump_json()) for name in only},
        "worlds": {"champion_accuracy": CHAMPION_ACCURACY, "discordant_share": DISCORDANT},
        "policies": policies,
        "faults": found,
        "passed": not found,
    }


def _ends(seeds: int, only: Sequence[str], jobs: int, console: Console) -> dict[int, list[Ended]]:
    """The outcomes of each cell, in the order of the seeds."""
    places = [at for at, (policy, _) in enumerate(cells()) if policy in only]
    tasks = [(at, first, min(first + CHUNK, seeds)) for at in places for first in range(0, seeds, CHUNK)]
    found: dict[tuple[int, int], list[Ended]] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task("rollouts", total=seeds * len(places))
        for (at, first, until), ends in _worked(tasks, jobs):
            found[at, first] = ends
            progress.advance(shown, until - first)
    return {at: [end for first in range(0, seeds, CHUNK) for end in found[at, first]] for at in places}


def _worked(tasks: Sequence[Task], jobs: int) -> Iterator[tuple[Task, list[Ended]]]:
    """Each task with its outcomes, as they are done; one job needs no process of its own."""
    if jobs <= 1:
        yield from ((task, simulate(*task)) for task in tasks)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:  # beside the progress thread
        waiting = {pool.submit(simulate, *task): task for task in tasks}
        yield from ((waiting[done], done.result()) for done in as_completed(waiting))


def simulate(at: int, first: int, until: int) -> list[Ended]:
    """Some seeds of one cell. A world has the same events under each policy."""
    policy, world = cells()[at]
    return [run(policy, world, (WORLDS.index(world), seed)) for seed in range(first, until)]


def _table(report: dict[str, Any]) -> Table:
    columns = ("policy", "world", "promoted", "rolled back", "rows", "touched", "false promotion", "false rollback",
               "regret (half and half)")  # fmt: skip
    table = Table(*columns, title=f"{report['seeds']} rollouts in each row")
    for policy, worlds in report["policies"].items():
        for world, seen in worlds.items():
            regret = seen["regret"]
            table.add_row(
                policy, world, f"{seen['promoted_share']:.3f}", f"{seen['rolled_back_share']:.3f}",
                f"{seen['rows_to_decision_median']:.0f}", f"{seen['touched_share']:.3f}",
                _beside(seen["false_promotion"]), _beside(seen["false_rollback"]),
                "" if regret is None else f"{regret['bandit']:.1f} ({regret['uniform']:.1f})",
            )  # fmt: skip
    return table


def _beside(rate: dict[str, Any] | None) -> str:
    """A rate and its promise."""
    if rate is None:
        return ""
    promised = "" if rate["promised"] is None else f" (<= {rate['promised']:g})"
    return f"{rate['rate']:.4f}{promised}{' !' if rate['exceeded'] else ''}"


if __name__ == "__main__":
    main()
