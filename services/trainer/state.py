"""What the trainer knows: the fold of everything that it reads about one model. Pure.

The log is the only memory. Fold order between topics does not matter; within a topic it is the order of the log. An
event that says how far a run is (STARTED with ``progress``) changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    RetrainModel,
    Traffic,
    TrainingRunChanged,
)
from millrace.contracts.training_policy import Training

HISTORY = 500  # snapshots of a partition remembered since the last run; of more, the count of new rows begins earlier
DAY_MS = 24 * 3600 * 1000


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
    ``recent`` are a partition's snapshots since the last attempt at a run, after the newest one that it had seen.
    ``runs`` are by id, ``answered`` the causes that some run names, ``rejected`` what the registry refused or retired.
    ``last`` is the event that opened the newest run, or refused it; ``starts`` are when runs began, with their ids,
    within a day of the newest.
    ``vetoes`` are the offsets of each partition whose samples were judged too bad to be trained on.
    ``put_off`` is the cause for which there were too few rows; it alone is not in the log, so a restart looks again.
    """

    model: str
    stream: str
    snapshots: Mapping[int, DataSnapshotTaken] = field(default_factory=dict)
    before: Mapping[int, int] = field(default_factory=dict)
    totals: Mapping[str, int] = field(default_factory=dict)
    recent: Mapping[int, tuple[DataSnapshotTaken, ...]] = field(default_factory=dict)
    requests: Mapping[str, RetrainModel] = field(default_factory=dict)
    runs: Mapping[str, Run] = field(default_factory=dict)
    last: TrainingRunChanged | None = None
    starts: frozenset[tuple[int, str]] = frozenset()
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


def champion_for(state: State, policy: Policy) -> Traffic | None:
    """The champion, if it can be judged on the same rows: one that needs other features cannot."""
    champion = state.champion
    return champion if champion is not None and champion.feature_set == policy.feature_set else None


def evolve(state: State, event: Event) -> State:  # noqa: PLR0911  # one for each kind of event
    """The state after one more event. Events of other models and streams change nothing."""
    match event:
        case DataSnapshotTaken(stream=state.stream):
            return _snapshot(state, event)
        case RetrainModel(model=state.model):
            return replace(state, requests={**state.requests, event.request_id: event})
        case TrainingRunChanged(model=state.model, progress=None):
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
    recent = state.recent.get(partition, ())
    recent = recent if event in recent[-1:] else _since(state.last, (*recent, event))
    state = replace(
        state,
        snapshots={**state.snapshots, partition: event},
        before=_before(state, known, event),
        recent={**state.recent, partition: recent},
    )
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


def _since(last: TrainingRunChanged | None, known: tuple[DataSnapshotTaken, ...]) -> tuple[DataSnapshotTaken, ...]:
    """The snapshots of a partition after those that the last run had seen, and before them the newest that it had."""
    first = 0
    if last is not None:
        reach = {part.partition: part.until_offset for part in last.ranges}
        first = max((at for at, one in enumerate(known) if _seen(one, reach, last.changed_at_ms)), default=0)
    kept = known[first:]
    return kept if len(kept) <= HISTORY else (kept[0], *kept[2:])


def _seen(snapshot: DataSnapshotTaken, reach: Mapping[int, int], at_ms: int) -> bool:
    """By offsets, because clocks differ between machines; by time where the run has no row of the partition."""
    part = snapshot.ranges[0]
    until = reach.get(part.partition)
    return snapshot.taken_at_ms <= at_ms if until is None else part.until_offset <= until


def _run(state: State, event: TrainingRunChanged) -> State:
    state = replace(state, answered=state.answered | {event.caused_by})
    known = state.runs.get(event.run_id)
    if event.status != "STARTED" and known is not None:
        return replace(state, runs={**state.runs, event.run_id: Run(known.started, event)})
    if event.source != "imported":  # a file from elsewhere has learned nothing of our rows
        recent = {partition: _since(event, parts) for partition, parts in state.recent.items()}
        state = replace(state, last=event, recent=recent)
    if event.status != "STARTED":  # refused before it started
        return state
    kept = {start for start in state.starts if start[0] > event.changed_at_ms - DAY_MS}
    starts = frozenset(kept | {(event.changed_at_ms, event.run_id)})
    return replace(state, starts=starts, runs={**state.runs, event.run_id: Run(event)})


def _veto(state: State, event: DataQualityJudged) -> State:
    known, low, high = state.vetoes.get(event.partition, ()), event.from_offset, event.until_offset
    if known and known[-1][0] <= low <= known[-1][1]:  # as it is while a fault lasts
        known, low, high = known[:-1], known[-1][0], max(high, known[-1][1])
    elif (low, high) in known:
        return state
    return replace(state, vetoes={**state.vetoes, event.partition: (*known, (low, high))})
