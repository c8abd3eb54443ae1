"""Alerts in groups, with what people did about them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.console.alert_states import Handled, matter_of
from millrace.console.queries import pages
from millrace.console.tables import Alert, AlertGroup, Handling
from millrace.contracts.events import AlertHandled

GROUPS_MAX = 2_000  # so many are looked at; what is older has been repeated by nobody for long
HANDLINGS_MAX = 5_000
SHOWN = 20
ACKNOWLEDGED_MS = 24 * 3600 * 1000
"""As ``millrace.alerting`` has it by default: for so long an acknowledgement holds repetitions back."""


def handled(session: Session) -> Handled:
    """What people did about alerts, newest last."""
    found = select(Handling.body).order_by(Handling.log_offset.desc()).limit(HANDLINGS_MAX)
    events = [AlertHandled.model_validate_json(body) for body in session.scalars(found)][::-1]
    ids = {event.alert_id for event in events if event.alert_id is not None}
    return Handled.of(events, _matters(session, ids))


def _matters(session: Session, ids: set[str]) -> dict[str, tuple[str, str, str]]:
    found = {}
    wanted = sorted(ids)
    for at in range(0, len(wanted), 500):  # SQLite takes so many parameters and some more
        some = select(Alert.alert_id, Alert.group_key).where(Alert.alert_id.in_(wanted[at : at + 500]))
        for alert_id, key in session.execute(some):
            service, reason, subject = key.split("\n", 2)
            found[alert_id] = (service, reason, subject)
    return found


def groups(session: Session, now_ms: int) -> list[dict[str, Any]]:
    """All groups with their states, the newest first; without their alerts."""
    done = handled(session)
    rows = session.scalars(select(AlertGroup).order_by(AlertGroup.last_offset.desc()).limit(GROUPS_MAX))
    return [_group(row, done, now_ms) for row in rows]


def _group(row: AlertGroup, done: Handled, now_ms: int) -> dict[str, Any]:
    event = json.loads(row.body)
    group = {
        "key": row.group_key,
        **{name: event[name] for name in ("service", "reason", "subject", "model", "severity", "alert_id", "message")},
        "count": row.count,
        "first_at_ms": row.first_at_ms,
        "last_at_ms": row.last_at_ms,
        "caused_by": event["caused_by"],
        "critical_from_ms": row.critical_from_ms,
        "last_offset": row.last_offset,
    }
    silence = done.silence(matter_of(group), now_ms)
    known = done.acknowledgement(group, now_ms, ACKNOWLEDGED_MS)
    state = "open"
    if event["alert_id"] in done.over:
        state = "over"
    elif silence is not None:
        state = "silenced"
    elif known is not None:
        state = "acknowledged"
    return {
        **group,
        "state": state,
        "acknowledged": None if known is None else _who(known),
        "silence": None if silence is None else {**_who(silence), "until_ms": silence.until_ms},
    }


def _who(event: AlertHandled) -> dict[str, Any]:
    return {
        "handling_id": event.handling_id,
        "actor": event.actor,
        "comment": event.comment,
        "at_ms": event.handled_at_ms,
    }


def counts(found: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many groups there are of each state, and how many open ones are critical."""
    shown = list(found)
    states = Counter(str(group["state"]) for group in shown)
    critical = sum(group["state"] == "open" and group["severity"] == "CRITICAL" for group in shown)
    return {**{state: states[state] for state in ("open", "acknowledged", "silenced", "over")}, "critical": critical}


def alerts(
    session: Session, now_ms: int, state: str, model: str | None, service: str | None, cursor: str | None, limit: int
) -> dict[str, Any]:
    """A page of groups, with the newest alerts of each."""
    before = pages.decode("alerts", cursor)
    every = groups(session, now_ms)
    wanted = [
        group
        for group in every
        if state in {"all", group["state"]}
        and model in {None, group["model"]}
        and service in {None, group["service"]}
        and (before is None or group["last_offset"] < before[0])
    ]
    shown, following = pages.page("alerts", wanted[: limit + 1], lambda group: (group["last_offset"],), limit)
    for group in shown:
        group["alerts"] = _newest(session, group["key"])
    return {
        "groups": list(shown),
        "silences": [_silence(one) for one in handled(session).in_force(now_ms)],
        "counts": counts(every),
        "next": following,
    }


def _newest(session: Session, key: str) -> list[dict[str, Any]]:
    found = select(Alert.body).where(Alert.group_key == key).order_by(Alert.log_offset.desc()).limit(SHOWN)
    wanted = ("alert_id", "message", "severity", "raised_at_ms", "caused_by")
    return [{name: event[name] for name in wanted} for event in map(json.loads, session.scalars(found))]


def _silence(event: AlertHandled) -> dict[str, Any]:
    matcher = {name: getattr(event, name) for name in ("alert_id", "service", "reason", "subject", "until_ms")}
    return {**_who(event), **matcher}
