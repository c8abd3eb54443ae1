"""What the registry knows, and what it decides. Pure.

Rules:

- The state is the fold of ``model-versions``, ``deployments`` and ``training-runs`` for one model. Between topics the
  order of folding does not matter; within a topic it is the log's.
- A run is decided once: a second decision about it, wherever it comes from, is refused by ``evolve``.
- The epoch only grows. What ``evolve`` refuses changes nothing, and ``refusal`` says why.
- Ids are derived from what they name, so that a repeated decision is recognisable as the same one.
- What follows from a decision is one tuple of events, to be written together or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    AlertRaised,
    AuditRecorded,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    Traffic,
    TrainingRunChanged,
    VersionStatus,
)
from millrace.contracts.sections import Gates
from services.registry.promote import Verdict, judge

ACTOR = "registry"
CHAMPION = "champion"


@dataclass(frozen=True, slots=True)
class Version:
    """A registered version and where it stands."""

    registered: ModelVersionChanged
    status: VersionStatus


@dataclass(frozen=True, slots=True)
class State:
    """One model's life.

    ``pending`` are succeeded runs that nobody has decided about, oldest first; ``decided`` maps a run to the id of the
    decision; ``deployment`` is the newest one.
    """

    model: str
    pending: Mapping[str, TrainingRunChanged] = field(default_factory=dict)
    decided: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[int, Version] = field(default_factory=dict)
    deployment: DeploymentDecided | None = None

    @property
    def epoch(self) -> int:
        """Epoch of the newest deployment; 0 before the first."""
        return 0 if self.deployment is None else self.deployment.epoch

    @property
    def champion(self) -> int | None:
        """Number of the version that the newest deployment makes champion."""
        return None if self.in_force is None else self.in_force.version

    @property
    def in_force(self) -> Traffic | None:
        """The champion's part of the newest deployment."""
        traffic = () if self.deployment is None else self.deployment.traffic
        return next((part for part in traffic if part.variant == CHAMPION), None)


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
    if change.status in {"REGISTERED", "REJECTED"} and change.run_id in state.decided:
        return f"{change.change_id} decides about run {change.run_id}, but {state.decided[change.run_id]} did already"
    if change.status == "REJECTED":
        return None
    if change.version is None:
        return f"{change.change_id} is {change.status} without a version"
    if (change.status == "REGISTERED") == (change.version in state.versions):
        known = "is known already" if change.version in state.versions else "was never registered"
        return f"{change.change_id} is {change.status}, but version {change.version} {known}"
    return None


def evolve(state: State, event: Event) -> State:
    """The state after this event. Events of other models, of no interest, or refused leave it as it is."""
    if refusal(state, event) is not None:
        return state
    match event:
        case TrainingRunChanged(status="SUCCEEDED") if event.model == state.model:
            if event.run_id in state.decided or event.run_id in state.pending:
                return state
            return replace(state, pending={**state.pending, event.run_id: event})
        case ModelVersionChanged() if event.model == state.model:
            return _changed(state, event)
        case DeploymentDecided() if event.model == state.model:
            return replace(state, deployment=event)
        case _:
            return state


def _changed(state: State, change: ModelVersionChanged) -> State:
    versions = state.versions
    if change.version is not None and change.status != "REJECTED":
        first = change if change.status == "REGISTERED" else versions[change.version].registered
        versions = {**versions, change.version: Version(first, change.status)}
    if change.status not in {"REGISTERED", "REJECTED"}:
        return replace(state, versions=versions)
    pending = {run_id: run for run_id, run in state.pending.items() if run_id != change.run_id}
    return replace(
        state, versions=versions, pending=pending, decided={**state.decided, change.run_id: change.change_id}
    )


