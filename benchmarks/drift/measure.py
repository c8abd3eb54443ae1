"""The work of the benchmark, cut into pieces for several processes: a world and a seed each."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.drift.judge import Figures, Outcome, judged, row
from benchmarks.drift.policies import (
    BARE,
    OUR_WARNINGS,
    OURS,
    SLOW_BEFORE_ROWS,
    SLOW_STABLE_ROWS,
    Bare,
    bare_alarms,
    our_alarms,
)
from benchmarks.drift.streams import WORLDS, Stream

FIRST_SEED = 5000  # above all that the detector and the streams were tuned on
SLOW_SHARE = 7  # of each drift, the slow detectors see one stream in so many
SLOW_INPUT_ROWS = 250  # before a drift, or of a stable stream; times 20 features
STABLE_EVENTS = {"Agrawal, stable": 250_000, "LED, stable": 500_000}  # the rest is faster to make: twice as many
STABLE_EVENTS_ELSE = 1_000_000
RUN_EVENTS = 250_000  # of a stable stream in one piece


@dataclass(frozen=True, slots=True)
class Task:
    """One stream: which world, which seed, how many events if it is stable."""

    world: int
    seed: int
    events: int
    slow: bool


def tasks(seeds: int, share: float) -> list[Task]:
    """All pieces of work, the longest first. ``share`` of the stable events."""
    found, slow_seeds = [], -(-seeds // SLOW_SHARE)
    for at, world in enumerate(WORLDS):
        if world.kind in {"stable", "correlated"}:
            events = max(1, round(share * STABLE_EVENTS.get(world.name, STABLE_EVENTS_ELSE)))
            runs = -(-events // RUN_EVENTS)
            found += [Task(at, FIRST_SEED + run, min(RUN_EVENTS, events), run == 0) for run in range(runs)]
        else:
            found += [Task(at, FIRST_SEED + seed, 0, seed < slow_seeds) for seed in range(seeds)]
    return sorted(found, key=lambda task: -task.events)


def worked(task: Task) -> dict[str, Outcome]:
    """What each policy did on one stream."""
    stream = WORLDS[task.world].make(task.seed, task.events)
    outcomes = {
        policy: judged(alarms, stream.drifts, stream.benign, 0, len(stream.labels))
        for policy, alarms in our_alarms(stream).items()
    }
    for name, bare in BARE.items():
        if not bare.slow:
            alarms = bare_alarms(bare, stream, 0, len(stream.labels))
            outcomes[name] = judged(alarms, stream.drifts, stream.benign, 0, len(stream.labels))
        elif task.slow:
            outcomes[name] = slowly(bare, stream)
    return outcomes


def slowly(bare: Bare, stream: Stream) -> Outcome:
    """As ``judged``, of a slow detector: around each drift until it has found it, or on a part of what is stable."""
    if not stream.drifts:
        end = min(SLOW_INPUT_ROWS if bare.inputs else SLOW_STABLE_ROWS, len(stream.labels))
        return judged(bare_alarms(bare, stream, 0, end), (), (), 0, end)
    parts = []
    for place in stream.drifts:
        begin = max(0, place - (SLOW_INPUT_ROWS if bare.inputs else SLOW_BEFORE_ROWS))
        end = min([change for change in (*stream.drifts, *stream.benign) if change > place] + [len(stream.labels)])
        alarms = []
        for alarm in bare_alarms(bare, stream, begin, end):
            alarms.append(alarm)
            if alarm >= place:
                break
        parts.append(judged(alarms, (place,), (), begin, end))
    return Outcome(
        tuple(delay for part in parts for delay in part.delays),
        parts[0].false,  # before a later drift comes a change for the better, and nothing there is false
        parts[0].stable_events,
    )


def measure(seeds: int, share: float, jobs: int, console: Console) -> list[Figures]:
    """A row for each stream and policy."""
    todo = tasks(seeds, share)
    found: dict[Task, dict[str, Outcome]] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        shown = progress.add_task("streams", total=len(todo))
        for task, outcomes in _worked(todo, jobs):
            found[task] = outcomes
            progress.advance(shown)
    return [
        row(world.name, world.kind, policy, [found[task][policy] for task in own if policy in found[task]])
        for at, world in enumerate(WORLDS)
        for own in [sorted((task for task in todo if task.world == at), key=lambda task: task.seed)]
        for policy in (OURS, *BARE, OUR_WARNINGS)
    ]


def _worked(todo: Sequence[Task], jobs: int) -> Iterator[tuple[Task, dict[str, Outcome]]]:
    """Each task with its outcome, as they are done; one job needs no process of its own."""
    if jobs <= 1:
        yield from ((task, worked(task)) for task in todo)
        return
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:  # beside the progress thread
        waiting = {pool.submit(worked, task): task for task in todo}
        yield from ((waiting[done], done.result()) for done in as_completed(waiting))
