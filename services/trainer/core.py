"""What the trainer knows and what it does next. Pure.

Rules, in the order in which ``decide`` asks:

1. A run that STARTED and has no end is repeated, from the reference in its event. One run is open at a time.
2. The newest request that is neither answered nor covered is run. It is *answered* by any event that names it as its
   cause, a failure too: trying again is for whoever asked. It is *covered* by another run, open or succeeded, that
   saw at least as much: one whose ranges reach all of the request's marks or, for a request without marks, one that
   started after it. Marks are preferred to times because clocks differ between machines. So a burst of requests costs
   one run, the ones behind the newest are covered by it, and a request that came while a run was open is run only if
   it knew more. A failed run covers nothing.
3. The first model of the project's feature set: no champion of this set, no successful run of it that the registry may
   still accept, and the newest snapshots of the partitions together have ``first_rows`` labelled rows since this set is
   in force. After a failed or rejected attempt there must be ``snapshot_every_rows`` more than it had, unless pipeline
   or configuration has changed since. A champion of another set counts as none: the service of this project computes
   other features than it needs. Snapshots count the rows of all sets, and a label may belong to an event of the set
   before, so the window has the last word: with fewer rows than ``first_rows`` the next snapshot is waited for.

The log is the only memory: nothing that is decided here is kept elsewhere, and a decision whose events are in the log
is not taken again. Fold order between topics does not matter; within a topic it is the order of the log.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    OffsetRange,
    RetrainModel,
    RunTrigger,
    Traffic,
    TrainingRunChanged,
)
from millrace.contracts.sections import Training
from services.trainer.train.window import Window


@dataclass(frozen=True, slots=True)
class Policy:
    """What the project says about training, with the hashes of what a run depends on."""

    model: str
    stream: str
    samples: str
    feature_set: str
    code_hash: str
    training: Training
    config_hash: str | None = None
    lock_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A run as the log tells it. ``ended`` is None while it is open."""

    started: TrainingRunChanged
    ended: TrainingRunChanged | None = None

    @property
    def failed(self) -> bool:
        """Whether it ended without a model."""
        return self.ended is not None and self.ended.status == "FAILED"