def decide(
    state: State, run: TrainingRunChanged, gates: Gates, artifact_fault: str | None, now_ms: int
) -> tuple[Event, ...]:
    """What to write about a run, all in one transaction; nothing if it is not waiting for a decision.

    Args:
        state: what is known.
        run: one of ``state.pending``.
        gates: what the model project asks for.
        artifact_fault: what is wrong with the run's artefact in the store, in words; None if it is whole.
        now_ms: wall time. Should it have gone back, the times of the decisions still do not.
    """
    if run.run_id not in state.pending:
        return ()
    features = None if state.in_force is None else state.in_force.feature_set
    verdict = judge(run, gates, state.champion, features)
    if run.artifact_sha256 is None:
        artifact_fault = "the run names no artefact"
    if state.deployment is not None:
        now_ms = max(now_ms, state.deployment.decided_at_ms)
    if verdict.admitted and artifact_fault is None:
        return _admitted(state, run, verdict, now_ms)
    faults = (*(() if verdict.admitted else verdict.reasons), *(() if artifact_fault is None else (artifact_fault,)))
    rejected = _change(run, None, "REJECTED", faults, caused_by=run.run_id, now_ms=now_ms)
    if artifact_fault is None:
        return (rejected,)
    return rejected, _artifact_alert(run, artifact_fault, now_ms)


def _admitted(state: State, run: TrainingRunChanged, verdict: Verdict, now_ms: int) -> tuple[Event, ...]:
    version = max(state.versions, default=0) + 1
    registered = _change(run, version, "REGISTERED", verdict.reasons, caused_by=run.run_id, now_ms=now_ms)
    promoted = _change(run, version, "PROMOTED", verdict.reasons, caused_by=registered.change_id, now_ms=now_ms)
    retired = _retired(state, version, promoted, now_ms)
    deployed = _deployed(state, promoted, version, "; ".join(verdict.reasons), now_ms)
    audited = AuditRecorded(
        audit_id=f"audit/{deployed.deployment_id}",
        actor=ACTOR,
        action="deploy",
        subject=f"{run.model} version {version}",
        reason=deployed.reason,
        caused_by=deployed.deployment_id,
        recorded_at_ms=now_ms,
    )
    return registered, promoted, *retired, deployed, audited


def _change(
    run: TrainingRunChanged,
    version: int | None,
    status: VersionStatus,
    reasons: tuple[str, ...],
    *,
    caused_by: str,
    now_ms: int,
) -> ModelVersionChanged:
    return ModelVersionChanged(
        change_id=f"version/{run.model}/{run.run_id if version is None else version}/{status}",
        model=run.model,
        version=version,
        status=status,
        run_id=run.run_id,
        artifact_sha256=run.artifact_sha256,
        feature_set=run.feature_set,
        metrics=run.metrics,
        reasons=reasons,
        caused_by=caused_by,
        changed_at_ms=now_ms,
    )


def _retired(state: State, version: int, promoted: ModelVersionChanged, now_ms: int) -> tuple[ModelVersionChanged, ...]:
    """The old champion's end, if there was one."""
    old = None if state.champion is None else state.versions.get(state.champion)
    if old is None:
        return ()
    change = {
        "change_id": f"version/{state.model}/{old.registered.version}/RETIRED",
        "status": "RETIRED",
        "reasons": (f"replaced by version {version}",),
        "caused_by": promoted.change_id,
        "changed_at_ms": now_ms,
    }
    return (old.registered.model_copy(update=change),)


def _deployed(state: State, promoted: ModelVersionChanged, version: int, reason: str, now_ms: int) -> DeploymentDecided:
    assert promoted.artifact_sha256 is not None, "a run without an artefact is rejected"
    epoch = state.epoch + 1
    champion = Traffic(
        variant=CHAMPION,
        version=version,
        share=1.0,
        artifact_sha256=promoted.artifact_sha256,
        feature_set=promoted.feature_set,
    )
    return DeploymentDecided(
        deployment_id=f"deployment/{state.model}/{epoch}",
        model=state.model,
        epoch=epoch,
        traffic=(champion,),
        scoring_since_ms=now_ms if state.deployment is None else state.deployment.scoring_since_ms,
        caused_by=promoted.change_id,
        reason=reason,
        decided_by=ACTOR,
        decided_at_ms=now_ms,
    )


def _artifact_alert(run: TrainingRunChanged, fault: str, now_ms: int) -> AlertRaised:
    return AlertRaised(
        alert_id=f"alert/artifact-refused/{run.run_id}",
        service=ACTOR,
        severity="WARNING",
        reason="artifact-refused",
        subject=run.model,
        message=f"run {run.run_id} is rejected: {fault}; the last good version keeps serving, train again",
        raised_at_ms=now_ms,
    )
