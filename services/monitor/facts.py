"""What was found, as the events that say it. Ids come from the place in the log, so a repeat is recognisable."""

from dataclasses import dataclass

from millrace.contracts.events import AlertRaised, DriftDetected, ModelMetricsMeasured, RolloutMeasured
from services.monitor.errors_watch import PERSISTING
from services.monitor.evidence import ESTIMATED_ERROR, Drift, Key
from services.monitor.measure import Measured
from services.monitor.rollout import RolloutFinding


@dataclass(frozen=True, slots=True)
class Place:
    """Where findings come from, how long a request may stay unanswered, and how many there may be in a day."""

    model: str
    samples_topic: str
    partition: int
    open_ms: int
    requests_per_day: int = 4


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record of observations that could not be read. Its rows are missing from everything that is computed."""

    topic: str
    offset: int
    reason: str


def metrics_of(place: Place, found: Measured, now_ms: int) -> ModelMetricsMeasured:
    """A window of metrics."""
    part = (found.source, found.variant, found.slice)
    rest = "" if part == ("labels", "", "") else f"/{found.source}/{found.variant}/{found.slice}"
    return ModelMetricsMeasured(
        metrics_id=f"metrics/{place.model}/{found.version}/{place.partition}/{found.offset}{rest}",
        model=place.model,
        version=found.version,
        partition=place.partition,
        until_offset=found.offset,
        window_rows=found.window_rows,
        total_rows=found.total_rows,
        until_time_ms=found.until_time_ms,
        metrics=found.metrics,
        measured_at_ms=now_ms,
        variant=found.variant,
        slice=found.slice,
        source=found.source,
        from_time_ms=found.from_time_ms,
        low=found.low,
        high=found.high,
        corrected_rows=found.corrected_rows,
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


def drift_id(place: Place, key: Key) -> str:
    """The id of a drift."""
    rest = f"/{key.rest}" if key.rest else ""
    return f"drift/{place.model}/{key.subject}/{place.partition}/{key.offset}{rest}"


def drift_of(place: Place, found: Drift, now_ms: int) -> DriftDetected:
    """A drift, with its evidence."""
    change, shown = found.change, found.picture
    return DriftDetected(
        drift_id=drift_id(place, found.key),
        model=place.model,
        version=found.version,
        subject=found.subject,
        detector=found.detector,
        severity=found.severity,
        partition=place.partition,
        sample_offset=found.offset,
        event_id=found.event_id,
        time_ms=found.time_ms,
        before=change.before,
        after=change.after,
        before_rows=change.before_rows,
        after_rows=change.after_rows,
        parameters=found.parameters,
        detected_at_ms=now_ms,
        slice=found.slice,
        compared_with=found.compared_with,
        statistic=change.statistic,
        threshold=change.threshold,
        p_value=change.p_value,
        log_e_value=change.log_e_value,
        since_time_ms=found.since_time_ms,
        since_offset=found.since_offset,
        bins=shown.bins,
        categories=shown.categories,
        before_counts=shown.before_counts,
        after_counts=shown.after_counts,
        confirmed_by=found.confirmed_by,
        evidence=tuple(drift_id(place, key) for key in found.evidence),
        recurs_version=found.recurs_version,
        message=in_words(found),
    )


def in_words(found: Drift) -> str:
    """What changed, and by how much."""
    if found.message:
        return found.message
    change = found.change
    persists = found.detector == PERSISTING
    moved = "rose from" if change.rose else "fell from"
    verb, joint = ("stays above", "at") if persists else (moved, "to")
    part = f" where {found.slice}" if found.slice else ""
    return (
        f"{found.subject} of version {found.version}{part} {verb} {change.before:.4g} ({change.before_rows} rows) "
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
        model=place.model,
    )


def drift_alert(found: Drift, drift: DriftDetected, outcome: str) -> AlertRaised:
    """CRITICAL when a drift outlived what was done about it; WARNING while the loop is still handling it.

    An error that is only expected has a reason of its own, whether it asks or not.
    """
    persists = found.detector == PERSISTING
    reason = "drift-persists" if persists else "estimated-drift" if found.subject == ESTIMATED_ERROR else "drift"
    return AlertRaised(
        alert_id=f"alert/{drift.drift_id}",
        service="monitor",
        severity="CRITICAL" if persists else "WARNING",
        reason=reason,
        subject=f"{drift.model} version {drift.version}",
        message=f"{in_words(found)}; {outcome}",
        raised_at_ms=drift.detected_at_ms,
        model=drift.model,
        caused_by=drift.drift_id,
    )


def budget_alert(place: Place, drift: DriftDetected) -> AlertRaised:
    """WARNING: somebody should look why so many retrains do not help."""
    return AlertRaised(
        alert_id=f"alert/retrain-budget-spent/{drift.drift_id}",
        service="monitor",
        severity="WARNING",
        reason="retrain-budget-spent",
        subject=f"{drift.model} version {drift.version}",
        message=f"{place.requests_per_day} retrains were asked for in a day of event time (monitors.decision."
        f"requests_per_day): this one waits until the day has passed. millrace retrain {drift.model} asks at once",
        raised_at_ms=drift.detected_at_ms,
        model=drift.model,
        caused_by=drift.drift_id,
    )


def recurring_alert(found: Drift, drift: DriftDetected) -> AlertRaised | None:
    """WARNING: an earlier version may be the quicker answer; it names the command. None if there is none."""
    if found.recurs_version is None:
        return None
    return AlertRaised(
        alert_id=f"alert/recurring-drift/{drift.drift_id}",
        service="monitor",
        severity="WARNING",
        reason="recurring-drift",
        subject=f"{drift.model} version {found.recurs_version}",
        message=f"the rows now look like those that version {found.recurs_version} was trained on: "
        f"{found.recurs_distance:.2g} bits away, those of version {found.version} {found.own_distance:.2g}. To bring "
        f'it back: millrace promote {drift.model} {found.recurs_version} --reason "the drift recurs"',
        raised_at_ms=drift.detected_at_ms,
        model=drift.model,
        caused_by=drift.drift_id,
    )
