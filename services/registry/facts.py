"""The events that the registry writes, built from what it knows. Pure.

Ids are derived from what they name, so that a repeated decision is recognisable as the same one: model, version, status
and the space where it is not production; a status that a version gets again (a champion that came back and was retired
once more) is counted. Nothing here is signed: see ``keys.py``.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from millrace.contracts.events import (
    AlertRaised,
    AuditRecorded,
    DeploymentDecided,
    Event,
    ModelVersionChanged,
    Traffic,
    VersionStatus,
)
from millrace.contracts.gates_policy import Gates
from millrace.contracts.project import Project
from millrace.contracts.rollout_policy import Rollout, Spaces
from services.registry.state import ACTOR, CHAMPION, State, Version, evolve

DEVELOPMENT, TEST, PRODUCTION = "development", "test", "production"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the model project says about gates, rollouts and spaces."""

    gates: Gates
    rollout: Rollout = field(default_factory=Rollout)
    spaces: Spaces = field(default_factory=Spaces)
    signs: bool = False  # whether what is deployed is signed when it is written

    @classmethod
    def of(cls, project: Project) -> "Policy":
        """The project's."""
        return cls(project.gates, project.rollout, project.spaces)


@dataclass(frozen=True, slots=True)
class Draft:
    """A decision in the making: the events so far, and the state as it will be once they are written.

    All that is decided at one time has one time, ``now_ms``.
    """

    state: State
    now_ms: int
    events: tuple[Event, ...] = ()

    def add(self, *events: Event) -> "Draft":
        """With these events as well."""
        state = self.state
        for event in events:
            state = evolve(state, event)
        return replace(self, state=state, events=(*self.events, *events))


def begin(state: State, now_ms: int) -> Draft:
    """An empty draft. Should wall time have gone back, the times of decisions still do not."""
    return Draft(state, max(now_ms, state.newest_ms))


def change(
    draft: Draft,
    version: Version,
    status: VersionStatus,
    reasons: Iterable[str],
    *,
    space: str,
    caused_by: str,
    approved_by: Iterable[str] = (),
) -> ModelVersionChanged:
    """A further fact in the life of a version."""
    named = f"version/{draft.state.model}/{version.number}/{status}"
    named = f"{named}/{space}" if status == "PROMOTED" and space != PRODUCTION else named
    changes, again = draft.state.versions[version.number].changes, 2
    change_id = named
    while change_id in changes:
        change_id, again = f"{named}/{again}", again + 1
    said = {
        "change_id": change_id,
        "status": status,
        "reasons": tuple(reasons),
        "caused_by": caused_by,
        "changed_at_ms": draft.now_ms,
        "space": space,
        "approved_by": tuple(approved_by),
        "signature": None,
        "key_id": None,
    }
    return version.registered.model_copy(update=said)


def part(version: Version, variant: str = CHAMPION, share: float = 1.0, mode: str = "LIVE") -> Traffic:
    """The part of a version in a deployment."""
    registered = version.registered
    assert registered.artifact_sha256 is not None, "a run without an artefact is rejected"
    return Traffic(
        variant=variant,
        version=version.number,
        share=share,
        artifact_sha256=registered.artifact_sha256,
        feature_set=registered.feature_set,
        mode=mode,
        golden_sha256=registered.golden_sha256,
    )


def deployment(
    draft: Draft,
    traffic: tuple[Traffic, ...],
    kind: str,
    reason: str,
    *,
    caused_by: str,
    decided_by: str = ACTOR,
    strategy: str = "immediate",
    **more: object,
) -> DeploymentDecided:
    """The next deployment; ``more`` are fields that only a rollout has."""
    state = draft.state
    epoch = state.epoch + 1
    decided = DeploymentDecided(
        deployment_id=f"deployment/{state.model}/{epoch}",
        model=state.model,
        epoch=epoch,
        traffic=traffic,
        scoring_since_ms=draft.now_ms if state.deployment is None else state.deployment.scoring_since_ms,
        caused_by=caused_by,
        reason=reason,
        decided_by=decided_by,
        decided_at_ms=draft.now_ms,
        kind=kind,
        strategy=strategy,
    )
    return decided.model_copy(update=more)


def audit(decided: DeploymentDecided, action: str, version: int) -> AuditRecorded:
    """That a deployment was decided without anybody asking for it."""
    return AuditRecorded(
        audit_id=f"audit/{decided.deployment_id}",
        actor=ACTOR,
        action=action,
        subject=f"{decided.model} version {version}",
        reason=decided.reason,
        caused_by=decided.deployment_id,
        recorded_at_ms=decided.decided_at_ms,
        model=decided.model,
        version=version,
        epoch=decided.epoch,
        space=PRODUCTION,
    )


def alert(draft: Draft, reason: str, place: str, message: str) -> AlertRaised:
    """Something that an operator should look at."""
    return AlertRaised(
        alert_id=f"alert/{reason}/{place}",
        service=ACTOR,
        severity="WARNING",
        reason=reason,
        subject=draft.state.model,
        message=message,
        raised_at_ms=draft.now_ms,
    )
