"""One model in one row: what the overview and the list of models show of it. Put together from the other tables."""

import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.orm import Session

from millrace.console.decisions import Decisions, lenient
from millrace.console.quality import pooled
from millrace.console.tables import Change, Deployment, Drift, Measured, Model, Quality, Run
from millrace.console.wording import message_words
from services.registry import spaces
from services.registry.state import State

URGENCY = {"waiting": 8, "rollout": 4, "drift": 2, "training": 1}
DRIFT_IS_NEW_MS = 24 * 3600 * 1000


def summarise(session: Session, decisions: Decisions, model: str, stream: str | None, now_ms: int) -> None:
    """Write the model's row."""
    body = summary(session, decisions, model, stream, now_ms)
    urgency = _urgency(body, now_ms)
    row = {"model": model, "state": body["state"], "urgency": -urgency, "body": json.dumps(body)}
    made = insert(Model).values(row)
    session.execute(
        made.on_conflict_do_update(["model"], set_={key: made.excluded[key] for key in row if key != "model"})
    )


def summary(session: Session, decisions: Decisions, model: str, stream: str | None, now_ms: int) -> dict[str, Any]:
    """The model in one line. See the API's page about ``ModelSummary``."""
    state = decisions.state(session, model)
    champion, last = state.champion, _last_run(session, model)
    since = _champion_since(session, model, champion)
    drift = session.scalars(select(Drift.body).where(Drift.model == model).order_by(Drift.log_offset.desc()).limit(1))
    stream = stream or session.scalar(select(Quality.stream).where(Quality.model == model).limit(1))
    return {
        "model": model,
        "stream": stream,
        "state": _state(state),
        "champion_version": champion,
        "champion_since_ms": since.get("decided_at_ms"),
        "why": since.get("reason"),
        "decided_by": since.get("decided_by"),
        "epoch": state.epoch or None,
        "shares": _shares(state),
        "rollout": _rollout(session, state),
        "frozen": _frozen(state),
        "quality": _quality(session, model, champion, "labels"),
        "estimate": _quality(session, model, champion, "estimate"),
        "training": _training(last),
        "last_run": _ended(session, model),
        "last_drift": _drift(drift.first()),
        "waiting": list(_waiting(state, decisions, model)),
        "versions": len(state.versions),
        "runs": session.scalar(select(func.count()).select_from(Run).where(Run.model == model)) or 0,
        "updated_at_ms": now_ms,
    }


def _urgency(body: dict[str, Any], now_ms: int) -> int:
    drift = body["last_drift"] or {"severity": "", "detected_at_ms": 0}
    holds = {
        "waiting": bool(body["waiting"]),
        "rollout": body["rollout"] is not None,
        "drift": drift is not None
        and drift["severity"] == "ALARM"
        and now_ms - drift["detected_at_ms"] < DRIFT_IS_NEW_MS,
        "training": body["training"] is not None,
    }
    return sum(URGENCY[name] for name, does in holds.items() if does)


def _state(state: State) -> str:
    if state.frozen is not None:
        return "stopped" if state.frozen.action == "kill" else "frozen"
    if state.deployment is None:
        return "empty"
    return "serving" if state.rollout_id is None else "rollout"


def _champion_since(session: Session, model: str, champion: int | None) -> dict[str, Any]:
    """The deployment that made the champion champion."""
    if champion is None:
        return {}
    other = select(func.max(Deployment.epoch)).where(Deployment.model == model, Deployment.champion != champion)
    first = (
        select(Deployment.body)
        .where(Deployment.model == model, Deployment.epoch > func.coalesce(other.scalar_subquery(), -1))
        .order_by(Deployment.epoch)
        .limit(1)
    )
    body = session.scalar(first)
    return {} if body is None else json.loads(body)


def _shares(state: State) -> list[dict[str, Any]]:
    parts = () if state.deployment is None else state.deployment.traffic
    return [traffic(part.model_dump()) for part in parts]


def traffic(part: dict[str, Any]) -> dict[str, Any]:
    """The part of one version in a deployment, as it is shown."""
    return {key: part[key] for key in ("variant", "version", "share", "mode")}


