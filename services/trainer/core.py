"""What the trainer does next. Pure.

Rules, in the order in which ``decide`` asks:

1. A run that STARTED and has no end is repeated, from the reference in its event. One run is open at a time.
2. The newest request that is neither answered nor covered is run. It is *answered* by any event that names it as its
   cause, a failure too: trying again is for whoever asked. It is *covered* by another run, open or succeeded, that
   saw at least as much: one whose ranges reach all of the request's marks or, for a request without marks, one that
   started after it. Marks are preferred to times because clocks differ between machines. So a burst of requests costs
   one run, the ones behind the newest are covered by it, and a request that came while a run was open is run only if
   it knew more. A failed run covers nothing. A request to judge a file from elsewhere is covered by nothing either,
   and its own run covers no request to train.
3. The first model of the project's feature set: no champion of this set, no successful run of it that the registry may
   still accept, and the newest snapshots of the partitions together have ``first_rows`` labelled rows since this set is
   in force. After a failed or rejected attempt there must be ``snapshot_every_rows`` more than it had, unless pipeline
   or configuration has changed since. A champion of another set counts as none: the service of this project computes
   other features than it needs. Snapshots count the rows of all sets, and a label may belong to an event of the set
   before, so the window has the last word: with fewer rows than ``first_rows`` the next snapshot is waited for.
4. What model.yaml names under ``training.triggers``, see ``triggers.py``; there is the day's budget, too.

Nothing that is decided here is kept elsewhere than in the log, and a decision whose events are in the log is not taken
again. Waiting may have an end: ``Wait.wake_at_ms`` is when time alone changes the answer.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from millrace.contracts.events import RetrainModel, RunTrigger, TrainingRunChanged
from services.trainer.state import Policy, Run, State, champion_for, evolve
from services.trainer.triggers import Cause, budget_free_at_ms, causes

__all__ = (
    "Begin", "Held", "Policy", "Repeat", "Run", "State", "Wait", "champion_for", "decide", "evolve", "is_news",
    "outdated", "put_off",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a run: find its rows, at most ``rows``, below the marks (by partition; the others up to their end).

    ``because`` is the cause in words. ``since_time_ms`` is the event time since which the data differs, where known.
    ``imported`` is the request for a file that is judged in place of a fitted one.
    """

    trigger: RunTrigger
    caused_by: str
    marks: Mapping[int, int]
    rows: int
    because: str = ""
    since_time_ms: int | None = None
    imported: RetrainModel | None = None


@dataclass(frozen=True, slots=True)
class Repeat:
    """Do an open run's fit, for the first time or again."""

    started: TrainingRunChanged


