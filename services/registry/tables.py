"""The projection's tables: what the log says, arranged for questions. Nothing in them is a truth of their own.

Each table is filled from one topic only, so that the order in which topics are read cannot make a difference.
"""

import hashlib
import json
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Dialect, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RULES = 2
"""Grows when ``apply.py`` reads the same events differently, so that older projections are rebuilt."""


class Words(TypeDecorator[str]):
    """Text of any origin. PostgreSQL refuses the NUL character, so it is shown as the replacement character."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """What is stored."""
        del dialect
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class Json(TypeDecorator[Any]):
    """JSON as text: metrics may be NaN, which PostgreSQL's own JSON type refuses."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """What is stored."""
        del dialect
        return None if value is None else json.dumps(value, sort_keys=True, default=dict)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """What was stored."""
        del dialect
        return None if value is None else json.loads(value)


class Base(DeclarativeBase):
    """All tables of the projection."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Words,
        int: BigInteger,
        dict[str, float]: Json,
        dict[str, str]: Json,
        list[str]: Json,
        list[dict[str, Any]]: Json,
    }


class Layout(Base):
    """One row: which layout the other tables have."""

    __tablename__ = "millrace_layout"

    fingerprint: Mapped[str] = mapped_column(primary_key=True)


class Position(Base):
    """How far a topic has been read; changed in the transaction that applies what was read."""

    __tablename__ = "positions"

    topic: Mapped[str] = mapped_column(primary_key=True)
    next_offset: Mapped[int]


class Run(Base):
    """A training run's newest state; SUCCEEDED is final."""

    __tablename__ = "runs"

    model: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(primary_key=True)
    log_offset: Mapped[int]
    status: Mapped[str]
    trigger: Mapped[str]
    caused_by: Mapped[str]
    feature_set: Mapped[str]
    code_hash: Mapped[str]
    seed: Mapped[int]
    train_rows: Mapped[int]
    holdout_rows: Mapped[int]
    artifact_sha256: Mapped[str | None]
    metrics: Mapped[dict[str, float]]
    champion_version: Mapped[int | None]
    champion_metrics: Mapped[dict[str, float]]
    checks: Mapped[list[dict[str, Any]]]
    error: Mapped[str | None]
    duration_s: Mapped[float]
    changed_at_ms: Mapped[int]
    snapshot_id: Mapped[str | None]
    table_version: Mapped[int | None]
    rows_sha256: Mapped[str | None]
    config_hash: Mapped[str | None]
    lock_hash: Mapped[str | None]
    expectations_id: Mapped[str | None]
    ranges: Mapped[list[dict[str, Any]]]
    excluded: Mapped[list[dict[str, Any]]]
    because: Mapped[str]
    source: Mapped[str]
    family: Mapped[str]
    params: Mapped[dict[str, str]]
    window: Mapped[str]
    baselines: Mapped[dict[str, float]]
    backend: Mapped[str]
    golden_sha256: Mapped[str | None]
    record_sha256: Mapped[str | None]


class Version(Base):
    """A registered version, its newest status, and the space that it was about."""

    __tablename__ = "versions"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str]
    run_id: Mapped[str]
    artifact_sha256: Mapped[str | None]
    feature_set: Mapped[str]
    metrics: Mapped[dict[str, float]]
    reasons: Mapped[list[str]]
    registered_at_ms: Mapped[int]
    changed_at_ms: Mapped[int]
    space: Mapped[str]
    approved_by: Mapped[list[str]]
    source: Mapped[str]
    golden_sha256: Mapped[str | None]
    signature: Mapped[str | None]
    key_id: Mapped[str | None]


