"""Training runs: a page of them, and everything about one."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from millrace.console.queries import pages
from millrace.console.summary import progress
from millrace.console.tables import Asked, Change, Drift, Run, Stage
from millrace.console.telling import page
from services.registry.queries import NotKnownError

STAGES = 500
LINE = (
    "because", "caused_by", "train_rows", "holdout_rows", "metrics", "champion_version", "champion_metrics", "family",
    "window", "backend", "duration_s", "error",
)  # fmt: skip
DETAIL = (
    "checks", "baselines", "params", "ranges", "excluded", "snapshot_id", "table_version", "rows_sha256", "seed",
    "code_hash", "config_hash", "lock_hash", "feature_set", "artifact_sha256", "artifact_bytes", "record_sha256",
    "golden_sha256", "source", "expectations_id",
)  # fmt: skip


def runs(
    session: Session, model: str | None, status: str | None, trigger: str | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    """A page of runs, those that began last first."""
    before = pages.decode("runs", cursor)
    found = _filtered(select(Run), model, status, trigger).order_by(Run.number.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Run.number < before[0])
    shown, following = pages.page("runs", session.scalars(found).all(), lambda run: (run.number,), limit)
    total = session.scalar(_filtered(select(func.count()).select_from(Run), model, status, trigger))
    return {"runs": lines(session, shown), "total": total, "next": following}


def _filtered(query: Select[Any], model: str | None, status: str | None, trigger: str | None) -> Select[Any]:
    for column, wanted in ((Run.model, model), (Run.status, status), (Run.trigger, trigger)):
        if wanted:
            query = query.where(column == wanted)
    return query


def newest(session: Session, model: str, limit: int) -> list[dict[str, Any]]:
    """The newest runs of a model."""
    found = select(Run).where(Run.model == model).order_by(Run.number.desc()).limit(limit)
    return lines(session, session.scalars(found).all())


def lines(session: Session, found: Iterable[Run]) -> list[dict[str, Any]]:
    """Runs as lines of a list."""
    shown = list(found)
    ids = [run.run_id for run in shown]
    decided = select(Change).where(Change.run_id.in_(ids), Change.status.in_(("REGISTERED", "REJECTED")))
    verdicts: dict[tuple[str, str], Change] = {}
    for change in session.scalars(decided.order_by(Change.log_offset)) if ids else ():
        verdicts.setdefault((change.model, change.run_id), change)
    return [line(run, verdicts.get((run.model, run.run_id))) for run in shown]


def line(run: Run, verdict: Change | None) -> dict[str, Any]:
    """One of them."""
    body = json.loads(run.body)
    checks = body["checks"]
    passed = sum(check["passed"] for check in checks)
    return {
        "model": run.model,
        "run_id": run.run_id,
        "status": run.status,
        "trigger": run.trigger,
        **{name: body[name] for name in LINE},
        "began_at_ms": run.began_at_ms,
        "changed_at_ms": run.changed_at_ms,
        "checks_passed": passed,
        "checks_failed": len(checks) - passed,
        "progress": progress(run.progress) if run.status == "STARTED" else None,
        "version": None if verdict is None else verdict.version,
        "verdict": None if verdict is None else verdict.status,
    }


def run(session: Session, model: str, run_id: str) -> dict[str, Any]:
    """Everything about one run, but its record, which is in the artefact store."""
    found = session.get(Run, (model, run_id))
    if found is None:
        raise NotKnownError(f"no run {run_id!r} of model {model!r} is known")
    [shown] = lines(session, [found])
    body = json.loads(found.body)
    stages = _stages(session, model, run_id)
    return {
        **shown,
        **{name: body[name] for name in DETAIL},
        "stages": stages,
        "losses": losses(stages),
        "decision": _decision(session, model, run_id),
        "cause": cause(session, model, found.trigger, found.caused_by, body["because"]),
    }


def _stages(session: Session, model: str, run_id: str) -> list[dict[str, Any]]:
    newest_first = (
        select(Stage)
        .where(Stage.model == model, Stage.run_id == run_id)
        .order_by(Stage.log_offset.desc())
        .limit(STAGES)
    )
    return [{**json.loads(stage.body), "at_ms": stage.at_ms} for stage in reversed(session.scalars(newest_first).all())]


def losses(stages: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was measured while the run worked, a curve for each stage and name.

    >>> losses([{"stage": "fit", "step": 1, "values": {"loss": 0.5}}])
    [{'name': 'fit: loss', 'points': [{'step': 1, 'value': 0.5}]}]
    """
    curves: dict[str, list[dict[str, Any]]] = {}
    for stage in stages:
        for name, value in stage["values"].items():
            points = curves.setdefault(f"{stage['stage']}: {name}", [])
            points.append({"step": stage["step"], "value": value})
    return [{"name": name, "points": points} for name, points in curves.items()]


def _decision(session: Session, model: str, run_id: str) -> dict[str, Any] | None:
    found = select(Change).where(Change.model == model, Change.run_id == run_id).order_by(Change.log_offset).limit(1)
    change = session.scalars(found).first()
    if change is None:
        return None
    reasons = json.loads(change.body)["reasons"]
    return {"status": change.status, "version": change.version, "reasons": reasons, "at_ms": change.at_ms}


def cause(session: Session, model: str, trigger: str, caused_by: str, because: str) -> dict[str, Any]:
    """What a run goes back to: a drift, a person, new data."""
    asked = session.get(Asked, caused_by)
    drift_id = None if asked is None else asked.caused_by
    drift = None if drift_id is None else session.get(Drift, drift_id)
    if drift is not None:
        words = json.loads(drift.body)["message"] or f"drift of {drift.subject}"
        href = page("models", model, "drifts", drift.drift_id)
        return {"kind": "drift", "id": drift.drift_id, "words": words, "href": href}
    if asked is not None:
        return {"kind": "operator" if trigger == "OPERATOR" else trigger.lower(), "id": asked.request_id,
                "words": json.loads(asked.body)["message"] or because, "href": None}  # fmt: skip
    return {"kind": "snapshot" if trigger == "FIRST_DATA" else trigger.lower(), "id": caused_by, "words": because,
            "href": None}  # fmt: skip
