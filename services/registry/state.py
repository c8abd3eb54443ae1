"""What the registry knows of one model: a fold of the log. Pure.

Rules:

- The state is the fold of seven topics. Between topics the order of folding does not matter; within a topic it is the
  log's. So whatever must be known of two topics together is worked out when it is asked, not when it is folded.
- A run is decided once: a second decision about it, wherever it comes from, is refused by ``evolve``.
- The epoch only grows. What ``evolve`` refuses changes nothing, and ``refusal`` says why.
- A version that was rejected or retired has *ended*. What people agreed to before that counts no more.
- Of the measurements only those of the two newest rollouts are kept: the others have been decided upon.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    RolloutMeasured,
    ServingStatusReported,
    Traffic,
    TrainingRunChanged,
    VersionStatus,
)
from services.registry.promote import CHAMPION_READABLE
from services.registry.rollout.evidence import Evidence

ACTOR = "registry"
CHAMPION = "champion"
ENDED: frozenset[str] = frozenset({"REJECTED", "RETIRED"})
ROLLOUTS_KEPT = 2
LEAP = 1_000_000  # a deployment a second for eleven days


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version and where it stands: its newest status, the space it got to, when it last ended.

    ``changes`` are the ids of all facts about it.
    """

    registered: ModelVersionChanged
    status: VersionStatus
    space: str = "development"
    ended_at_ms: int = -1
    changes: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """Its number."""
        assert self.registered.version is not None, "evolve registers none without a number"
        return self.registered.version

    @property
    def ended(self) -> bool:
        """Whether it was rejected or retired."""
        return self.status in ENDED


@dataclass(frozen=True, slots=True)
class State:
    """One model's life.

    ``pending`` are succeeded runs that nobody has decided about, oldest first; ``decided`` maps a run to the id of the
    decision; ``unreadable`` maps a run to the champion whose file it found lost. ``deployment`` is the newest one,
    ``reigns`` the champions one after another, the last one since ``champion_since_ms``. ``requests`` are all that
    people asked, ``answered`` the ids of those that have an answer, ``approvals`` who agreed to what, and when;
    ``frozen`` is the answer that froze the model. ``against`` maps a run to the champion that it was compared with.
    ``foreign`` is the newest deployment in the log that nobody with the registry's keys has written: it is not in
    force, but its epoch is used up. ``deployed`` are all epochs and versions that the registry deployed; ``served`` are
    champions that serving has put in force, ``failed`` what it could not load, by epoch and version.
    """

    model: str
    pending: Mapping[str, TrainingRunChanged] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    versions: Mapping[int, Version] = field(default_factory=dict)
    deployment: DeploymentDecided | None = None
    reigns: tuple[Traffic, ...] = ()
    champion_since_ms: int = 0
    requests: Mapping[str, ManageModel] = field(default_factory=dict)
    answered: frozenset[str] = frozenset()
    approvals: tuple[AuditRecorded, ...] = ()
    frozen: AuditRecorded | None = None
    evidence: Mapping[str, Evidence] = field(default_factory=dict)
    deployed: frozenset[tuple[int, int]] = frozenset()
    served: frozenset[int] = frozenset()
    failed: Mapping[tuple[int, int], ServingStatusReported] = field(default_factory=dict)
    newest_ms: int = 0
    foreign: DeploymentDecided | None = None
    against: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        """Greatest epoch in the log; 0 before the first deployment. One that leaps ahead is not counted."""
        known = 0 if self.deployment is None else self.deployment.epoch
        return max(known, self.foreign.epoch) if self.foreign and self.foreign.epoch <= known + LEAP else known

    @property
    def is_usurped(self) -> bool:
        """Whether a deployment that is not this registry's has taken the newest epoch, or the same one."""
        known = 0 if self.deployment is None else self.deployment.epoch
        foreign = -1 if self.foreign is None or self.deployment is None else self.foreign.epoch
        return known <= foreign <= known + LEAP

    @property
    def champion(self) -> int | None:
        """Number of the version that the newest deployment makes champion."""
        return None if self.in_force is None else self.in_force.version

    @property
    def in_force(self) -> Traffic | None:
        """The champion's part of the newest deployment."""
        return None if self.deployment is None else _champion_of(self.deployment)

    @property
    def tried(self) -> tuple[Traffic, ...]:
        """The other parts of the newest deployment: what is being rolled out."""
        traffic = () if self.deployment is None else self.deployment.traffic
        return tuple(part for part in traffic if part.variant != CHAMPION)

    @property
    def rollout_id(self) -> str | None:
        """The rollout under way."""
        return None if self.deployment is None else self.deployment.rollout_id

    @property
    def request(self) -> ManageModel | None:
        """The oldest request without an answer."""
        return next((asked for request_id, asked in self.requests.items() if request_id not in self.answered), None)

    @property
    def broken(self) -> frozenset[int]:
        """Versions that serving could not load, and never had in force as champion.

        Only what the registry deployed counts: a forged deployment may name a version that is yet to come.
        """
        return frozenset(place[1] for place in self.failed if place in self.deployed) - self.served

    def measured(self) -> Evidence:
        """What was measured of the rollout under way."""
        return self.evidence.get(self.rollout_id or "", Evidence())


def _champion_of(deployment: DeploymentDecided) -> Traffic | None:
    return next((part for part in deployment.traffic if part.variant == CHAMPION), None)


def refusal(state: State, event: Event) -> str | None:
    """Why ``evolve`` will not apply this event of the model; None if it will, or if it says nothing about the state."""
    match event:
        case DeploymentDecided() if event.model == state.model and event.epoch <= state.epoch:
            return f"{event.deployment_id} has epoch {event.epoch}, but epoch {state.epoch} is known; epochs only grow"
        case ModelVersionChanged() if event.model == state.model:
            return _change_refusal(state, event)
        case _:
            return None


