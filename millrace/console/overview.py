"""The whole loop on one page: streams, services, flows, models, and what wants somebody."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from millrace.console.flow import Pulse, flows
from millrace.console.queries import alerts, letters, models
from millrace.console.summary import DRIFT_IS_NEW_MS
from millrace.console.tables import Change, Drift, Model, Quality, Run, Snapshot
from millrace.console.watch import Watcher
from millrace.contracts.project import Project
from millrace.contracts.topics import DEAD_LETTERS, EVENTS, LABELS, PREDICTIONS, SAMPLES, TopicRow, topic_name

SNAPSHOT = ("snapshot_id", "rows", "labelled_rows", "table_version", "until_time_ms", "taken_at_ms")
QUALITY = ("judgement_id", "check", "subject", "severity", "message", "judged_at_ms")


class Overview:
    """Puts together what the log, the services and our own counting say."""

    def __init__(self, projects: Sequence[Project], watcher: Watcher, pulse: Pulse) -> None:
        self._projects = projects
        self._watcher = watcher
        self._pulse = pulse

    def live(self, session: Session, now_ms: int, now_s: float) -> dict[str, Any]:
        """What changes all the time: services, streams, flows, counts."""
        names = {project.model: project.stream for project in self._projects}
        groups = alerts.groups(session, now_ms)
        flowing = list(flows(names, self._pulse, self._watcher.counted(), now_s))
        return {
            "now_ms": now_ms,
            "services": [seen.to_json() for seen in self._watcher.seen.values()],
            "streams": list(self._streams(session, now_s)),
            "flows": flowing,
            "counts": _counts(session, groups, self._projects, now_ms),
        }

    def everything(self, session: Session, now_ms: int, now_s: float) -> dict[str, Any]:
        """The whole of it."""
        found = models.urgent_first(session)
        groups = alerts.groups(session, now_ms)
        opened = Counter(str(group["model"]) for group in groups if group["state"] == "open")
        waiting = [one for model in found for one in model["waiting"]]
        return {
            **self.live(session, now_ms, now_s),
            "models": [{**model, "alerts_open": opened[model["model"]]} for model in found],
            "waiting": sorted(waiting, key=lambda one: -one["since_ms"]),
        }

    def _streams(self, session: Session, now_s: float) -> Iterator[dict[str, Any]]:
        seen = set()
        for project in self._projects:
            if project.stream not in seen:
                seen.add(project.stream)
                yield self._stream(session, project, now_s)

    def _stream(self, session: Session, project: Project, now_s: float) -> dict[str, Any]:
        refused = topic_name(DEAD_LETTERS, project)
        ingest = self._watcher.seen.get("ingest")
        return {
            "stream": project.stream,
            "events_per_s": self._rate("ingest", "in", EVENTS, project),
            "labels_per_s": self._rate("ingest", "in", LABELS, project),
            "samples_per_s": self._rate("ingest", "out", SAMPLES, project),
            "predictions_per_s": self._rate("serving", "out", PREDICTIONS, project),
            "dead_letters_per_s": self._pulse.rate(refused, now_s),
            "dead_letters": letters.count(session, refused),
            "lag_records": None if ingest is None else ingest.figures.lag_records,
            "last_snapshot": _newest(session, Snapshot, project.stream, SNAPSHOT),
            "last_quality": _newest(session, Quality, project.stream, QUALITY),
        }

    def _rate(self, service: str, direction: str, row: TopicRow, project: Project) -> float | None:
        seen = self._watcher.seen.get(service)
        if seen is None:
            return None
        for name in (topic_name(row, project), row.suffix):
            if (direction, name) in seen.rates:
                return seen.rates[direction, name][0]
        return None


def _newest(session: Session, table: Any, stream: str, shown: Sequence[str]) -> dict[str, Any] | None:
    found = select(table.body).where(table.stream == stream).order_by(table.log_offset.desc()).limit(1)
    body = session.scalar(found)
    if body is None:
        return None
    event = json.loads(body)
    return {name: event[name] for name in shown}


def _counts(
    session: Session, groups: Sequence[Mapping[str, Any]], projects: Sequence[Project], now_ms: int
) -> dict[str, int]:
    states: Counter[str] = Counter()
    for state, many in session.execute(select(Model.state, func.count()).group_by(Model.state)):
        states[state] = many
    of_alerts = alerts.counts(groups)
    bodies = [json.loads(body) for body in session.scalars(select(Model.body).where(Model.urgency < 0))]
    refused = {topic_name(DEAD_LETTERS, project) for project in projects}

    def count(table: Any, *where: Any) -> int:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0

    return {
        "models": sum(states.values()),
        "models_serving": sum(states.values()) - states["empty"],
        "rollouts": states["rollout"],
        "training": sum(body["training"] is not None for body in bodies),
        "waiting": sum(len(body["waiting"]) for body in bodies),
        "drifts_open": count(Drift, Drift.severity == "ALARM", Drift.at_ms > now_ms - DRIFT_IS_NEW_MS),
        "alerts_open": of_alerts["open"],
        "alerts_critical": of_alerts["critical"],
        "alerts_acknowledged": of_alerts["acknowledged"],
        "alerts_silenced": of_alerts["silenced"],
        "dead_letters": sum(letters.count(session, topic) for topic in refused),
        "runs": count(Run),
        "versions": count(Change, Change.status == "REGISTERED"),
    }