@dataclass(frozen=True, slots=True)
class Held:
    """A cause that waits because enough runs have begun within a day."""

    caused_by: str
    because: str
    runs_per_day: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until there is news, or until ``wake_at_ms``. ``held`` is what the budget holds back."""

    wake_at_ms: int | None = None
    held: Held | None = None


def decide(state: State, policy: Policy, now_ms: int) -> Begin | Repeat | Wait:
    """What to do next. ``now_ms`` is wall time; only schedules, debouncing and the budget look at it."""
    if state.open_run is not None:
        return Repeat(state.open_run)
    free_at_ms = budget_free_at_ms(state, policy, now_ms)
    wakes: list[int] = []
    held: Held | None = None
    for begin, ripe_at_ms in _candidates(state, policy):
        if ripe_at_ms > now_ms:
            wakes.append(ripe_at_ms)
        elif free_at_ms is None or (begin.trigger == "OPERATOR" and begin.caused_by in state.requests):
            return begin
        else:
            wakes.append(free_at_ms)
            held = held or Held(begin.caused_by, begin.because, policy.training.triggers.runs_per_day)
    return Wait(min(wakes, default=None), held)


def _candidates(state: State, policy: Policy) -> Iterator[tuple[Begin, int]]:
    """What could be begun, the most urgent first, and from when on."""
    for request in reversed(tuple(state.requests.values())):
        if request.request_id not in state.answered and not _covered(state, policy, request):
            yield _asked(policy, request), 0
    first = _first(state, policy)
    if first is not None:
        yield first, 0
    for cause in causes(state, policy):
        if cause.caused_by not in {state.put_off, *state.answered}:
            yield _caused(policy, cause), cause.ripe_at_ms


def _asked(policy: Policy, request: RetrainModel) -> Begin:
    return Begin(
        trigger=request.reason,
        caused_by=request.request_id,
        marks=_marks(policy, request),
        rows=policy.training.window_rows,
        because=request.message or f"{request.requested_by} asked for it",
        since_time_ms=request.since_time_ms,
        imported=request if request.import_sha256 is not None else None,
    )


def _caused(policy: Policy, cause: Cause) -> Begin:
    return Begin(cause.trigger, cause.caused_by, {}, policy.training.window_rows, cause.because)


def _marks(policy: Policy, request: RetrainModel) -> dict[int, int]:
    return {mark.partition: mark.offset for mark in request.until if mark.topic == policy.samples}


def _covered(state: State, policy: Policy, request: RetrainModel) -> bool:
    if request.import_sha256 is not None:
        return False
    marks = _marks(policy, request)
    for run in state.runs.values():
        if run.failed or run.started.source == "imported":
            continue
        reached = {part.partition: part.until_offset for part in run.started.ranges}
        if marks and all(reached.get(partition, 0) >= offset for partition, offset in marks.items()):
            return True
        if not marks and run.started.changed_at_ms > request.requested_at_ms:
            return True
    return False


def _first(state: State, policy: Policy) -> Begin | None:
    current, total = state.current(policy.feature_set)
    hopeful = any(
        run.started.feature_set == policy.feature_set and not run.failed and run_id not in state.rejected
        for run_id, run in state.runs.items()
    )
    if champion_for(state, policy) is not None or hopeful or not current:
        return None
    cause = max(current, key=lambda snapshot: snapshot.taken_at_ms).snapshot_id
    tried = [
        state.totals.get(run.started.caused_by, 0)
        for run in state.runs.values()
        if (run.started.code_hash, run.started.feature_set) == (policy.code_hash, policy.feature_set)
    ]
    training = policy.training
    needed = max(training.first_rows, *(rows + training.snapshot_every_rows for rows in tried), 0)
    if total < needed or cause in {state.put_off, *state.answered}:
        return None
    marks = {part.partition: part.until_offset for snapshot in current for part in snapshot.ranges}
    because = f"{total:,} labelled rows and no model of these features yet; the first one needs {needed:,}"
    return Begin("FIRST_DATA", cause, marks, max(training.window_rows, training.first_rows), because)


def put_off(state: State, begin: Begin) -> State:
    """The first model has to wait: fewer rows are usable than the snapshots count."""
    return replace(state, put_off=begin.caused_by)


def outdated(policy: Policy, started: TrainingRunChanged) -> str | None:
    """Why an open run cannot be repeated: the project is not the one that it was started with."""
    was, now = (started.code_hash, started.feature_set), (policy.code_hash, policy.feature_set)
    if was == now:
        return None
    return f"pipeline or configuration changed while the run was open (code and features {was}, now {now})"


def is_news(state: State, change: TrainingRunChanged) -> bool:
    """Whether the event still has to be written, given all that the log says: nothing is said twice."""
    known, open_run = state.runs.get(change.run_id), state.open_run
    if change.progress is not None:  # of the open run, and never after its end
        return open_run is not None and open_run.run_id == change.run_id
    if open_run is not None:
        return change.status != "STARTED" and change.run_id == open_run.run_id
    if change.status == "SUCCEEDED" or change.caused_by in state.answered:
        return False
    return known is None or known.failed