@dataclass(frozen=True, slots=True)
class State:
    """The fold of everything that the trainer reads about one model.

    ``snapshots`` are the newest by partition, ``before`` the labelled rows that a partition had when its feature set
    changed, ``totals`` the labelled rows of all partitions under the feature set of each snapshot when it was taken.
    ``runs`` are by id, ``answered`` the causes that some run names, ``rejected`` what the registry refused or retired.
    ``vetoes`` are the offsets of each partition whose samples were judged too bad to be trained on.
    ``put_off`` is the cause for which there were too few rows; it alone is not in the log, so a restart looks again.
    """

    model: str
    stream: str
    snapshots: Mapping[int, DataSnapshotTaken] = field(default_factory=dict)
    before: Mapping[int, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    requests: Mapping[str, RetrainModel] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    rejected: frozenset[str] = frozenset()
    deployment: DeploymentDecided | None = None
    vetoes: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    put_off: str | None = None

    @property
    def open_run(self) -> TrainingRunChanged | None:
        """The run that has not ended."""
        return next((run.started for run in self.runs.values() if run.ended is None), None)

    @property
    def champion(self) -> Traffic | None:
        """The version that serves most."""
        traffic = self.deployment.traffic if self.deployment else ()
        named = [part for part in traffic if part.variant == "champion"]
        return max(named or traffic, key=lambda part: part.share, default=None)

    def current(self, feature_set: str) -> tuple[list[DataSnapshotTaken], int]:
        """The newest snapshots of the partitions that are of this feature set, and its labelled rows in them."""
        found = {at: snapshot for at, snapshot in self.snapshots.items() if snapshot.feature_set == feature_set}
        return list(found.values()), sum(part.labelled_rows - self.before.get(at, 0) for at, part in found.items())


@dataclass(frozen=True, slots=True)
class Begin:
    """Start a run: find its rows, at most ``rows``, below the marks (by partition; the others up to their end)."""

    trigger: RunTrigger
    caused_by: str
    marks: Mapping[int, int]
    rows: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Do an open run's fit, for the first time or again."""

    started: TrainingRunChanged


def evolve(state: State, event: Event) -> State:  # noqa: PLR0911  # one for each kind of event
    """The state after one more event. Events of other models and streams change nothing."""
    match event:
        case DataSnapshotTaken(stream=state.stream):
            return _snapshot(state, event)
        case RetrainModel(model=state.model):
            return replace(state, requests={**state.requests, event.request_id: event})
        case TrainingRunChanged(model=state.model):
            return _run(state, event)
        case DeploymentDecided(model=state.model) if state.deployment is None or event.epoch > state.deployment.epoch:
            return replace(state, deployment=event)
        case ModelVersionChanged(model=state.model, status="REJECTED" | "RETIRED"):
            return replace(state, rejected=state.rejected | {event.run_id})
        case DataQualityJudged(stream=state.stream, vetoes=True):
            return _veto(state, event)
        case _:
            return state


def _snapshot(state: State, event: DataSnapshotTaken) -> State:
    if not event.ranges:
        return state
    partition = event.ranges[0].partition
    known = state.snapshots.get(partition)
    if known is not None and known.ranges[0].until_offset > event.ranges[0].until_offset:
        return state
    state = replace(state, snapshots={**state.snapshots, partition: event}, before=_before(state, known, event))
    if state.champion is not None and state.champion.feature_set == event.feature_set:
        return state  # only the first model of a feature set is made from snapshots
    return replace(state, totals={**state.totals, event.snapshot_id: state.current(event.feature_set)[1]})


def _before(state: State, known: DataSnapshotTaken | None, event: DataSnapshotTaken) -> Mapping[int, int]:
    """Of each partition, the rows that are not of its newest feature set."""
    if known is None:
        return state.before
    if known.labelled_rows > event.labelled_rows:  # the count began anew, so the old one cannot be taken from it
        return {**state.before, event.ranges[0].partition: 0}
    if known.feature_set == event.feature_set:
        return state.before
    return {**state.before, event.ranges[0].partition: known.labelled_rows}


def _run(state: State, event: TrainingRunChanged) -> State:
    answered = state.answered | {event.caused_by}
    if event.status == "STARTED":
        return replace(state, answered=answered, runs={**state.runs, event.run_id: Run(event)})
    known = state.runs.get(event.run_id)
    if known is None:  # refused before it started
        return replace(state, answered=answered)
    return replace(state, answered=answered, runs={**state.runs, event.run_id: Run(known.started, event)})


def _veto(state: State, event: DataQualityJudged) -> State:
    known, low, high = state.vetoes.get(event.partition, ()), event.from_offset, event.until_offset
    if known and known[-1][0] <= low <= known[-1][1]:  # as it is while a fault lasts
        known, low, high = known[:-1], known[-1][0], max(high, known[-1][1])
    elif (low, high) in known:
        return state
    return replace(state, vetoes={**state.vetoes, event.partition: (*known, (low, high))})


def decide(state: State, policy: Policy) -> Begin | Repeat | None:
    """What to do next; None is to wait for news."""
    if state.open_run is not None:
        return Repeat(state.open_run)
    for request in reversed(tuple(state.requests.values())):
        if request.request_id not in state.answered and not _covered(state, policy, request):
            marks = {mark.partition: mark.offset for mark in request.until if mark.topic == policy.samples}
            return Begin(request.reason, request.request_id, marks, policy.training.window_rows)
    return _first(state, policy)


def _covered(state: State, policy: Policy, request: RetrainModel) -> bool:
    marks = {mark.partition: mark.offset for mark in request.until if mark.topic == policy.samples}
    for run in state.runs.values():
        if run.failed:
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
    return Begin("FIRST_DATA", cause, marks, max(training.window_rows, training.first_rows))


def put_off(state: State, begin: Begin) -> State:
    """The first model has to wait: fewer rows are usable than the snapshots count."""
    return replace(state, put_off=begin.caused_by)


def open_or_refuse(
    state: State, policy: Policy, begin: Begin, window: Window, now_ms: int
) -> TrainingRunChanged | None:
    """The event that opens the run, or the FAILED one that answers the request in its place; None to put it off."""
    rows, holdout = len(window.rows), policy.training.holdout_rows
    if begin.trigger == "FIRST_DATA" and rows < policy.training.first_rows:
        return None
    started = _opening(policy, begin, window, now_ms, state)
    known = state.runs.get(started.run_id)
    if known is not None and not known.failed:
        return _refused(started, f"{started.run_id} has already trained on exactly these rows; nothing is new")
    if rows < 2 * holdout:
        return _refused(started, f"only {rows} labelled rows; {holdout} held out and as many to train on are needed")
    return started


def unreadable(policy: Policy, begin: Begin, error: str, now_ms: int) -> TrainingRunChanged:
    """The event that answers a request whose rows cannot be read."""
    return _refused(_opening(policy, begin, Window((), ()), now_ms), error)


def _opening(
    policy: Policy, begin: Begin, window: Window, now_ms: int, state: State | None = None
) -> TrainingRunChanged:
    rows, holdout = len(window.rows), policy.training.holdout_rows
    excluded = () if state is None else _excluded(state, window.ranges)
    snapshots = {} if state is None else state.snapshots
    snapshot = max(snapshots.values(), key=lambda one: one.taken_at_ms, default=None)
    return TrainingRunChanged(
        run_id=run_id_of(policy, window.ranges, excluded),
        model=policy.model,
        status="STARTED",
        trigger=begin.trigger,
        caused_by=begin.caused_by,
        ranges=window.ranges,
        feature_set=policy.feature_set,
        code_hash=policy.code_hash,
        seed=policy.training.seed,
        train_rows=max(0, rows - holdout),
        holdout_rows=min(rows, holdout),
        duration_s=0.0,
        changed_at_ms=now_ms,
        excluded=excluded,
        snapshot_id=snapshot.snapshot_id if snapshot else None,
        table_version=_table_version(snapshots, window.ranges),
        rows_sha256=window.sha256 if window.rows else None,
        config_hash=policy.config_hash,
        lock_hash=policy.lock_hash,
    )


def _table_version(snapshots: Mapping[int, DataSnapshotTaken], ranges: Sequence[OffsetRange]) -> int | None:
    """A version of the lake's table that holds all of the ranges; None if no snapshot says so."""
    known = [snapshots.get(part.partition) for part in ranges]
    versions = [
        snapshot.table_version
        for part, snapshot in zip(ranges, known, strict=True)
        if snapshot is not None and snapshot.ranges[0].until_offset >= part.until_offset
    ]
    found = [version for version in versions if version is not None]
    return max(found) if ranges and len(found) == len(ranges) else None


def _excluded(state: State, ranges: Sequence[OffsetRange]) -> tuple[OffsetRange, ...]:
    """The vetoed parts of the ranges."""
    parts = [
        part.model_copy(
            update={"from_offset": max(low, part.from_offset), "until_offset": min(high, part.until_offset)}
        )
        for part in ranges
        for low, high in state.vetoes.get(part.partition, ())
    ]
    return tuple(part for part in parts if part.from_offset < part.until_offset)


def _refused(started: TrainingRunChanged, error: str) -> TrainingRunChanged:
    """A failure that never started. It has an id of its own, because its run id may belong to a run that succeeded."""
    run_id = f"run-{_digest([started.run_id, started.caused_by])}"
    return started.model_copy(update={"run_id": run_id, "status": "FAILED", "error": error})


def run_id_of(policy: Policy, ranges: Sequence[OffsetRange], excluded: Sequence[OffsetRange] = ()) -> str:
    """The same rows, code, configuration and seed are the same run, whatever asked for it."""
    places = [
        [part.topic, part.partition, part.from_offset, part.until_offset]
        for parts in (ranges, excluded)
        for part in parts
    ]
    training = policy.training
    return f"run-{_digest([policy.model, places, policy.feature_set, policy.code_hash, training.seed])}"


def _digest(parts: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()[:16]


def champion_for(state: State, policy: Policy) -> Traffic | None:
    """The champion, if it can be judged on the same rows: one that needs other features cannot."""
    champion = state.champion
    return champion if champion is not None and champion.feature_set == policy.feature_set else None


def outdated(policy: Policy, started: TrainingRunChanged) -> str | None:
    """Why an open run cannot be repeated: the project is not the one that it was started with."""
    was, now = (started.code_hash, started.feature_set), (policy.code_hash, policy.feature_set)
    if was == now:
        return None
    return f"pipeline or configuration changed while the run was open (code and features {was}, now {now})"


def is_news(state: State, change: TrainingRunChanged) -> bool:
    """Whether the event still has to be written, given all that the log says: nothing is said twice."""
    known, open_run = state.runs.get(change.run_id), state.open_run
    if open_run is not None:
        return change.status != "STARTED" and change.run_id == open_run.run_id
    if change.status == "SUCCEEDED" or change.caused_by in state.answered:
        return False
    return known is None or known.failed
