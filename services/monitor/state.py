"""What is under way: the requests for a retrain, and which of them is open. Pure.

A retrain is *open* from its request until

- a run that it caused has failed, or
- a run that it caused, or that covers it, was rejected or retired by the registry, or made a version that became
  champion, or
- a version became champion for the first time after the request, whoever caused it (by the wall clocks of two services:
  if they disagree by more than a retrain takes, the price is one retrain more or less in a cool-down), or
- ``open_ms`` have passed without any of that, and no version of such a run is being tried out now.

So a version that is only tried out beside the champion answers nothing yet: while its rollout is under way, an error
that flaps asks for no second retrain. If it is promoted, that is the answer. If it is rolled back, the registry retires
it, that ends the request, and an alarm that persists asks again.

A run *covers* a request of which the trainer will say nothing, because the run saw at least as much: its ranges reach
all marks of the request or, for a request without marks in the samples log, it started after it. It is the trainer's
rule, told again here because services do not import each other. A run that failed covers nothing: then the trainer
runs the request itself.

The facts come from five topics that are read one after another, so they may arrive in any order: ``evolve`` collects
them, and what is open is worked out from all of them together.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    RetrainModel,
    TrainingRunChanged,
)


@dataclass(frozen=True, slots=True)
class State:
    """What the control topics say about one model.

    Attributes:
        requests: by id.
        alarms: event time of each alarm, by its drift's id.
        runs: each run with each cause that was given for it; one run may answer several requests.
        started: the event that each run started with; what tells only its progress is passed over.
        failed: runs that failed.
        refused: runs that were rejected or retired.
        versions: the version that each run made.
        promoted: when each version first became champion.
        epoch: newest epoch.
        champion: version of the champion in it; None before the first deployment.
        tried: versions that are tried out beside the champion in it.
    """

    requests: Mapping[str, RetrainModel] = field(default_factory=dict)
    alarms: Mapping[str, int] = field(default_factory=dict)
    runs: frozenset[tuple[str, str]] = frozenset()
    started: Mapping[str, TrainingRunChanged] = field(default_factory=dict)
    failed: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    versions: Mapping[str, int] = field(default_factory=dict)
    promoted: Mapping[int, int] = field(default_factory=dict)
    epoch: int = -1
    champion: int | None = None
    tried: frozenset[int] = frozenset()


INITIAL = State()


def evolve(state: State, event: Event) -> State:
    """The state after one more fact about the model."""
    match event:
        case RetrainModel() | DriftDetected():
            return _asked(state, event)
        case TrainingRunChanged():
            return _run(state, event)
        case ModelVersionChanged():
            if event.status in {"REJECTED", "RETIRED"}:
                return replace(state, refused=state.refused | {event.run_id})
            versions = {} if event.version is None else {event.run_id: event.version}
            return replace(state, versions={**state.versions, **versions})
        case DeploymentDecided():
            return _deployed(state, event)
    return state


def _asked(state: State, event: RetrainModel | DriftDetected) -> State:
    if isinstance(event, RetrainModel):
        return replace(state, requests={**state.requests, event.request_id: event})
    if event.severity != "ALARM":
        return state
    return replace(state, alarms={**state.alarms, event.drift_id: event.time_ms})


def _run(state: State, event: TrainingRunChanged) -> State:
    if event.status == "STARTED" and event.progress is not None:
        return state
    state = replace(state, runs=state.runs | {(event.run_id, event.caused_by)})
    if event.status == "STARTED":
        return replace(state, started={**state.started, event.run_id: event})
    return replace(state, failed=state.failed | {event.run_id}) if event.status == "FAILED" else state


def _deployed(state: State, event: DeploymentDecided) -> State:
    part = max(event.traffic, key=lambda part: (part.variant == "champion", part.share), default=None)
    champion = part.version if part else None
    if champion is not None:
        first_ms = min(event.decided_at_ms, state.promoted.get(champion, event.decided_at_ms))
        state = replace(state, promoted={**state.promoted, champion: first_ms})
    if event.epoch <= state.epoch:
        return state
    tried = frozenset(part.version for part in event.traffic) - {champion}
    return replace(state, epoch=event.epoch, champion=champion, tried=tried)


def open_retrain(state: State, now_ms: int, open_ms: int) -> str | None:
    """The id of the request that is open now, the oldest if several are; None if there is none."""
    newest_champion_ms = max(state.promoted.values(), default=-1)
    waiting = [
        (request.requested_at_ms, request.request_id)
        for request in state.requests.values()
        if newest_champion_ms <= request.requested_at_ms
        and not _settled(state, request)
        and (now_ms - request.requested_at_ms < open_ms or _tried(state, request))
    ]
    return min(waiting)[1] if waiting else None


def _settled(state: State, request: RetrainModel) -> bool:
    """Whether a run that answers it has ended in one way or another."""
    judged = state.refused | {run_id for run_id, version in state.versions.items() if version in state.promoted}
    return bool(_caused(state, request) & (judged | state.failed) or _covering(state, request) & judged)


def _tried(state: State, request: RetrainModel) -> bool:
    """Whether a version that may answer it is tried out now."""
    tried = {run_id for run_id, version in state.versions.items() if version in state.tried}
    return bool(tried & (_caused(state, request) | _covering(state, request)))


def _caused(state: State, request: RetrainModel) -> frozenset[str]:
    return frozenset(run_id for run_id, caused_by in state.runs if caused_by == request.request_id)


def _covering(state: State, request: RetrainModel) -> frozenset[str]:
    return frozenset(run_id for run_id, run in state.started.items() if _covers(run, request))


def _covers(run: TrainingRunChanged, request: RetrainModel) -> bool:
    reached = {(part.topic, part.partition): part.until_offset for part in run.ranges}
    marks = [mark for mark in request.until if mark.topic in {part.topic for part in run.ranges}]
    if marks:
        return all(reached.get((mark.topic, mark.partition), 0) >= mark.offset for mark in marks)
    return run.changed_at_ms > request.requested_at_ms
