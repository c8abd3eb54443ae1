"""Who did what, and what came of it: a page of the audit log."""

import json
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, object_session

from millrace.console.apply import model_of
from millrace.console.queries import pages
from millrace.console.tables import Audit, Model
from millrace.contracts.events import AuditRecorded
from millrace.operating.letters import REPLAYED


def audits(
    session: Session, *, model: str | None, actor: str | None, action: str | None, outcome: str | None,
    cursor: str | None, limit: int,
) -> dict[str, Any]:  # fmt: skip
    """The newest first. Letters that were sent back one by one are shown where that is asked for."""
    wanted = {Audit.model: model, Audit.actor: actor, Audit.action: action, Audit.outcome: outcome}
    before = pages.decode("audit", cursor)

    def filtered(query: Select[Any]) -> Select[Any]:
        for column, value in wanted.items():
            if value:
                query = query.where(column == value)
        return query if action else query.where(Audit.action != REPLAYED)

    found = filtered(select(Audit)).order_by(Audit.log_offset.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Audit.log_offset < before[0])
    shown, following = pages.page("audit", session.scalars(found).all(), lambda row: (row.log_offset,), limit)
    total = session.scalar(filtered(select(func.count()).select_from(Audit)))
    return {"audits": [audit(row) for row in shown], "total": total, "next": following}


def audit(row: Audit) -> dict[str, Any]:
    """One record."""
    event: dict[str, Any] = json.loads(row.body)
    session = object_session(row)
    known = session is not None and session.get(Model, row.model) is not None
    return {**event, "model": row.model if known else model_of(AuditRecorded.model_validate(event))}
