"""The console's tables: what the log says, arranged for pages. Nothing in them is a truth of their own.

Rules:

- Each table is filled from one topic, so that the order in which topics are read cannot make a difference; ``models``
  alone is put together from the others, see ``summary.py``.
- A row has the columns that are searched or sorted by, and ``body``: the event as JSON, as it stood in the log.
- Whatever a page asks for is found by an index, so that 10,000 runs cost a page no more than 100 do.
"""

import hashlib
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Float, Index, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RULES = 1
"""Grows when ``apply.py`` reads the same events differently, so that older databases are rebuilt."""


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, int: BigInteger, float: Float}


def _key(**options: Any) -> Any:
    return mapped_column(primary_key=True, autoincrement=False, **options)


class Layout(Base):
    """One row: which layout the other tables have."""

    __tablename__ = "layout"
    fingerprint: Mapped[str] = _key()


class Position(Base):
    """How far a topic has been read; changed in the transaction that applies what was read."""

    __tablename__ = "positions"
    topic: Mapped[str] = _key()
    next_offset: Mapped[int]


class Model(Base):
    """One model as the overview shows it: ``body`` is its summary. The lower its ``urgency``, the more it needs one."""

    __tablename__ = "models"
    model: Mapped[str] = _key()
    state: Mapped[str] = mapped_column(index=True)
    urgency: Mapped[int]
    body: Mapped[str]
    __table_args__ = (Index("models_by_urgency", "urgency", "model"),)


class Run(Base):
    """A run's newest fact besides progress; ``number`` is the offset of its first event, by which runs are sorted."""

    __tablename__ = "runs"
    model: Mapped[str] = _key()
    run_id: Mapped[str] = _key()
    number: Mapped[int]
    log_offset: Mapped[int]
    status: Mapped[str]
    trigger: Mapped[str]
    caused_by: Mapped[str] = mapped_column(index=True)
    began_at_ms: Mapped[int]
    changed_at_ms: Mapped[int]
    body: Mapped[str]
    progress: Mapped[str | None]
    __table_args__ = (
        Index("runs_by_number", "number"),
        Index("runs_of_model", "model", "number"),
        Index("runs_of_model_by_status", "model", "status", "number"),
        Index("runs_by_status", "status", "number"),
        Index("runs_by_trigger", "trigger", "number"),
    )


class Stage(Base):
    """How far a run was at a time."""

    __tablename__ = "stages"
    log_offset: Mapped[int] = _key()
    model: Mapped[str]
    run_id: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (Index("stages_of_run", "model", "run_id", "log_offset"),)


class Change(Base):
    """Every fact in the life of versions, rejections among them."""

    __tablename__ = "changes"
    log_offset: Mapped[int] = _key()
    change_id: Mapped[str]
    model: Mapped[str]
    version: Mapped[int | None]
    status: Mapped[str]
    run_id: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (
        Index("changes_of_model", "model", "status", "log_offset"),
        Index("changes_of_version", "model", "version", "log_offset"),
        Index("changes_of_run", "model", "run_id", "log_offset"),
    )


class Deployment(Base):
    """Every deployment; the greatest epoch is in force."""

    __tablename__ = "deployments"
    model: Mapped[str] = _key()
    epoch: Mapped[int] = _key()
    log_offset: Mapped[int]
    caused_by: Mapped[str] = mapped_column(index=True)
    at_ms: Mapped[int]
    champion: Mapped[int | None]
    body: Mapped[str]


class Serving(Base):
    """What serving said about a partition under an epoch: when it took effect, and the newest report."""

    __tablename__ = "serving"
    model: Mapped[str] = _key()
    partition: Mapped[int] = _key()
    epoch: Mapped[int] = _key()
    status: Mapped[str] = _key()
    first_at_ms: Mapped[int]
    body: Mapped[str]


class Drift(Base):
    """What a detector found."""

    __tablename__ = "drifts"
    drift_id: Mapped[str] = _key()
    log_offset: Mapped[int]
    model: Mapped[str]
    severity: Mapped[str]
    subject: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (
        Index("drifts_of_model", "model", "log_offset"),
        Index("drifts_of_model_by_severity", "model", "severity", "log_offset"),
        Index("drifts_of_model_by_subject", "model", "subject", "log_offset"),
    )


class Measured(Base):
    """The newest measurement of a version, variant and slice in a partition."""

    __tablename__ = "measured"
    model: Mapped[str] = _key()
    version: Mapped[int] = _key()
    source: Mapped[str] = _key()
    variant: Mapped[str] = _key()
    slice: Mapped[str] = _key()
    partition: Mapped[int] = _key()
    at_ms: Mapped[int]
    body: Mapped[str]


