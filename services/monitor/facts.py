"""What was found, as the events that say it. Ids come from the place in the log, so a repeat is recognisable."""

from dataclasses import dataclass

from millrace.contracts.events import AlertRaised, DriftDetected, ModelMetricsMeasured, RolloutMeasured
from services.monitor.measure import Measured
from services.monitor.policy import PERSISTING
from services.monitor.rollout import RolloutFinding
from services.monitor.watch import Drift


@dataclass(frozen=True, slots=True)
class Place:
    """Where findings come from, and how long a request may stay unanswered."""

    model: str
    samples_topic: str
    partition: int
    open_ms: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of observations that could not be read. Its rows are missing from everything that is computed."""

    topic: str
    offset: int
    reason: str


def metrics_of(place: Place, found: Measured, now_ms: int) -> ModelMetricsMeasured:
    """A window of metrics."""
    return ModelMetricsMeasured(
        metrics_id=f"metrics/{place.model}/{found.version}/{place.partition}/{found.offset}",
        model=place.model,
        version=found.version,
        partition=place.partition,
        until_offset=found.offset,
        window_rows=found.window_rows,
        total_rows=found.total_rows,
        until_time_ms=found.until_time_ms,
        metrics=found.metrics,
        measured_at_ms=now_ms,
    )


def evidence_of(place: Place, found: RolloutFinding, now_ms: int) -> RolloutMeasured:
    """What is known of an epoch of a rollout."""
    return RolloutMeasured(
        evidence_id=f"evidence/{place.model}/{found.rollout_id}/{found.epoch}/{place.partition}/{found.offset}",
        model=place.model,
        rollout_id=found.rollout_id,
        epoch=found.epoch,
        partition=place.partition,
        until_offset=found.offset,
        arms=found.arms,
        pairs=found.pairs,
        until_time_ms=found.until_time_ms,
        measured_at_ms=now_ms,
    )


def drift_of(place: Place, found: Drift, now_ms: int) -> DriftDetected:
    """A drift, with its evidence."""
    return DriftDetected(
        drift_id=f"drift/{place.model}/{found.subject}/{place.partition}/{found.offset}",
        model=place.model,
        version=found.version,
        subject=found.subject,
        detector=found.detector,
        severity=found.severity,
        partition=place.partition,
        sample_offset=found.offset,
        event_id=found.event_id,
        time_ms=found.time_ms,
        before=found.change.before,
        after=found.change.after,
        before_rows=found.change.before_rows,
        after_rows=found.change.after_rows,
        parameters=found.parameters,
        detected_at_ms=now_ms,
    )


def in_words(found: Drift) -> str:
    """What changed, and by how much."""
    change = found.change
    verb = "stays above" if found.detector == PERSISTING else "rose from"
    joint = "at" if found.detector == PERSISTING else "to"
    return (
        f"{found.subject} of version {found.version} {verb} {change.before:.4g} ({change.before_rows} rows) "
        f"{joint} {change.after:.4g} ({change.after_rows} rows)"
    )


def unreadable_alert(place: Place, found: Unreadable, now_ms: int) -> AlertRaised:
    """WARNING: an operator should know what is missing."""
    return AlertRaised(
        alert_id=f"alert/unreadable-observations/{found.topic}/{place.partition}/{found.offset}",
        service="monitor",
        severity="WARNING",
        reason="unreadable-observations",
        subject=f"{found.topic} partition {place.partition} offset {found.offset}",
        message=f"its rows are missing from metrics and detectors: {found.reason}",
        raised_at_ms=now_ms,
    )


def drift_alert(found: Drift, drift: DriftDetected, outcome: str) -> AlertRaised:
    """CRITICAL when a drift outlived what was done about it; WARNING while the loop is still handling it."""
    persists = found.detector == PERSISTING
    return AlertRaised(
        alert_id=f"alert/{drift.drift_id}",
        service="monitor",
        severity="CRITICAL" if persists else "WARNING",
        reason="drift-persists" if persists else "drift",
        subject=f"{drift.model} version {drift.version}",
        message=f"{in_words(found)}; {outcome}",
        raised_at_ms=drift.detected_at_ms,
    )
