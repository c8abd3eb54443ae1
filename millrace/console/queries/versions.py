"""Versions: a page of them with their lives, and two side by side."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from millrace.console.decisions import Decisions
from millrace.console.quality import higher_is_better
from millrace.console.queries import pages
from millrace.console.summary import live
from millrace.console.tables import Change, Run
from services.registry.queries import NotKnownError

SAME = 1e-12
PASSED = {True: "passed", False: "failed"}
OWN = (
    "run_id", "source", "feature_set", "artifact_sha256", "signature", "key_id", "metrics", "golden_sha256",
)  # fmt: skip
IDENTITY = ("run_id", "artifact_sha256", "feature_set", "code_hash", "config_hash", "lock_hash", "seed", "source")
DATA = ("snapshot_id", "table_version", "rows_sha256", "train_rows", "holdout_rows")
TRAINING = ("trigger", "because", "family", "window", "backend", "duration_s")


def versions(session: Session, decisions: Decisions, model: str, cursor: str | None, limit: int) -> dict[str, Any]:
    """A page of versions and rejected runs, newest first."""
    before = pages.decode("versions", cursor)
    decides = or_(Change.status == "REGISTERED", Change.version.is_(None))
    found = select(Change).where(Change.model == model, decides).order_by(Change.log_offset.desc()).limit(limit + 1)
    if before is not None:
        found = found.where(Change.log_offset < before[0])
    shown, following = pages.page("versions", session.scalars(found).all(), lambda row: (row.log_offset,), limit)
    numbers = [row.version for row in shown if row.version is not None]
    return {
        "model": model,
        "versions": of_numbers(session, decisions, model, numbers),
        "rejected": [_rejected(row) for row in shown if row.version is None],
        "next": following,
    }


def newest(session: Session, decisions: Decisions, model: str, limit: int) -> list[dict[str, Any]]:
    """The newest versions of a model."""
    registered = select(Change.version).where(Change.model == model, Change.status == "REGISTERED")
    numbers = session.scalars(registered.order_by(Change.log_offset.desc()).limit(limit)).all()
    return of_numbers(session, decisions, model, [number for number in numbers if number is not None])


def of_numbers(session: Session, decisions: Decisions, model: str, numbers: list[int]) -> list[dict[str, Any]]:
    """These versions, in that order."""
    if not numbers:
        return []
    changes: dict[int, list[dict[str, Any]]] = {}
    found = select(Change.body).where(Change.model == model, Change.version.in_(numbers)).order_by(Change.log_offset)
    for body in session.scalars(found):
        event = json.loads(body)
        changes.setdefault(event["version"], []).append(event)
    ids = [life[0]["run_id"] for life in changes.values()]
    rows = session.scalars(select(Run).where(Run.model == model, Run.run_id.in_(ids)))
    runs = {row.run_id: json.loads(row.body) for row in rows}
    shares = _shares(session, decisions, model)
    return [
        {
            **version(changes[number], runs.get(changes[number][0]["run_id"]), shares.get(number, 0.0)),
            "live": live(session, model, number),
        }
        for number in numbers
        if number in changes
    ]


def version(life: list[dict[str, Any]], run: Mapping[str, Any] | None, share: float) -> dict[str, Any]:
    """One version: its registration, what became of it, and its run."""
    first, last = life[0], life[-1]
    approved: list[str] = next((change["approved_by"] for change in reversed(life) if change["approved_by"]), [])
    return {
        "version": first["version"],
        "status": last["status"],
        "space": last["space"],
        **{name: first[name] for name in OWN},
        "signature": last["signature"],
        "key_id": last["key_id"],
        "registered_at_ms": first["changed_at_ms"],
        "changed_at_ms": last["changed_at_ms"],
        "reasons": first["reasons"],
        "champion_version": run["champion_version"] if run else None,
        "champion_metrics": run["champion_metrics"] if run else {},
        "approved_by": approved,
        "serving_share": share,
        "because": run["because"] if run else None,
        "caused_by": run["caused_by"] if run else first["caused_by"],
        "changes": [
            {key: change[key] for key in ("status", "space", "reasons", "caused_by", "changed_at_ms", "approved_by")}
            for change in life
        ],
    }


def _rejected(row: Change) -> dict[str, Any]:
    event = json.loads(row.body)
    shown = {name: event[name] for name in ("run_id", "reasons", "metrics", "caused_by")}
    return {**shown, "decided_at_ms": event["changed_at_ms"]}


def _shares(session: Session, decisions: Decisions, model: str) -> dict[int, float]:
    now = decisions.state(session, model).deployment
    return {} if now is None else {part.version: part.share for part in now.traffic}


def compare(session: Session, decisions: Decisions, model: str, a: int, b: int) -> dict[str, Any]:
    """Two versions side by side, row by row."""
    sides = []
    for number in (a, b):
        found = of_numbers(session, decisions, model, [number])
        if not found:
            known = session.scalar(select(func.max(Change.version)).where(Change.model == model))
            raise NotKnownError(f"there is no version {number} of {model}; its versions go up to {known}")
        run = session.get(Run, (model, found[0]["run_id"]))
        body = None if run is None else {**json.loads(run.body), "began_at_ms": run.began_at_ms}
        sides.append({**found[0], "run": body})
    rows = list(_rows(*sides))
    return {"model": model, "a": sides[0], "b": sides[1], "rows": rows, "words": _words(a, b, rows)}


def _rows(a: dict[str, Any], b: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _numbers("hold-out metrics", a["metrics"], b["metrics"])
    lives = [{} if side["live"] is None else {side["live"]["metric"]: side["live"]["value"]} for side in (a, b)]
    yield from _numbers("live metrics", *lives)
    runs = [side["run"] or {} for side in (a, b)]
    yield from _texts("training", runs, TRAINING)
    yield from _texts("parameters", [run.get("params", {}) for run in runs])
    yield from _checks(runs)
    yield from _texts("data", runs, DATA)
    yield from _texts("identity", [{**run, **side} for run, side in zip(runs, (a, b), strict=True)], IDENTITY)


def _numbers(group: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        difference = None if x is None or y is None else y - x
        yield {"group": group, "name": name, "a": x, "b": y, "difference": difference,
               "better": _better(name, difference), "unit": ""}  # fmt: skip


def _better(name: str, difference: float | None) -> str | None:
    if difference is None or difference != difference:  # noqa: PLR0124  # NaN
        return None
    if abs(difference) < SAME:
        return "same"
    return "b" if (difference > 0) == higher_is_better(name) else "a"


def _texts(group: str, sides: list[Any], names: Iterable[str] | None = None) -> Iterator[dict[str, Any]]:
    a, b = sides
    for name in names if names is not None else sorted(a.keys() | b.keys()):
        x, y = a.get(name), b.get(name)
        if x is not None or y is not None:
            yield {"group": group, "name": name, "a": x, "b": y, "difference": None,
                   "better": "same" if x == y else None, "unit": "s" if name.endswith("_s") else ""}  # fmt: skip


def _checks(runs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    a, b = ({check["name"]: check for check in run.get("checks", ())} for run in runs)
    for name in sorted(a.keys() | b.keys()):
        told = [None if side is None else PASSED[side["passed"]] for side in (a.get(name), b.get(name))]
        better = {("passed", "failed"): "a", ("failed", "passed"): "b"}.get((str(told[0]), str(told[1])))
        yield {"group": "checks", "name": name, "a": told[0], "b": told[1], "difference": None,
               "better": better or ("same" if told[0] == told[1] else None), "unit": ""}  # fmt: skip


def _words(a: int, b: int, rows: list[dict[str, Any]]) -> str:
    said = []
    for group, where in (("hold-out metrics", "on its hold-out rows"), ("live metrics", "on labelled events")):
        for row in rows:
            if row["group"] == group and row["better"] in {"a", "b"}:
                better, worse = (a, b) if row["better"] == "a" else (b, a)
                said.append(f"version {better} is better than version {worse} in {row['name']} by "
                            f"{abs(row['difference']):.4g} ({where})")  # fmt: skip
    return "; ".join(said[:4]) or "no metric is known of both"
