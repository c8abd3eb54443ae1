"""Drifts: a page of them, and one with its evidence and what followed from it."""

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.console.queries import pages
from millrace.console.queries.deployments import deployment
from millrace.console.queries.runs import lines
from millrace.console.tables import Asked, Change, Deployment, Drift, Run
from millrace.console.wording import message_words, odds, subject_words
from services.registry.queries import NotKnownError

FOLLOWED_MAX = 20  # runs that one request may have led to, as far as they are looked for
LINE = (
    "drift_id", "model", "subject", "slice", "detector", "severity", "version", "partition", "time_ms", "since_time_ms",
    "detected_at_ms", "before", "after", "confirmed_by", "recurs_version", "message",
)  # fmt: skip
DETAIL = (
    "event_id", "sample_offset", "before_rows", "after_rows", "compared_with", "statistic", "threshold", "p_value",
    "log_e_value", "parameters", "since_offset",
)  # fmt: skip


def drifts(
    session: Session, model: str, severity: str | None, subject: str | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    """A page of a model's drifts, newest first."""
    before = pages.decode("drifts", cursor)
    found = select(Drift).where(Drift.model == model).order_by(Drift.log_offset.desc()).limit(limit + 1)
    if severity:
        found = found.where(Drift.severity == severity)
    if subject:
        found = found.where(Drift.subject == subject)
    if before is not None:
        found = found.where(Drift.log_offset < before[0])
    shown, following = pages.page("drifts", session.scalars(found).all(), lambda row: (row.log_offset,), limit)
    return {"model": model, "drifts": drift_lines(session, shown), "next": following}


def newest(session: Session, model: str, limit: int) -> list[dict[str, Any]]:
    """The newest drifts of a model."""
    found = select(Drift).where(Drift.model == model).order_by(Drift.log_offset.desc()).limit(limit)
    return drift_lines(session, session.scalars(found).all())


def drift_lines(session: Session, found: Iterable[Drift]) -> list[dict[str, Any]]:
    """Drifts as lines of a list, with the run and the version that they led to."""
    shown = list(found)
    led = _led(session, [row.drift_id for row in shown])
    return [_line(json.loads(row.body), led.get(row.drift_id)) for row in shown]


def _line(event: dict[str, Any], led: tuple[str, int | None] | None) -> dict[str, Any]:
    run_id, version = led or (None, None)
    said = message_words(event["message"], event["subject"])
    return {
        **{name: event[name] for name in LINE},
        "message": said,
        "distance": _distance(event),
        "led_to_run": run_id,
        "led_to_version": version,
    }


def _distance(event: dict[str, Any]) -> float | None:
    """How far the two histograms are apart: 0 where they are alike, 1 where they have nothing in common."""
    before, after = event["before_counts"], event["after_counts"]
    if not sum(before) or not sum(after):
        return None
    pairs = zip(before, after, strict=True)
    return float(sum(abs(old / sum(before) - new / sum(after)) for old, new in pairs)) / 2


def _led(session: Session, ids: list[str]) -> dict[str, tuple[str, int | None]]:
    if not ids:
        return {}
    joined = (
        select(Asked.caused_by, Run.run_id, Change.version)
        .join(Run, (Run.caused_by == Asked.request_id) & (Run.model == Asked.model))
        .outerjoin(
            Change, (Change.model == Run.model) & (Change.run_id == Run.run_id) & (Change.status == "REGISTERED")
        )
        .where(Asked.caused_by.in_(ids))
        .order_by(Run.number)
    )
    found: dict[str, tuple[str, int | None]] = {}
    for asked_for, run_id, version in session.execute(joined):
        cause = str(asked_for)
        if cause not in found or found[cause][1] is None:  # the first that became a version, else the first
            found[cause] = (run_id, version)
    return found


def drift(session: Session, drift_id: str, model: str | None = None) -> dict[str, Any]:
    """One drift, with its evidence."""
    row = session.get(Drift, drift_id)
    if row is None or model not in {None, row.model}:
        raise NotKnownError(f"no drift {drift_id!r} is known" + (f" of model {model!r}" if model else ""))
    event = json.loads(row.body)
    followed = _followed(session, row)
    rests = (
        session.scalars(select(Drift).where(Drift.drift_id.in_(event["evidence"]))).all() if event["evidence"] else []
    )
    [shown] = drift_lines(session, [row])
    return {
        **shown,
        **{name: event[name] for name in DETAIL},
        "distribution": _distribution(event),
        "rests_on": drift_lines(session, rests),
        "words": words(event, followed),
        "followed_by": followed,
    }


def _distribution(event: dict[str, Any]) -> dict[str, Any] | None:
    if not event["before_counts"] and not event["after_counts"]:
        return None
    of_training = event["compared_with"] == "training"
    before = "training rows" if of_training else "rows before"
    return {
        **{name: event[name] for name in ("bins", "categories", "before_counts", "after_counts")},
        "before_label": f"{event['before_rows']:,} {before}",
        "after_label": f"the newest {event['after_rows']:,} rows",
    }


def words(event: dict[str, Any], followed: dict[str, Any]) -> list[str]:
    """A drift told in sentences: what was noticed, how sure, what followed."""
    of = f" where {event['slice']}" if event["slice"] else ""
    against = "in the training rows" if event["compared_with"] == "training" else "before"
    subject = subject_words(event["subject"])
    told = message_words(event["message"], event["subject"])
    said = told or f"{event['detector']} noticed a change of {subject}{of}"
    moved = (
        f"The mean of {subject}{of} was {event['before']:.4g} {against} ({event['before_rows']:,} rows) "
        f"and is {event['after']:.4g} over the newest {event['after_rows']:,}."
    )
    found = [
        f"{said}.".replace("..", "."),
        moved,
        *_how_sure(event),
    ]
    if event["recurs_version"] is not None:
        found.append(f"The rows look like those that version {event['recurs_version']} was trained on.")
    return [*found, _what_followed(event, followed)]


def _how_sure(event: dict[str, Any]) -> list[str]:
    found = []
    if event["statistic"] is not None and event["threshold"] is not None:
        found.append(f"The statistic is {event['statistic']:.4g}; it had to pass {event['threshold']:.4g}.")
    if event["p_value"] is not None:
        found.append(f"Without a change, one like it comes with probability {event['p_value']:.3g}.")
    if event["log_e_value"] is not None:
        found.append(f"The evidence against no change is {odds(event['log_e_value'])}.")
    match event["confirmed_by"]:
        case "labels":
            found.append("Labels confirm it: the error of the version rose with it.")
        case "estimate":
            found.append("The scores of the version let expect more errors; labels are still to come.")
        case _:
            found.append("Nothing confirms yet that the model suffers.")
    return found


def _what_followed(event: dict[str, Any], followed: dict[str, Any]) -> str:
    if followed["version"] is not None:
        return f"A retrain was asked for, and version {followed['version']} came of it."
    if followed["run"] is not None:
        return f"A retrain was asked for; its run is {followed['run']['status'].lower()}."
    if followed["request"] is not None:
        return "A retrain was asked for; no run has begun yet."
    if event["severity"] == "WARNING":
        return "A warning asks for nothing: it is kept as evidence."
    return "No retrain was asked for because of it."


def _followed(session: Session, row: Drift) -> dict[str, Any]:
    asked = session.scalars(
        select(Asked).where(Asked.caused_by == row.drift_id).order_by(Asked.log_offset).limit(1)
    ).first()
    found: dict[str, Any] = {"request": None, "run": None, "version": None, "deployment": None}
    if asked is None:
        return found
    found["request"] = {"request_id": asked.request_id, "requested_at_ms": asked.at_ms}
    runs = select(Run).where(Run.caused_by == asked.request_id, Run.model == row.model).order_by(Run.number)
    begun = lines(session, session.scalars(runs.limit(FOLLOWED_MAX)).all())
    if not begun:
        return found
    found["run"] = next((run for run in begun if run["version"] is not None), begun[0])
    found["version"] = version = found["run"]["version"]
    if version is not None:
        first = select(Deployment).where(Deployment.model == row.model, Deployment.champion == version)
        champion = session.scalars(first.order_by(Deployment.epoch).limit(1)).first()
        found["deployment"] = None if champion is None else deployment(champion)
    return found
