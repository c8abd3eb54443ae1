"""Refused records: a page of them, and how many there are for each reason. The records themselves are in the log."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

from millrace.console.queries import pages
from millrace.console.tables import Audit, Letter
from millrace.operating.letters import REPLAYED


def letters(session: Session, topic: str, reason: str | None, cursor: str | None, limit: int) -> dict[str, Any]:
    """A page of the refused records of a topic, the newest first."""
    before = pages.decode("letters", cursor, (int, int, int))
    place = (Letter.at_ms, Letter.partition, Letter.log_offset)
    found = select(Letter).where(Letter.topic == topic).order_by(*(column.desc() for column in place)).limit(limit + 1)
    if reason:
        found = found.where(Letter.reason == reason)
    if before is not None:
        found = found.where(tuple_(*place) < tuple_(*before))
    rows = session.scalars(found).all()
    shown, following = pages.page("letters", rows, lambda row: (row.at_ms, row.partition, row.log_offset), limit)
    reasons = by_reason(session, topic)
    sent = sent_back(session, map(row_place, shown))
    return {
        "topic": topic,
        "total": reasons.get(reason, 0) if reason else sum(reasons.values()),
        "letters": [_letter(row, sent.get(row_place(row))) for row in shown],
        "reasons": reasons,
        "next": following,
    }


def by_reason(session: Session, topic: str) -> dict[str, int]:
    """How many there are of each reason, the most frequent first."""
    counted = select(Letter.reason, func.count()).where(Letter.topic == topic).group_by(Letter.reason)
    found = {str(reason): int(count) for reason, count in session.execute(counted)}
    return dict(sorted(found.items(), key=lambda one: -one[1]))


def count(session: Session, topic: str) -> int:
    """How many there are."""
    return session.scalar(select(func.count()).select_from(Letter).where(Letter.topic == topic)) or 0


def row_place(row: Letter) -> str:
    """The letter's place as one word, as the audit log names it."""
    return f"{row.topic}/{row.partition}/{row.log_offset}"


def sent_back(session: Session, places: Iterable[str]) -> dict[str, int]:
    """When each of these was sent back, by place, as the audit log says."""
    ids = {f"audit/{REPLAYED}/{place}": place for place in places}
    found = select(Audit.audit_id, Audit.at_ms).where(Audit.audit_id.in_(list(ids)))
    return {ids[audit_id]: at_ms for audit_id, at_ms in session.execute(found)}


def _letter(row: Letter, replayed_at_ms: int | None) -> dict[str, Any]:
    place = {"place": f"{row.partition}/{row.log_offset}", "at_ms": row.at_ms, "reason": row.reason}
    return {**place, **json.loads(row.body), "replayed_at_ms": replayed_at_ms}