class Change(Base):
    """Every fact in the life of versions, rejections among them, in log order."""

    __tablename__ = "version_changes"

    log_offset: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    change_id: Mapped[str] = mapped_column(index=True)
    model: Mapped[str] = mapped_column(index=True)
    version: Mapped[int | None]
    status: Mapped[str]
    run_id: Mapped[str] = mapped_column(index=True)
    artifact_sha256: Mapped[str | None]
    feature_set: Mapped[str]
    metrics: Mapped[dict[str, float]]
    reasons: Mapped[list[str]]
    caused_by: Mapped[str]
    changed_at_ms: Mapped[int]
    space: Mapped[str]
    approved_by: Mapped[list[str]]
    source: Mapped[str]
    golden_sha256: Mapped[str | None]
    signature: Mapped[str | None]
    key_id: Mapped[str | None]


class Deployment(Base):
    """Every deployment; the greatest epoch is in force."""

    __tablename__ = "deployments"

    model: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log_offset: Mapped[int]
    deployment_id: Mapped[str]
    traffic: Mapped[list[dict[str, Any]]]
    scoring_since_ms: Mapped[int]
    caused_by: Mapped[str]
    reason: Mapped[str]
    decided_by: Mapped[str]
    decided_at_ms: Mapped[int]
    kind: Mapped[str]
    strategy: Mapped[str]
    rollout_id: Mapped[str | None]
    step: Mapped[int]
    unit: Mapped[str]
    space: Mapped[str]
    evidence_id: Mapped[str | None]


class Serving(Base):
    """What serving said about a partition under an epoch: when it took effect, and the newest report."""

    __tablename__ = "serving"

    model: Mapped[str] = mapped_column(primary_key=True)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    status: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int]
    process: Mapped[str]
    from_offset: Mapped[int]
    reason: Mapped[str | None]
    first_at_ms: Mapped[int]
    reported_at_ms: Mapped[int]


class Audit(Base):
    """Who did what, accepted or refused; once for each id. ``about`` is the model, also of an old record."""

    __tablename__ = "audits"

    audit_id: Mapped[str] = mapped_column(primary_key=True)
    log_offset: Mapped[int]
    about: Mapped[str] = mapped_column(index=True)
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    reason: Mapped[str]
    caused_by: Mapped[str | None] = mapped_column(index=True)
    recorded_at_ms: Mapped[int]
    model: Mapped[str | None]
    version: Mapped[int | None]
    epoch: Mapped[int | None]
    outcome: Mapped[str]
    space: Mapped[str | None]


class Request(Base):
    """What a person asked of the registry; once for each id."""

    __tablename__ = "registry_requests"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    log_offset: Mapped[int]
    model: Mapped[str] = mapped_column(index=True)
    action: Mapped[str]
    version: Mapped[int | None]
    space: Mapped[str | None]
    expected_epoch: Mapped[int | None]
    immediate: Mapped[bool]
    reason: Mapped[str]
    requested_by: Mapped[str]
    requested_at_ms: Mapped[int]


class Retrain(Base):
    """A request to train again: between a run and the drift event that it goes back to."""

    __tablename__ = "retrain_requests"

    request_id: Mapped[str] = mapped_column(primary_key=True)
    log_offset: Mapped[int]
    model: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str]
    caused_by: Mapped[str | None]
    message: Mapped[str]
    requested_by: Mapped[str]
    requested_at_ms: Mapped[int]


class Evidence(Base):
    """The newest measurement of a rollout's epoch in a partition: the one that reaches farthest."""

    __tablename__ = "evidence"

    model: Mapped[str] = mapped_column(primary_key=True)
    rollout_id: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    partition: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    log_offset: Mapped[int]
    evidence_id: Mapped[str]
    until_offset: Mapped[int]
    arms: Mapped[list[dict[str, Any]]]
    pairs: Mapped[list[dict[str, Any]]]
    until_time_ms: Mapped[int]
    measured_at_ms: Mapped[int]


def fingerprint() -> str:
    """Hash of every table's columns and of the rules that fill them: equal where a projection can be kept."""
    columns = [
        f"{table.name}.{column.name} {column.type!r} {column.nullable} {column.primary_key}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
    ]
    return hashlib.sha256("\n".join([str(RULES), *sorted(columns)]).encode()).hexdigest()
