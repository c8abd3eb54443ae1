"""Every event on the bus as a frozen class, field for field as its newest schema under ``schemas/`` says.

Facts are past tense (``PredictionMade``), a request is an imperative (``RetrainModel``). Times are integers in
milliseconds since 1970-01-01T00:00:00Z; the unit stands last in a name. The meaning of each field stands once, in the
schema's ``doc``; ``tests/test_every_schema.py`` holds that classes and schemas agree in both directions.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from millrace.contracts.data_events import (
    DataQualityJudged,
    ExpectationsLearned,
    FeatureStateSaved,
    FieldCorrelation,
    FieldExpectation,
)
from millrace.contracts.event_base import Event, Severity, Value
from millrace.contracts.monitor_events import (
    AlertHandled,
    AlertRaised,
    DriftDetected,
    ModelMetricsMeasured,
    MonitorStateSaved,
    TrainingProfileRecorded,
)
from millrace.contracts.rollout_events import (
    ArmMeasured,
    DeploymentDecided,
    ManageAction,
    ManageModel,
    PairMeasured,
    RolloutMeasured,
    Traffic,
    VariantScored,
)

__all__ = (  # besides the classes that stand here, of which there are too many for one file
    "AlertHandled",
    "AlertRaised",
    "ArmMeasured",
    "DataQualityJudged",
    "DeploymentDecided",
    "DriftDetected",
    "Event",
    "ExpectationsLearned",
    "FeatureStateSaved",
    "FieldCorrelation",
    "FieldExpectation",
    "ManageAction",
    "ManageModel",
    "ModelMetricsMeasured",
    "MonitorStateSaved",
    "PairMeasured",
    "RolloutMeasured",
    "Severity",
    "Traffic",
    "TrainingProfileRecorded",
    "Value",
    "VariantScored",
)  # fmt: skip
RunStatus = Literal["STARTED", "SUCCEEDED", "FAILED"]
RunTrigger = Literal["FIRST_DATA", "DRIFT", "OPERATOR", "SCHEDULE"]
VersionStatus = Literal["REGISTERED", "REJECTED", "PROMOTED", "RETIRED"]


class LabelObserved(Event):
    """The truth about an earlier event, known later."""

    schema_name = "label-observed"

    event_id: str
    label: float | str
    label_time_ms: int


class SampleRecorded(Event):
    """A valid event with its features, or a label joined to its event."""

    schema_name = "sample-recorded"

    kind: Literal["EVENT", "LABEL"]
    event_id: str
    entity: str
    time_ms: int
    feature_set: str
    features: tuple[float, ...]
    event: bytes | None
    label: float | None
    source_topic: str
    source_partition: int
    source_offset: int
    source_time_ms: int
    flags: str | None = None


class PredictionMade(Event):
    """One prediction of one version for one sample."""

    schema_name = "prediction-made"

    prediction_id: str
    event_id: str
    entity: str
    model: str
    version: int
    variant: str
    epoch: int
    value: float
    label: str | None
    scores: tuple[float, ...]
    event_time_ms: int
    predicted_at_ms: int
    sample_partition: int
    sample_offset: int


class ObservationsRecorded(Event):
    """Features, predictions and labels of one micro-batch, column by column, in samples order."""

    schema_name = "observations-recorded"

    model: str
    partition: int
    from_offset: int
    until_offset: int
    epoch: int
    rows: int
    frame: bytes
    recorded_at_ms: int
    champion_version: int = 0
    rollout_id: str | None = None
    variants: tuple[VariantScored, ...] = ()


class OffsetRange(Value):
    """A half-open range of one partition of the log."""

    topic: str
    partition: int
    from_offset: int
    until_offset: int


class OffsetMark(Value):
    """How far somebody had read: ``offset`` is the first one not read."""

    topic: str
    partition: int
    offset: int


class FeatureProfile(Value):
    """One feature over a snapshot."""

    name: str
    mean: float
    std: float
    min: float
    max: float
    missing_share: float


class DataSnapshotTaken(Event):
    """A training set by reference."""

    schema_name = "data-snapshot-taken"

    snapshot_id: str
    stream: str
    feature_set: str
    ranges: tuple[OffsetRange, ...]
    table_version: int | None
    rows: int
    labelled_rows: int
    from_time_ms: int
    until_time_ms: int
    profile: tuple[FeatureProfile, ...]
    taken_at_ms: int
    content_sha256: str | None = None


class RetrainModel(Event):
    """A request to train again, with its cause."""

    schema_name = "retrain-model"

    request_id: str
    model: str
    reason: Literal["DRIFT", "OPERATOR", "SCHEDULE"]
    caused_by: str | None
    message: str
    since_time_ms: int | None
    until: tuple[OffsetMark, ...]
    requested_by: str
    requested_at_ms: int
    import_sha256: str | None = None
    sample_sha256: str | None = None
    evidence: tuple[str, ...] = ()
    recurs_version: int | None = None


class CheckResult(Value):
    """One named test of a candidate."""

    name: str
    passed: bool
    value: float
    limit: float
    message: str


class RunProgress(Value):
    """How far a run is."""

    stage: str
    step: int
    steps: int
    message: str
    values: Mapping[str, float]


class TrainingRunChanged(Event):
    """A training run began, succeeded or failed."""

    schema_name = "training-run-changed"

    run_id: str
    model: str
    status: RunStatus
    trigger: RunTrigger
    caused_by: str
    ranges: tuple[OffsetRange, ...]
    feature_set: str
    code_hash: str
    seed: int
    train_rows: int
    holdout_rows: int
    artifact_sha256: str | None = None
    artifact_bytes: int | None = None
    metrics: Mapping[str, float] = Field(default_factory=dict)
    champion_version: int | None = None
    champion_metrics: Mapping[str, float] = Field(default_factory=dict)
    checks: tuple[CheckResult, ...] = ()
    error: str | None = None
    duration_s: float
    changed_at_ms: int
    excluded: tuple[OffsetRange, ...] = ()
    snapshot_id: str | None = None
    table_version: int | None = None
    rows_sha256: str | None = None
    config_hash: str | None = None
    lock_hash: str | None = None
    expectations_id: str | None = None
    because: str = ""
    source: str = "trained"
    family: str = ""
    params: Mapping[str, str] = Field(default_factory=dict)
    window: str = ""
    baselines: Mapping[str, float] = Field(default_factory=dict)
    backend: str = "local"
    golden_sha256: str | None = None
    record_sha256: str | None = None
    progress: RunProgress | None = None


class ModelVersionChanged(Event):
    """A fact in the life of a model version."""

    schema_name = "model-version-changed"

    change_id: str
    model: str
    version: int | None
    status: VersionStatus
    run_id: str
    artifact_sha256: str | None
    feature_set: str
    metrics: Mapping[str, float]
    reasons: tuple[str, ...]
    caused_by: str
    changed_at_ms: int
    space: str = "production"
    approved_by: tuple[str, ...] = ()
    source: str = "trained"
    golden_sha256: str | None = None
    signature: str | None = None
    key_id: str | None = None


class ServingStatusReported(Event):
    """What a serving process really does with a deployment."""

    schema_name = "serving-status-reported"

    model: str
    process: str
    partition: int
    epoch: int
    version: int
    status: Literal["SERVING", "FAILED"]
    from_offset: int
    reason: str | None
    reported_at_ms: int


class AuditRecorded(Event):
    """Who decided what, and why."""

    schema_name = "audit-recorded"

    audit_id: str
    actor: str
    action: str
    subject: str
    reason: str
    caused_by: str | None
    recorded_at_ms: int
    model: str | None = None
    version: int | None = None
    epoch: int | None = None
    outcome: str = "ACCEPTED"
    space: str | None = None


EVENTS: tuple[type[Event], ...] = (
    LabelObserved, SampleRecorded, PredictionMade, ObservationsRecorded, DataSnapshotTaken, RetrainModel,
    TrainingRunChanged, ModelVersionChanged, DeploymentDecided, ServingStatusReported, ModelMetricsMeasured,
    DriftDetected, AlertRaised, AuditRecorded, ExpectationsLearned, DataQualityJudged, FeatureStateSaved,
    RolloutMeasured, ManageModel, TrainingProfileRecorded, MonitorStateSaved, AlertHandled,
)  # fmt: skip