def _change_refusal(state: State, change: ModelVersionChanged) -> str | None:
    decides = change.status == "REGISTERED" or (change.status == "REJECTED" and change.version is None)
    if decides and change.run_id in state.decided:
        return f"{change.change_id} decides about run {change.run_id}, but {state.decided[change.run_id]} did already"
    if change.version is None:
        return None if change.status == "REJECTED" else f"{change.change_id} is {change.status} without a version"
    if (change.status == "REGISTERED") == (change.version in state.versions):
        known = "is known already" if change.version in state.versions else "was never registered"
        return f"{change.change_id} is {change.status}, but version {change.version} {known}"
    if change.version in state.versions and change.change_id in state.versions[change.version].changes:
        return f"{change.change_id} is known already; a repetition changes nothing"
    return None


def usurped(state: State, deployment: DeploymentDecided) -> State:
    """The state after a deployment that somebody else has written."""
    newer = state.foreign is None or deployment.epoch > state.foreign.epoch
    return replace(state, foreign=deployment) if newer and deployment.model == state.model else state


def evolve(state: State, event: Event) -> State:  # noqa: PLR0911  # one for each kind of event
    """The state after this event. Events of other models, of no interest, or refused leave it as it is."""
    if getattr(event, "model", None) != state.model or refusal(state, event) is not None:
        return state
    match event:
        case TrainingRunChanged(status="SUCCEEDED", progress=None):
            return _succeeded(state, event)
        case ModelVersionChanged():
            return _changed(state, event)
        case DeploymentDecided():
            return _deployed(state, event)
        case ManageModel() if event.request_id not in state.requests:
            return replace(state, requests={**state.requests, event.request_id: event})
        case AuditRecorded():
            return _audited(state, event)
        case RolloutMeasured():
            return _measured(state, event)
        case ServingStatusReported():
            return _reported(state, event)
        case _:
            return state


def _succeeded(state: State, run: TrainingRunChanged) -> State:
    lost = any(check.name == CHAMPION_READABLE and not check.passed for check in run.checks)
    if lost and run.champion_version is not None and run.run_id not in state.unreadable:
        state = replace(state, unreadable={**state.unreadable, run.run_id: run.champion_version})
    if run.run_id not in state.against:
        state = replace(state, against={**state.against, run.run_id: run.champion_version})
    if run.run_id in state.decided or run.run_id in state.pending:
        return state
    return replace(state, pending={**state.pending, run.run_id: run})


def _changed(state: State, change: ModelVersionChanged) -> State:
    state = replace(state, newest_ms=max(state.newest_ms, change.changed_at_ms))
    if change.version is not None:
        state = replace(state, versions={**state.versions, change.version: _version(state, change.version, change)})
        if change.status != "REGISTERED":
            return state
    pending = {run_id: run for run_id, run in state.pending.items() if run_id != change.run_id}
    return replace(state, pending=pending, decided={**state.decided, change.run_id: change.change_id})


def _version(state: State, number: int, change: ModelVersionChanged) -> Version:
    if change.status == "REGISTERED":  # whatever space an old record says: it is where every version begins
        return Version(change, change.status, changes=(change.change_id,))
    known = state.versions[number]
    known = replace(known, status=change.status, changes=(*known.changes, change.change_id))
    if change.status in ENDED:
        return replace(known, ended_at_ms=max(known.ended_at_ms, change.changed_at_ms))
    return replace(known, space=change.space)


def _deployed(state: State, deployment: DeploymentDecided) -> State:
    champion, reigns, since_ms = _champion_of(deployment), state.reigns, state.champion_since_ms
    if champion is not None and (not reigns or reigns[-1].version != champion.version):
        reigns, since_ms = (*reigns, champion), deployment.decided_at_ms
    newest_ms = max(state.newest_ms, deployment.decided_at_ms)
    deployed = state.deployed | {(deployment.epoch, part.version) for part in deployment.traffic}
    return replace(
        state, deployment=deployment, reigns=reigns, champion_since_ms=since_ms, newest_ms=newest_ms, deployed=deployed
    )


def _audited(state: State, audit: AuditRecorded) -> State:
    if audit.caused_by is None or audit.caused_by in state.answered:
        return state
    newest_ms = max(state.newest_ms, audit.recorded_at_ms)
    state = replace(state, answered=state.answered | {audit.caused_by}, newest_ms=newest_ms)
    if audit.outcome != "ACCEPTED" or audit.actor == ACTOR:
        return state
    match audit.action:
        case "approve" | "promote":
            return replace(state, approvals=(*state.approvals, audit))
        case "freeze" | "kill":
            return replace(state, frozen=audit)
        case "unfreeze":
            return replace(state, frozen=None)
        case _:
            return state


def _measured(state: State, event: RolloutMeasured) -> State:
    kept = dict(state.evidence)
    kept[event.rollout_id] = kept.get(event.rollout_id, Evidence()).add(event)
    for rollout_id in [known for known in kept if known != state.rollout_id][: max(0, len(kept) - ROLLOUTS_KEPT)]:
        del kept[rollout_id]
    return replace(state, evidence=kept)


def _reported(state: State, report: ServingStatusReported) -> State:
    if report.status == "SERVING":
        return state if report.version in state.served else replace(state, served=state.served | {report.version})
    place = (report.epoch, report.version)
    return state if place in state.failed else replace(state, failed={**state.failed, place: report})
