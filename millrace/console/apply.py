"""Events as rows. Each kind of event has one function; a batch becomes one statement for each table.

Rules:

- What is the same fact twice is one row: ids are the keys, and the first one stays.
- What replaces an earlier fact (a run's newest state, a partition's newest measurement) does so in the statement
  itself, so that a batch needs no reading.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func
from sqlalchemy.dialects.sqlite import Insert, insert

from millrace.bus.deadletter import replays, why
from millrace.bus.types import Record
from millrace.console import tables
from millrace.console.tables import Base
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

CHAMPION = "champion"
OF_A_VERSION = re.compile(r"(?P<model>\S+) version \d+")


class Row(NamedTuple):
    """What goes into a table."""

    table: type[Base]
    values: dict[str, Any]


def apply_letters(connection: Connection, letters: Sequence[Record]) -> None:
    """Write the rows of refused records."""
    if letters:
        connection.execute(_statement(tables.Letter), [_letter(letter) for letter in letters])


def apply(connection: Connection, events: Sequence[tuple[int, Event]]) -> frozenset[str]:
    """Write these events' rows. Returns the models that they are about."""
    rows: dict[type[Base], list[dict[str, Any]]] = defaultdict(list)
    models = set()
    for offset, event in events:
        for row in ROWS[type(event)](offset, event):
            rows[row.table].append(row.values)
        if model := model_of(event):
            models.add(model)
    for table, values in rows.items():
        connection.execute(_statement(table), values)
    return frozenset(models)


def model_of(event: Event) -> str | None:
    """The model that an event is about; None where it is about none.

    An older audit record of the registry names its model only in its subject, ``<model> version N``. Any other subject
    may be a stream, a place in a topic or a pseudonym: it is no model.
    """
    model: str | None = getattr(event, "model", None)
    if model is None and isinstance(event, AuditRecorded) and (named := OF_A_VERSION.fullmatch(event.subject)):
        return named["model"]
    return model


def group_key(alert: AlertRaised) -> str:
    """The same for alerts that are about the same thing."""
    return f"{alert.service}\n{alert.reason}\n{alert.subject}"


def champion_of(event: DeploymentDecided) -> int | None:
    """The version that a deployment makes champion."""
    return next((part.version for part in event.traffic if part.variant == CHAMPION), None)


def _run(offset: int, event: TrainingRunChanged) -> Iterator[Row]:
    progress = None if event.progress is None else event.progress.model_dump_json()
    yield Row(tables.Run, {
        "model": event.model, "run_id": event.run_id, "number": offset, "log_offset": offset, "status": event.status,
        "trigger": event.trigger, "caused_by": event.caused_by, "began_at_ms": event.changed_at_ms,
        "changed_at_ms": event.changed_at_ms, "progress": progress,
        "body": event.model_copy(update={"progress": None}).model_dump_json(),
    })  # fmt: skip
    if progress is not None:
        yield Row(tables.Stage, {"log_offset": offset, "model": event.model, "run_id": event.run_id,
                                 "at_ms": event.changed_at_ms, "body": progress})  # fmt: skip


