"""What the monitor says, given what it found and what is already under way. Pure.

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

While one is open for the model, no other is asked for. The newest alarm of a partition that found one open is not
lost: it asks when that one has ended without a new champion (``ask_again``). An alarm about a version that is no longer
the champion asks for nothing: its successor has answered already. That, and the detectors' new beginning with each
version, is why a deployment never triggers a retrain by itself.

The facts come from four topics that are read one after another, so they may arrive in any order: ``evolve`` collects
them, and what is open is worked out from all of them together.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    Event,
    ModelVersionChanged,
    OffsetMark,
    RetrainModel,
    TrainingRunChanged,
)
from services.monitor.facts import (
    Place,
    Unreadable,
    drift_alert,
    drift_of,
    evidence_of,
    in_words,
    metrics_of,
    unreadable_alert,
)
from services.monitor.measure import Measured
from services.monitor.rollout import RolloutFinding
from services.monitor.watch import Drift, Finding


@dataclass(frozen=True, slots=True)
class State:
    """What the control topics say about one model.

    Attributes:
        requests: by id.
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
        case RetrainModel():
            return replace(state, requests={**state.requests, event.request_id: event})
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


def decide(state: State, place: Place, findings: Iterable[Finding | Unreadable], now_ms: int) -> list[Event]:
    """The events that say what was found, in its order. At most one of them is a request for a retrain."""
    events: list[Event] = []
    for finding in findings:
        if isinstance(finding, Measured):
            events.append(metrics_of(place, finding, now_ms))
            continue
        if isinstance(finding, RolloutFinding):
            events.append(evidence_of(place, finding, now_ms))
            continue
        if isinstance(finding, Unreadable):
            events.append(unreadable_alert(place, finding, now_ms))
            continue
        drift = drift_of(place, finding, now_ms)
        events.append(drift)
        if finding.severity == "ALARM":
            request, outcome = _request(state, place, finding, drift, now_ms)
            events += [drift_alert(finding, drift, outcome), *request]
            for asked in request:
                state = evolve(state, asked)
    return events


def ask_again(state: State, place: Place, found: Drift, now_ms: int) -> tuple[RetrainModel | None, bool]:
    """The request of an alarm that may have found another one open, if its time has come; and whether it is settled.

    It is settled once it has asked, or when another version serves than the one that it was about.
    """
    asked, _ = _request(state, place, found, drift_of(place, found, now_ms), now_ms)
    if asked:
        message = f"{asked[0].message}; the retrain before brought no new version"
        return asked[0].model_copy(update={"until": (), "message": message}), False
    return None, _request_id(place, found) in state.requests or state.champion not in {None, found.version}


def _request_id(place: Place, found: Drift) -> str:
    return f"retrain/{place.model}/{place.partition}/{found.offset}"


def _request(
    state: State, place: Place, found: Drift, drift: DriftDetected, now_ms: int
) -> tuple[list[RetrainModel], str]:
    """The request, if there is to be one, and in words what is done about the alarm."""
    request_id = _request_id(place, found)
    if request_id in state.requests:
        return [], f"retrain {request_id} was asked for before"
    if state.champion not in {None, found.version}:
        return [], f"version {state.champion} has taken over, so no retrain is asked for"
    waiting = open_retrain(state, now_ms, place.open_ms)
    if waiting is not None:
        return [], f"retrain {waiting} is open already"
    request = RetrainModel(
        request_id=request_id,
        model=place.model,
        reason="DRIFT",
        caused_by=drift.drift_id,
        message=in_words(found),
        since_time_ms=found.since_time_ms,
        until=(OffsetMark(topic=place.samples_topic, partition=place.partition, offset=found.offset + 1),),
        requested_by="monitor",
        requested_at_ms=now_ms,
    )
    return [request], f"retrain {request_id} is asked for"
