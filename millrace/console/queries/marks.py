"""What happened to a model, each with its time and one line, for its timeline."""

import heapq
import json
from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.console.tables import (
    Alert,
    Asked,
    Audit,
    Change,
    Deployment,
    Drift,
    Quality,
    Run,
)
from millrace.console.telling import page

SHOWN = 500
READ = 500  # of each kind
Mark = dict[str, Any]
ACTIONS = ("approve", "reject", "freeze", "unfreeze", "kill", "retire", "abort")


def marks(session: Session, model: str) -> list[Mark]:
    """The newest marks of every kind, by wall time."""
    parts = [read(session, model) for read in READERS]
    return sorted(heapq.nlargest(len(READERS) * READ, (mark for part in parts for mark in part), key=_wall), key=_wall)


def _wall(mark: Mark) -> int:
    return int(mark["wall_ms"])


def mark(kind: str, identity: str, wall_ms: int, title: str, **more: Any) -> Mark:
    """One of them; what is not said is nothing."""
    nothing = {"event_ms": None, "until_ms": None, "text": "", "severity": "INFO", "version": None, "href": None}
    return {"kind": kind, "id": identity, "wall_ms": wall_ms, "title": title, **nothing, **more}


def _drifts(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Drift.body).where(Drift.model == model).order_by(Drift.log_offset.desc()).limit(READ)
    for body in session.scalars(newest):
        event = json.loads(body)
        yield mark(
            "drift", event["drift_id"], event["detected_at_ms"], f"drift of {event['subject']}",
            event_ms=event["time_ms"], version=event["version"], severity=event["severity"],
            text=event["message"] or f"{event['detector']}: {event['before']:.4g} to {event['after']:.4g}",
            href=page("models", model, "drifts", event["drift_id"]),
        )  # fmt: skip


def _runs(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Run).where(Run.model == model).order_by(Run.number.desc()).limit(READ)
    severity = {"SUCCEEDED": "GOOD", "FAILED": "ALARM"}
    for run in session.scalars(newest):
        event = json.loads(run.body)
        ended = run.status != "STARTED"
        yield mark(
            "run", run.run_id, run.began_at_ms, f"training {run.status.lower()}",
            text=event["error"] or event["because"],
            until_ms=run.changed_at_ms if ended else None, severity=severity.get(run.status, "INFO"),
            href=page("models", model, "runs", run.run_id),
        )  # fmt: skip


def _versions(session: Session, model: str) -> Iterator[Mark]:
    decided = Change.status.in_(("REGISTERED", "REJECTED"))
    newest = select(Change.body).where(Change.model == model, decided).order_by(Change.log_offset.desc()).limit(READ)
    for body in session.scalars(newest):
        event = json.loads(body)
        what = "a run" if event["version"] is None else f"version {event['version']}"
        good = event["status"] == "REGISTERED"
        yield mark(
            "version", event["change_id"], event["changed_at_ms"], f"{what} {event['status'].lower()}",
            text="; ".join(event["reasons"]), severity="GOOD" if good else "WARNING", version=event["version"],
            href=page("models", model, "versions"),
        )  # fmt: skip


def _deployments(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Deployment).where(Deployment.model == model).order_by(Deployment.epoch.desc()).limit(READ)
    back = {"ROLLED_BACK", "ABORTED", "RESTORED"}
    for row in session.scalars(newest):
        event = json.loads(row.body)
        parts = ", ".join(f"version {part['version']} {part['share']:.0%}" for part in event["traffic"])
        yield mark(
            "deployment", event["deployment_id"], row.at_ms, f"{event['kind'].lower().replace('_', ' ')}: {parts}",
            text=event["reason"], severity="WARNING" if event["kind"] in back else "GOOD", version=row.champion,
            href=page("models", model),
        )  # fmt: skip


def _requests(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Asked).where(Asked.model == model, Asked.kind == "retrain").order_by(Asked.log_offset.desc())
    for row in session.scalars(newest.limit(READ)):
        event = json.loads(row.body)
        yield mark(
            "request", row.request_id, row.at_ms, f"retrain asked for by {event['requested_by']}", text=event["message"]
        )


def _quality(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Quality).where(Quality.model == model).order_by(Quality.log_offset.desc()).limit(READ)
    for row in session.scalars(newest):
        event = json.loads(row.body)
        yield mark(
            "quality", row.judgement_id, row.at_ms, f"data: {event['check']} of {event['subject']}",
            text=event["message"], severity=event["severity"],
        )  # fmt: skip


def _actions(session: Session, model: str) -> Iterator[Mark]:
    wanted = (Audit.model == model, Audit.action.in_(ACTIONS))
    for row in session.scalars(select(Audit).where(*wanted).order_by(Audit.log_offset.desc()).limit(READ)):
        event = json.loads(row.body)
        yield mark(
            "action", row.audit_id, row.at_ms, f"{row.actor}: {row.action} {row.outcome.lower()}", text=event["reason"],
            version=event["version"], severity="WARNING" if row.outcome == "REFUSED" else "INFO", href="/audit",
        )  # fmt: skip


def _alerts(session: Session, model: str) -> Iterator[Mark]:
    newest = select(Alert.body).where(Alert.model == model).order_by(Alert.log_offset.desc()).limit(READ)
    for body in session.scalars(newest):
        event = json.loads(body)
        yield mark(
            "alert", event["alert_id"], event["raised_at_ms"], f"alert: {event['reason']}", text=event["message"],
            severity="ALARM" if event["severity"] == "CRITICAL" else "WARNING", href="/alerts",
        )  # fmt: skip


READERS: tuple[Callable[[Session, str], Iterator[Mark]], ...] = (
    _drifts, _runs, _versions, _deployments, _requests, _quality, _actions, _alerts,
)  # fmt: skip
