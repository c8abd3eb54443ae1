"""Models: all in one list, and one with what is newest of it."""

import json
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from millrace.console.decisions import Decisions
from millrace.console.queries import deployments, drifts, pages, runs, versions
from millrace.console.tables import Asked, Drift, Model, Serving, Snapshot
from services.registry.queries import NotKnownError

NEWEST = 10
OVERVIEW_MAX = 500


def models(session: Session, q: str | None, state: str | None, cursor: str | None, limit: int) -> dict[str, Any]:
    """A page of models, by name."""
    after = pages.decode("models", cursor, (str,))
    found = _filtered(select(Model), q, state).order_by(Model.model).limit(limit + 1)
    if after is not None:
        found = found.where(Model.model > after[0])
    shown, following = pages.page("models", session.scalars(found).all(), lambda row: (row.model,), limit)
    total = session.scalar(_filtered(select(func.count()).select_from(Model), q, state))
    return {"models": [json.loads(row.body) for row in shown], "total": total, "next": following}


def _filtered(query: Select[Any], q: str | None, state: str | None) -> Select[Any]:
    if q:
        query = query.where(Model.model.contains(q, autoescape=True))
    return query.where(Model.state == state) if state else query


def urgent_first(session: Session) -> list[dict[str, Any]]:
    """The models of the overview, those that need somebody first."""
    found = select(Model.body).order_by(Model.urgency, Model.model).limit(OVERVIEW_MAX)
    return [json.loads(body) for body in session.scalars(found)]


def known(session: Session, model: str) -> dict[str, Any]:
    """A model's summary. Raises ``NotKnownError``."""
    row = session.get(Model, model)
    if row is not None:
        return json.loads(row.body)  # type: ignore[no-any-return]
    names = session.scalars(select(Model.model).order_by(Model.model).limit(NEWEST)).all()
    raise NotKnownError(f"no model {model!r} is known; known are {list(names)}")


def model(session: Session, decisions: Decisions, name: str) -> dict[str, Any]:
    """One model, with what is newest of it."""
    summary = known(session, name)
    return {
        **summary,
        "serving": serving(session, name),
        "recent_versions": versions.newest(session, decisions, name, NEWEST),
        "recent_runs": runs.newest(session, name, NEWEST),
        "recent_drifts": drifts.newest(session, name, NEWEST),
        "recent_deployments": deployments.newest(session, name, NEWEST),
        "open_request": _open_request(session, name, summary),
        "data_reports": _reports(session, name, summary["stream"]),
    }


def serving(session: Session, name: str) -> list[dict[str, Any]]:
    """What each partition really serves: of each the newest epoch, and a failure that is not over."""
    found = select(Serving).where(Serving.model == name).order_by(Serving.epoch.desc()).limit(OVERVIEW_MAX)
    newest: dict[tuple[int, str], Serving] = {}
    for row in session.scalars(found):
        newest.setdefault((row.partition, row.status), row)
    shown = []
    for (partition, status), row in sorted(newest.items()):
        serves = newest.get((partition, "SERVING"))
        if status == "SERVING" or serves is None or serves.epoch < row.epoch:
            event = json.loads(row.body)
            event.pop("model")
            shown.append({**event, "first_at_ms": row.first_at_ms})
    return shown


def _open_request(session: Session, name: str, summary: dict[str, Any]) -> dict[str, Any] | None:
    """The newest request to train again, unless a run began after it."""
    newest = select(Asked).where(Asked.model == name, Asked.kind == "retrain").order_by(Asked.log_offset.desc())
    asked = session.scalars(newest.limit(1)).first()
    began = [run["began_at_ms"] for run in (summary["training"],) if run]
    last = summary["last_run"]
    ended = [last["changed_at_ms"] - round(last["duration_s"] * 1000)] if last else []
    if asked is None or any(at_ms >= asked.at_ms for at_ms in (*began, *ended)):
        return None
    event = json.loads(asked.body)
    drift = session.get(Drift, asked.caused_by) if asked.caused_by else None
    shown = {key: event[key] for key in ("request_id", "reason", "message", "requested_by", "requested_at_ms")}
    return {**shown, "drift_id": None if drift is None else drift.drift_id}


def _reports(session: Session, name: str, stream: str | None) -> list[dict[str, Any]]:
    """The snapshots of which a data report can be had."""
    if stream is None:
        return []
    newest = select(Snapshot.body).where(Snapshot.stream == stream).order_by(Snapshot.log_offset.desc()).limit(NEWEST)
    found = [json.loads(body) for body in session.scalars(newest)]
    return [
        {
            "snapshot_id": event["snapshot_id"],
            "taken_at_ms": event["taken_at_ms"],
            "rows": event["rows"],
            "url": "/api/data-report?" + urlencode({"model": name, "snapshot": event["snapshot_id"]}),
        }
        for event in found
    ]
