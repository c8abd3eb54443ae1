"""The events of monitoring: metrics, drift, what was trained on, and alerts. See events.py."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from millrace.contracts.event_base import Event, Severity


class ModelMetricsMeasured(Event):
    """Prequential metrics of one version over a window of labelled predictions."""

    schema_name = "model-metrics-measured"

    metrics_id: str
    model: str
    version: int
    partition: int
    until_offset: int
    window_rows: int
    total_rows: int
    until_time_ms: int
    metrics: Mapping[str, float]
    measured_at_ms: int
    variant: str = ""
    slice: str = ""
    source: str = "labels"
    from_time_ms: int | None = None
    low: Mapping[str, float] = Field(default_factory=dict)
    high: Mapping[str, float] = Field(default_factory=dict)
    corrected_rows: int = 0


class DriftDetected(Event):
    """A detector's verdict on one subject, with the evidence."""

    schema_name = "drift-detected"

    drift_id: str
    model: str
    version: int
    subject: str
    detector: str
    severity: Severity
    partition: int
    sample_offset: int
    event_id: str
    time_ms: int
    before: float
    after: float
    before_rows: int
    after_rows: int
    parameters: Mapping[str, float]
    detected_at_ms: int
    slice: str = ""
    compared_with: str = ""
    statistic: float | None = None
    threshold: float | None = None
    p_value: float | None = None
    log_e_value: float | None = None
    since_time_ms: int | None = None
    since_offset: int | None = None
    bins: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    before_counts: tuple[int, ...] = ()
    after_counts: tuple[int, ...] = ()
    confirmed_by: str = ""
    evidence: tuple[str, ...] = ()
    recurs_version: int | None = None
    message: str = ""


class TrainingProfileRecorded(Event):
    """A sample of the rows that a version was trained and tested on."""

    schema_name = "training-profile-recorded"

    profile_id: str
    model: str
    run_id: str
    feature_set: str
    rows: int
    holdout_rows: int
    from_time_ms: int
    until_time_ms: int
    frame: bytes
    holdout_frame: bytes
    recorded_at_ms: int


class MonitorStateSaved(Event):
    """A part of what the monitor remembers of one partition."""

    schema_name = "monitor-state-saved"

    model: str
    partition: int
    config_hash: str
    until_offset: int
    until_sample_offset: int
    join_from_offset: int
    part: int
    parts: int
    content: bytes
    saved_at_ms: int


class AlertRaised(Event):
    """Something that an operator should look at."""

    schema_name = "alert-raised"

    alert_id: str
    service: str
    severity: Literal["WARNING", "CRITICAL"]
    reason: str
    subject: str
    message: str
    raised_at_ms: int
    model: str | None = None
    caused_by: str | None = None


class AlertHandled(Event):
    """What an operator did about alerts."""

    schema_name = "alert-handled"

    handling_id: str
    action: Literal["NOTED", "ACKNOWLEDGED", "SILENCED", "UNSILENCED"]
    alert_id: str | None = None
    service: str | None = None
    reason: str | None = None
    subject: str | None = None
    until_ms: int | None = None
    actor: str
    comment: str
    handled_at_ms: int
