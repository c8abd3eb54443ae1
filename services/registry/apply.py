"""What each event does to the projection's tables. It mirrors ``state.evolve``: what that refuses changes nothing here.

Rules:

- A deployment whose epoch does not grow, a second decision about a run, a status of a version that was never
  registered, a repeated one: none of these leaves a trace.
- An audit record, a request to the registry or to the trainer counts once, by its id; the first one stands.
- Of a rollout's measurements the one that reaches farthest stands, for each epoch and partition.
- Each table is filled from one topic, so the order in which topics are read makes no difference.
"""

from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from millrace.contracts.events import (
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    RetrainModel,
    RolloutMeasured,
    ServingStatusReported,
    TrainingRunChanged,
)
from services.registry.history import ENDED, about
from services.registry.tables import Audit, Change, Deployment, Evidence, Request, Retrain, Run, Serving, Version

BEGINNING = "development"  # where every version begins, whatever space an old record says


def apply(session: Session, offset: int, event: Event) -> None:
    """Take in one event. The caller flushes before the next one, so that this one is seen."""
    match event:
        case TrainingRunChanged():
            _run(session, offset, event)
        case ModelVersionChanged():
            _change(session, offset, event)
        case DeploymentDecided():
            _deployment(session, offset, event)
        case ServingStatusReported():
            _serving(session, event)
        case AuditRecorded():
            _audit(session, offset, event)
        case RolloutMeasured():
            _evidence(session, offset, event)
        case ManageModel():
            _once(session, event.request_id, Request(log_offset=offset, **event.model_dump()))
        case RetrainModel():
            _retrain(session, offset, event)
        case _:
            raise TypeError(f"{type(event).__name__} is none of the registry's tables")


def _run(session: Session, offset: int, event: TrainingRunChanged) -> None:
    known = session.get(Run, (event.model, event.run_id))
    if known is not None and known.status == "SUCCEEDED":
        return
    fields = event.model_dump(exclude={"artifact_bytes", "progress"})
    listed = {name: list(fields[name]) for name in ("checks", "ranges", "excluded")}
    session.merge(Run(log_offset=offset, **{**fields, **listed, "params": dict(event.params)}))


def _change(session: Session, offset: int, event: ModelVersionChanged) -> None:
    known = None if event.version is None else session.get(Version, (event.model, event.version))
    registers = event.status == "REGISTERED"
    if (registers or event.version is None) and _is_decided(session, event):
        return
    if event.version is None and event.status != "REJECTED":
        return
    if event.version is not None and (registers == (known is not None) or _is_repeated(session, event)):
        return
    fields = {**event.model_dump(), "reasons": list(event.reasons), "approved_by": list(event.approved_by)}
    session.add(Change(log_offset=offset, **fields))
    if registers:
        kept = {name: value for name, value in fields.items() if name not in {"change_id", "caused_by", "space"}}
        session.add(Version(registered_at_ms=event.changed_at_ms, space=BEGINNING, **kept))
    elif known is not None:
        known.status, known.changed_at_ms, known.approved_by = event.status, event.changed_at_ms, fields["approved_by"]
        if event.status not in ENDED:  # an end is about no space and signs nothing
            known.signature, known.key_id, known.space = event.signature, event.key_id, event.space


def _is_decided(session: Session, event: ModelVersionChanged) -> bool:
    """Whether the run was registered or rejected before."""
    decides = or_(Change.status == "REGISTERED", Change.version.is_(None))
    found = select(Change.change_id).where(Change.model == event.model, Change.run_id == event.run_id, decides)
    return session.scalars(found).first() is not None


def _is_repeated(session: Session, event: ModelVersionChanged) -> bool:
    of_it = (Change.model == event.model, Change.version == event.version, Change.change_id == event.change_id)
    return session.scalars(select(Change.change_id).where(*of_it)).first() is not None


def _deployment(session: Session, offset: int, event: DeploymentDecided) -> None:
    known = session.scalar(select(func.max(Deployment.epoch)).where(Deployment.model == event.model))
    if known is None or event.epoch > known:
        traffic = [part.model_dump() for part in event.traffic]
        session.add(Deployment(log_offset=offset, **{**event.model_dump(), "traffic": traffic}))


def _serving(session: Session, event: ServingStatusReported) -> None:
    fields = event.model_dump()
    known = session.get(Serving, (event.model, event.partition, event.epoch, event.status))
    if known is None:
        session.add(Serving(first_at_ms=event.reported_at_ms, **fields))
        return
    known.version, known.process, known.reason = event.version, event.process, event.reason
    known.from_offset = min(known.from_offset, event.from_offset)
    known.reported_at_ms = event.reported_at_ms


def _audit(session: Session, offset: int, event: AuditRecorded) -> None:
    _once(session, event.audit_id, Audit(log_offset=offset, about=about(event) or "", **event.model_dump()))


def _retrain(session: Session, offset: int, event: RetrainModel) -> None:
    names = {"request_id", "model", "reason", "caused_by", "message", "requested_by", "requested_at_ms"}
    _once(session, event.request_id, Retrain(log_offset=offset, **event.model_dump(include=names)))


def _evidence(session: Session, offset: int, event: RolloutMeasured) -> None:
    known = session.get(Evidence, (event.model, event.rollout_id, event.epoch, event.partition))
    if known is not None and known.until_offset > event.until_offset:
        return
    fields: dict[str, Any] = event.model_dump()
    listed = {name: list(fields[name]) for name in ("arms", "pairs")}
    session.merge(Evidence(log_offset=offset, **{**fields, **listed}))


def _once(session: Session, key: str, row: Audit | Request | Retrain) -> None:
    if session.get(type(row), key) is None:
        session.add(row)