def _change(offset: int, event: ModelVersionChanged) -> Iterator[Row]:
    yield Row(tables.Change, {
        "log_offset": offset, "change_id": event.change_id, "model": event.model, "version": event.version,
        "status": event.status, "run_id": event.run_id, "at_ms": event.changed_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _deployment(offset: int, event: DeploymentDecided) -> Iterator[Row]:
    yield Row(tables.Deployment, {
        "model": event.model, "epoch": event.epoch, "log_offset": offset, "caused_by": event.caused_by,
        "at_ms": event.decided_at_ms, "champion": champion_of(event), "body": event.model_dump_json(),
    })  # fmt: skip


def _serving(offset: int, event: ServingStatusReported) -> Iterator[Row]:
    del offset
    yield Row(tables.Serving, {
        "model": event.model, "partition": event.partition, "epoch": event.epoch, "status": event.status,
        "first_at_ms": event.reported_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _drift(offset: int, event: DriftDetected) -> Iterator[Row]:
    yield Row(tables.Drift, {
        "drift_id": event.drift_id, "log_offset": offset, "model": event.model, "severity": event.severity,
        "subject": event.subject, "at_ms": event.detected_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _metrics(offset: int, event: ModelMetricsMeasured) -> Iterator[Row]:
    del offset
    of = {"model": event.model, "version": event.version, "source": event.source, "variant": event.variant,
          "slice": event.slice, "partition": event.partition}  # fmt: skip
    yield Row(tables.Measured, {**of, "at_ms": event.measured_at_ms, "body": event.model_dump_json()})
    for name, value in event.metrics.items():
        if math.isfinite(value):
            yield Row(tables.Point, {
                **of, "metric": name, "until_offset": event.until_offset, "time_ms": event.until_time_ms,
                "wall_ms": event.measured_at_ms, "value": value, "low": _finite(event.low.get(name)),
                "high": _finite(event.high.get(name)), "rows": event.window_rows,
            })  # fmt: skip


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _retrain(offset: int, event: RetrainModel) -> Iterator[Row]:
    yield _asked(offset, event, "retrain", event.caused_by)


def _manage(offset: int, event: ManageModel) -> Iterator[Row]:
    yield _asked(offset, event, "manage", None)


def _asked(offset: int, event: RetrainModel | ManageModel, kind: str, caused_by: str | None) -> Row:
    return Row(tables.Asked, {
        "request_id": event.request_id, "kind": kind, "log_offset": offset, "model": event.model,
        "caused_by": caused_by, "at_ms": event.requested_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _audit(offset: int, event: AuditRecorded) -> Iterator[Row]:
    yield Row(tables.Audit, {
        "audit_id": event.audit_id, "log_offset": offset, "model": model_of(event) or event.subject,
        "actor": event.actor, "action": event.action, "outcome": event.outcome, "caused_by": event.caused_by,
        "at_ms": event.recorded_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _alert(offset: int, event: AlertRaised) -> Iterator[Row]:
    of = {"group_key": group_key(event), "model": event.model, "body": event.model_dump_json()}
    yield Row(tables.Alert, {
        **of, "log_offset": offset, "alert_id": event.alert_id, "severity": event.severity, "at_ms": event.raised_at_ms,
    })  # fmt: skip
    yield Row(tables.AlertGroup, {
        **of, "last_offset": offset, "count": 1, "first_at_ms": event.raised_at_ms, "last_at_ms": event.raised_at_ms,
        "critical_from_ms": event.raised_at_ms if event.severity == "CRITICAL" else None,
    })  # fmt: skip


def _handled(offset: int, event: AlertHandled) -> Iterator[Row]:
    yield Row(tables.Handling, {
        "handling_id": event.handling_id, "log_offset": offset, "at_ms": event.handled_at_ms,
        "body": event.model_dump_json(),
    })  # fmt: skip


def _evidence(offset: int, event: RolloutMeasured) -> Iterator[Row]:
    del offset
    yield Row(tables.Evidence, {
        "model": event.model, "rollout_id": event.rollout_id, "epoch": event.epoch, "partition": event.partition,
        "until_offset": event.until_offset, "body": event.model_dump_json(),
    })  # fmt: skip


def _quality(offset: int, event: DataQualityJudged) -> Iterator[Row]:
    yield Row(tables.Quality, {
        "judgement_id": event.judgement_id, "log_offset": offset, "stream": event.stream, "model": event.model,
        "at_ms": event.judged_at_ms, "body": event.model_dump_json(),
    })  # fmt: skip


def _snapshot(offset: int, event: DataSnapshotTaken) -> Iterator[Row]:
    record = event.model_dump(exclude={"ranges"})
    yield Row(tables.Snapshot, {
        "snapshot_id": event.snapshot_id, "log_offset": offset, "stream": event.stream, "at_ms": event.taken_at_ms,
        "body": json.dumps(record),
    })  # fmt: skip


def _letter(record: Record) -> dict[str, Any]:
    told = why(record)
    body = {
        "message": told["message"], "origin": f"{told['topic']}/{told['partition']}/{told['offset']}",
        "key": None if record.key is None else record.key.decode(errors="replace"), "bytes": len(record.value or b""),
        "replays": replays(record),
    }  # fmt: skip
    return {"topic": record.topic, "partition": record.partition, "log_offset": record.offset,
            "at_ms": record.timestamp_ms, "reason": told["reason"], "body": json.dumps(body)}  # fmt: skip


ROWS: Mapping[type[Event], Callable[[int, Any], Iterable[Row]]] = {
    TrainingRunChanged: _run,
    ModelVersionChanged: _change,
    DeploymentDecided: _deployment,
    ServingStatusReported: _serving,
    ModelMetricsMeasured: _metrics,
    DriftDetected: _drift,
    RetrainModel: _retrain,
    ManageModel: _manage,
    AuditRecorded: _audit,
    AlertRaised: _alert,
    AlertHandled: _handled,
    RolloutMeasured: _evidence,
    DataQualityJudged: _quality,
    DataSnapshotTaken: _snapshot,
}


@cache
def _statement(table: type[Base]) -> Insert:
    """How rows of a table are written where the key is known already."""
    made = insert(table)
    new, old = made.excluded, table.__table__.c
    keys = [column.name for column in table.__table__.primary_key]
    if table is tables.Run:
        is_progress = new.progress.is_not(None)
        return made.on_conflict_do_update(keys, where=old.status != "SUCCEEDED", set_={
            "log_offset": new.log_offset, "status": new.status, "progress": new.progress,
            "changed_at_ms": new.changed_at_ms, "body": case((is_progress, old.body), else_=new.body),
            "began_at_ms": case(((new.status == "STARTED") & ~is_progress, new.changed_at_ms), else_=old.began_at_ms),
        })  # fmt: skip
    if table is tables.Serving:
        return made.on_conflict_do_update(keys, set_={"body": new.body})
    if table is tables.Measured:
        return made.on_conflict_do_update(keys, set_={"body": new.body, "at_ms": new.at_ms})
    if table is tables.AlertGroup:
        return made.on_conflict_do_update(keys, set_={
            "last_offset": new.last_offset, "count": old.count + 1, "last_at_ms": new.last_at_ms, "body": new.body,
            "model": new.model, "critical_from_ms": func.coalesce(old.critical_from_ms, new.critical_from_ms),
        })  # fmt: skip
    if table is tables.Evidence:
        farther = new.until_offset >= old.until_offset
        return made.on_conflict_do_update(
            keys, where=farther, set_={"until_offset": new.until_offset, "body": new.body}
        )
    return made.on_conflict_do_nothing()
