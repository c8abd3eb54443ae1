"""What happened, in one line each, for those who listen: pages are told, and ask for what they show."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from millrace.bus.deadletter import place_of, why
from millrace.bus.types import Record
from millrace.console.apply import model_of
from millrace.console.wording import message_words, subject_words
from millrace.contracts.events import (
    AlertHandled,
    AlertRaised,
    AuditRecorded,
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    DriftDetected,
    Event,
    ManageModel,
    ModelMetricsMeasured,
    ModelVersionChanged,
    RetrainModel,
    RolloutMeasured,
    ServingStatusReported,
    TrainingRunChanged,
)

Told = dict[str, Any]


def told(topic: str, event: Event) -> Told:
    """One event as those who listen get it."""
    kind, words = KINDS[type(event)]
    return {
        "topic": topic,
        "kind": kind,
        "model": model_of(event),
        "version": getattr(event, "version", None),
        "severity": getattr(event, "severity", None),
        "href": None,
        **words(event),
    }


def refused(letters: Sequence[Record]) -> Told:
    """Some refused records in one line: there may be very many."""
    last = letters[-1]
    return {
        "topic": last.topic, "kind": "letters", "model": None, "version": None, "severity": "WARNING",
        "id": place_of(last), "at_ms": last.timestamp_ms, "href": "/dead-letters",
        "summary": f"{len(letters)} refused, the last for {why(last)['reason']}",
    }  # fmt: skip


def page(*parts: object) -> str:
    """The address of a page.

    >>> page("models", "tiny", "runs", "a/b")
    '/models/tiny/runs/a%2Fb'
    """
    return "/" + "/".join(quote(str(part), safe="") for part in parts)


def _run(event: TrainingRunChanged) -> Told:
    now = event.progress
    words = f"training {event.status.lower()}" if now is None else f"training: {now.stage} {now.step}/{now.steps}"
    return {"id": event.run_id, "at_ms": event.changed_at_ms, "summary": f"{words}: {event.because or event.trigger}",
            "severity": "ALARM" if event.status == "FAILED" else None,
            "href": page("models", event.model, "runs", event.run_id)}  # fmt: skip


def _version(event: ModelVersionChanged) -> Told:
    what = "a run" if event.version is None else f"version {event.version}"
    where = f" in {event.space}" if event.status == "PROMOTED" else ""
    why = f": {event.reasons[0]}" if event.reasons else ""
    return {"id": event.change_id, "at_ms": event.changed_at_ms, "href": page("models", event.model, "versions"),
            "summary": f"{what} is {event.status.lower()}{where}{why}"}  # fmt: skip


def _deployment(event: DeploymentDecided) -> Told:
    shares = ", ".join(
        f"version {part.version} " + ("unseen" if part.mode == "SHADOW" else f"{part.share:.0%}")
        for part in event.traffic
    )
    return {"id": event.deployment_id, "at_ms": event.decided_at_ms, "href": page("models", event.model),
            "summary": f"{event.kind.lower().replace('_', ' ')}: {shares}: {event.reason}"}  # fmt: skip


def _serving(event: ServingStatusReported) -> Told:
    state = "serves" if event.status == "SERVING" else f"cannot load ({event.reason})"
    return {"id": f"{event.model}/{event.partition}/{event.epoch}", "at_ms": event.reported_at_ms,
            "summary": f"partition {event.partition} {state} version {event.version}",
            "severity": "ALARM" if event.status == "FAILED" else None}  # fmt: skip


def _metrics(event: ModelMetricsMeasured) -> Told:
    figures = ", ".join(f"{name} {value:.4g}" for name, value in sorted(event.metrics.items())[:3])
    of = f" of {event.slice}" if event.slice else ""
    return {"id": event.metrics_id, "at_ms": event.measured_at_ms,
            "summary": f"version {event.version}{of}: {figures} on {event.window_rows} rows"}  # fmt: skip


def _drift(event: DriftDetected) -> Told:
    return {"id": event.drift_id, "at_ms": event.detected_at_ms,
            "summary": message_words(event.message, event.subject)
            or f"drift of {subject_words(event.subject)} ({event.detector})",
            "href": page("models", event.model, "drifts", event.drift_id)}  # fmt: skip


def _retrain(event: RetrainModel) -> Told:
    return {"id": event.request_id, "at_ms": event.requested_at_ms,
            "summary": f"retrain asked for by {event.requested_by}: {event.message}"}  # fmt: skip


def _manage(event: ManageModel) -> Told:
    what = "" if event.version is None else f" version {event.version}"
    return {"id": event.request_id, "at_ms": event.requested_at_ms,
            "summary": f"{event.requested_by} asks: {event.action.lower()}{what}: {event.reason}"}  # fmt: skip


def _audit(event: AuditRecorded) -> Told:
    return {"id": event.audit_id, "at_ms": event.recorded_at_ms, "href": "/audit",
            "severity": "WARNING" if event.outcome == "REFUSED" else None,
            "summary": f"{event.actor}: {event.action} {event.outcome.lower()}: {event.reason}"}  # fmt: skip


def _alert(event: AlertRaised) -> Told:
    return {"id": event.alert_id, "at_ms": event.raised_at_ms, "href": "/alerts",
            "summary": f"{event.service}: {event.message}"}  # fmt: skip


def _handled(event: AlertHandled) -> Told:
    return {"id": event.handling_id, "at_ms": event.handled_at_ms, "href": "/alerts",
            "summary": f"{event.actor} {event.action.lower()} an alert: {event.comment}"}  # fmt: skip


def _evidence(event: RolloutMeasured) -> Told:
    rows = sum(arm.labelled_rows for arm in event.arms)
    return {"id": event.evidence_id, "at_ms": event.measured_at_ms,
            "summary": f"rollout {event.rollout_id}: {rows} labelled rows in partition {event.partition}"}  # fmt: skip


def _quality(event: DataQualityJudged) -> Told:
    return {"id": event.judgement_id, "at_ms": event.judged_at_ms, "summary": event.message}


def _snapshot(event: DataSnapshotTaken) -> Told:
    return {"id": event.snapshot_id, "at_ms": event.taken_at_ms,
            "summary": f"snapshot of {event.stream}: {event.rows} rows, {event.labelled_rows} with labels"}  # fmt: skip


KINDS: Mapping[type[Event], tuple[str, Callable[[Any], Told]]] = {
    TrainingRunChanged: ("run", _run),
    ModelVersionChanged: ("version", _version),
    DeploymentDecided: ("deployment", _deployment),
    ServingStatusReported: ("serving", _serving),
    ModelMetricsMeasured: ("metrics", _metrics),
    DriftDetected: ("drift", _drift),
    RetrainModel: ("request", _retrain),
    ManageModel: ("manage", _manage),
    AuditRecorded: ("audit", _audit),
    AlertRaised: ("alert", _alert),
    AlertHandled: ("alert_action", _handled),
    RolloutMeasured: ("evidence", _evidence),
    DataQualityJudged: ("quality", _quality),
    DataSnapshotTaken: ("snapshot", _snapshot),
}