def _rollout(session: Session, state: State) -> dict[str, Any] | None:
    now = state.deployment
    if now is None or now.rollout_id is None:
        return None
    began = select(func.min(Deployment.at_ms)).where(
        Deployment.model == state.model, func.json_extract(Deployment.body, "$.rollout_id") == now.rollout_id
    )
    tried = [part for part in now.traffic if part.version != state.champion]
    version = tried[0].version if tried else None
    how = [
        f"version {part.version} " + ("scores unseen" if part.mode == "SHADOW" else f"answers {part.share * 100:.3g} %")
        for part in tried
    ]
    return {
        "rollout_id": now.rollout_id,
        "strategy": now.strategy,
        "step": now.step,
        "version": version,
        "began_at_ms": session.scalar(began),
        "words": f"{now.strategy}, step {now.step}: {', '.join(how)}",
    }


def _frozen(state: State) -> dict[str, Any] | None:
    held = state.frozen
    if held is None:
        return None
    return {"by": held.actor, "since_ms": held.recorded_at_ms, "reason": held.reason}


def _quality(session: Session, model: str, version: int | None, source: str) -> dict[str, Any] | None:
    return None if version is None else live(session, model, version, source)


def live(session: Session, model: str, version: int, source: str = "labels") -> dict[str, Any] | None:
    """How well a version does now, over all its partitions."""
    bodies = session.scalars(
        select(Measured.body).where(
            Measured.model == model, Measured.version == version, Measured.source == source, Measured.slice == ""
        )
    )
    found = [json.loads(body) for body in bodies]
    whole = [row for row in found if not row["variant"]]
    return pooled(whole or found)


def _last_run(session: Session, model: str) -> Run | None:
    return session.scalars(select(Run).where(Run.model == model).order_by(Run.number.desc()).limit(1)).first()


def _training(run: Run | None) -> dict[str, Any] | None:
    if run is None or run.status != "STARTED":
        return None
    told, body = progress(run.progress), json.loads(run.body)
    known = {"stage": "begin", "step": 0, "steps": 0, "message": "", "progress_ratio": None} if told is None else told
    return {
        "run_id": run.run_id,
        "trigger": run.trigger,
        **known,
        "because": body["because"],
        "began_at_ms": run.began_at_ms,
        "changed_at_ms": run.changed_at_ms,
    }


def progress(text: str | None) -> dict[str, Any] | None:
    """How far a run is, with the share of its stage that is done."""
    if text is None:
        return None
    told = json.loads(text)
    done = told["step"] / told["steps"] if told["steps"] else None
    return {key: told[key] for key in ("stage", "step", "steps", "message")} | {"progress_ratio": done}


def _ended(session: Session, model: str) -> dict[str, Any] | None:
    newest = (
        select(Run)
        .where(Run.model == model, Run.status.in_(("SUCCEEDED", "FAILED")))
        .order_by(Run.number.desc())
        .limit(1)
    )
    run = session.scalars(newest).first()
    if run is None:
        return None
    own = {"run_id": run.run_id, "status": run.status, "trigger": run.trigger, "changed_at_ms": run.changed_at_ms}
    return {**own, "duration_s": json.loads(run.body)["duration_s"]}


DRIFT = ("drift_id", "subject", "detector", "severity", "version", "time_ms", "detected_at_ms", "message")


def _drift(body: str | None) -> dict[str, Any] | None:
    if body is None:
        return None
    event = json.loads(body)
    return {key: event[key] for key in DRIFT} | {"message": message_words(event["message"], event["subject"])}


def _waiting(state: State, decisions: Decisions, model: str) -> Iterator[dict[str, Any]]:
    policy = decisions.policy(model) or lenient()
    for version in spaces.waiting(state, policy):
        space = spaces.awaited(state, policy, version)
        assert space is not None, "it waits"
        needed, given = spaces.policy_of(policy, space).approvals, len(spaces.approved(state, policy, version, space))
        yield {
            "kind": "approval",
            "model": model,
            "version": version.number,
            "space": space,
            "words": f"version {version.number} waits for approval to enter {space}: {given} of {needed} given",
            "since_ms": version.registered.changed_at_ms,
        }


def names(session: Session) -> set[str]:
    """Every model that the log speaks of."""
    return {
        name for table in (Run, Change, Deployment, Drift) for name in session.scalars(select(table.model).distinct())
    }
