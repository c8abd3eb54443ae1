"""The events about data itself: what was learned of it, how it was judged, and what ingest remembers. See events.py."""

from typing import Literal

from millrace.contracts.event_base import Event, Severity, Value


class FieldExpectation(Value):
    """One field of the event over the training rows."""

    name: str
    kind: Literal["NUMBER", "TEXT"]
    missing_share: float
    min: float | None
    max: float | None
    mean: float | None
    std: float | None
    quantiles: tuple[float, ...]
    categories: tuple[str, ...]
    category_shares: tuple[float, ...]


class FieldCorrelation(Value):
    """Two fields that move together."""

    first: str
    second: str
    value: float


class ExpectationsLearned(Event):
    """What the training rows of a version look like, for ingest to hold new events to."""

    schema_name = "expectations-learned"

    expectations_id: str
    model: str
    run_id: str
    artifact_sha256: str
    feature_set: str
    rows: int
    fields: tuple[FieldExpectation, ...]
    correlations: tuple[FieldCorrelation, ...]
    events_per_hour: float | None
    learned_at_ms: int


class DataQualityJudged(Event):
    """A window of arriving events was found unlike what the serving version was trained on."""

    schema_name = "data-quality-judged"

    judgement_id: str
    stream: str
    model: str
    partition: int
    check: str
    subject: str
    severity: Severity
    from_offset: int
    until_offset: int
    from_event_offset: int
    until_event_offset: int
    rows: int
    observed: float
    expected: float
    message: str
    expectations_id: str | None
    vetoes: bool
    judged_at_ms: int


class FeatureStateSaved(Event):
    """A part of what ingest remembers of one partition, as of an offset of the samples log."""

    schema_name = "feature-state-saved"

    stream: str
    partition: int
    feature_set: str
    config_hash: str
    until_offset: int
    ids_from_offset: int
    kind: str
    part: int
    parts: int
    frame: bytes
    saved_at_ms: int