class Point(Base):
    """One metric of one measurement. The key clusters the rows by what a line of a chart shows."""

    __tablename__ = "points"
    model: Mapped[str] = _key()
    metric: Mapped[str] = _key()
    slice: Mapped[str] = _key()
    source: Mapped[str] = _key()
    version: Mapped[int] = _key()
    variant: Mapped[str] = _key()
    partition: Mapped[int] = _key()
    until_offset: Mapped[int] = _key()
    time_ms: Mapped[int]
    wall_ms: Mapped[int]
    value: Mapped[float]
    low: Mapped[float | None]
    high: Mapped[float | None]
    rows: Mapped[int]
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012  # SQLAlchemy's way


class Asked(Base):
    """What was asked for: of the trainer (``retrain``), or of the registry (``manage``)."""

    __tablename__ = "asked"
    request_id: Mapped[str] = _key()
    kind: Mapped[str]
    log_offset: Mapped[int]
    model: Mapped[str]
    caused_by: Mapped[str | None] = mapped_column(index=True)
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (Index("asked_of_model", "model", "kind", "log_offset"),)


class Audit(Base):
    """Who did what, accepted or refused; once for each id. ``model`` is filled for old records too."""

    __tablename__ = "audits"
    audit_id: Mapped[str] = _key()
    log_offset: Mapped[int]
    model: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str]
    outcome: Mapped[str]
    caused_by: Mapped[str | None] = mapped_column(index=True)
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (
        Index("audits_by_offset", "log_offset"),
        Index("audits_of_model", "model", "log_offset"),
        Index("audits_of_actor", "actor", "log_offset"),
        Index("audits_of_action", "action", "log_offset"),
    )


class Alert(Base):
    """An alert. ``group_key`` is the same for those with the same service, reason and subject."""

    __tablename__ = "alerts"
    log_offset: Mapped[int] = _key()
    alert_id: Mapped[str] = mapped_column(index=True)
    group_key: Mapped[str]
    model: Mapped[str | None]
    severity: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (
        Index("alerts_by_group", "group_key", "log_offset"),
        Index("alerts_of_model", "model", "log_offset"),
    )


class AlertGroup(Base):
    """The alerts of one group in one row: the newest of them, and how many there were."""

    __tablename__ = "alert_groups"
    group_key: Mapped[str] = _key()
    last_offset: Mapped[int] = mapped_column(index=True)
    model: Mapped[str | None]
    count: Mapped[int]
    first_at_ms: Mapped[int]
    last_at_ms: Mapped[int]
    critical_from_ms: Mapped[int | None]
    body: Mapped[str]


class Handling(Base):
    """What somebody did about alerts."""

    __tablename__ = "handlings"
    handling_id: Mapped[str] = _key()
    log_offset: Mapped[int] = mapped_column(index=True)
    at_ms: Mapped[int]
    body: Mapped[str]


class Evidence(Base):
    """The newest measurement of a rollout's epoch in a partition."""

    __tablename__ = "evidence"
    model: Mapped[str] = _key()
    rollout_id: Mapped[str] = _key()
    epoch: Mapped[int] = _key()
    partition: Mapped[int] = _key()
    until_offset: Mapped[int]
    body: Mapped[str]


class Quality(Base):
    """A window of events that was found unlike the training rows."""

    __tablename__ = "quality"
    judgement_id: Mapped[str] = _key()
    log_offset: Mapped[int]
    stream: Mapped[str]
    model: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (
        Index("quality_of_stream", "stream", "log_offset"),
        Index("quality_of_model", "model", "log_offset"),
    )


class Letter(Base):
    """A refused record: what a list shows of it. The record itself stays in the log."""

    __tablename__ = "letters"
    topic: Mapped[str] = _key()
    partition: Mapped[int] = _key()
    log_offset: Mapped[int] = _key()
    at_ms: Mapped[int]
    reason: Mapped[str]
    body: Mapped[str]
    __table_args__ = (
        Index("letters_by_time", "topic", "at_ms", "partition", "log_offset"),
        Index("letters_by_reason", "topic", "reason", "at_ms", "partition", "log_offset"),
    )


class Snapshot(Base):
    """A snapshot of a stream's data."""

    __tablename__ = "snapshots"
    snapshot_id: Mapped[str] = _key()
    log_offset: Mapped[int]
    stream: Mapped[str]
    at_ms: Mapped[int]
    body: Mapped[str]
    __table_args__ = (Index("snapshots_of_stream", "stream", "log_offset"),)


def fingerprint() -> str:
    """Hash of every table's columns and of the rules that fill them: equal where a database can be kept."""
    columns = [
        f"{table.name}.{column.name} {column.type!r} {column.nullable} {column.primary_key}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
    ]
    indexes = sorted(index.name or "" for table in Base.metadata.sorted_tables for index in table.indexes)
    return hashlib.sha256("\n".join([str(RULES), *columns, *indexes]).encode()).hexdigest()
