"""The projection's tables: what the log says, arranged for questions. Nothing in them is a truth of their own.

Each table is filled from one topic only, so that the order in which topics are read cannot make a difference.
"""

import hashlib
import json
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Dialect, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

RULES = 1
"""Grows when ``projection.py`` reads the same events differently, so that older projections are rebuilt."""


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


class Version(Base):
    """A registered version and its newest status."""

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


class Deployment(Base):
    """Every deployment; the greatest epoch is in force."""

    __tablename__ = "deployments"

    model: Mapped[str] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    deployment_id: Mapped[str]
    traffic: Mapped[list[dict[str, Any]]]
    scoring_since_ms: Mapped[int]
    caused_by: Mapped[str]
    reason: Mapped[str]
    decided_by: Mapped[str]
    decided_at_ms: Mapped[int]


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


def fingerprint() -> str:
    """Hash of every table's columns and of the rules that fill them: equal where a projection can be kept."""
    columns = [
        f"{table.name}.{column.name} {column.type!r} {column.nullable} {column.primary_key}"
        for table in Base.metadata.sorted_tables
        for column in table.columns
    ]
    return hashlib.sha256("\n".join([str(RULES), *sorted(columns)]).encode()).hexdigest()
