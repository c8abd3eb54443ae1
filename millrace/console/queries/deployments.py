"""Deployments, newest first."""

import json
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.console.queries import pages
from millrace.console.summary import traffic
from millrace.console.tables import Deployment

SHOWN = (
    "deployment_id", "epoch", "kind", "strategy", "step", "rollout_id", "reason", "decided_by", "caused_by",
    "decided_at_ms", "space", "evidence_id",
)  # fmt: skip


def deployment(row: Deployment) -> dict[str, Any]:
    """One of them."""
    event = json.loads(row.body)
    return {**{name: event[name] for name in SHOWN}, "traffic": [traffic(part) for part in event["traffic"]]}


def newest(session: Session, model: str, limit: int) -> list[dict[str, Any]]:
    """The newest of a model."""
    found = select(Deployment).where(Deployment.model == model).order_by(Deployment.epoch.desc()).limit(limit)
    return [deployment(row) for row in session.scalars(found)]


def deployments(session: Session, model: str, cursor: str | None, limit: int) -> dict[str, Any]:
    """A page of them."""
    before = pages.decode("deployments", cursor)
    found = select(Deployment).where(Deployment.model == model).order_by(Deployment.epoch.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Deployment.epoch < before[0])
    shown, following = pages.page("deployments", session.scalars(found).all(), lambda row: (row.epoch,), limit)
    return {"model": model, "deployments": [deployment(row) for row in shown], "next": following}
