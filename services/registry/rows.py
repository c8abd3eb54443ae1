"""The projection's rows as the events that they came from, so that one fold answers from the database and the log."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from millrace.contracts.events import (
    AuditRecorded,
    DeploymentDecided,
    Event,
    ManageModel,
    ModelVersionChanged,
    RetrainModel,
    RolloutMeasured,
    ServingStatusReported,
    TrainingRunChanged,
)
from services.registry.history import Life
from services.registry.tables import Audit, Base, Change, Deployment, Evidence, Request, Retrain, Run, Serving

E = TypeVar("E", bound=Event)
_Reader = Callable[[Session, str], Iterable[Event]]


Table = type[Run | Change | Deployment | Audit | Request | Retrain | Evidence | Serving]
OF_A_ROLLOUT: tuple[Table, ...] = (Change, Deployment, Audit, Request, Evidence)
"""What a question about the rollout under way needs."""


def life(session: Session, model: str, *only: Table) -> Life:
    """What the projection knows about one model; of these tables ``only``, if any are named."""
    wanted = only or tuple(_READERS)
    return Life.of(
        model, (event for table, read in _READERS.items() if table in wanted for event in read(session, model))
    )


def event_of(kind: type[E], row: Base, **missing: Any) -> E:
    """The event that a row came from; ``missing`` are fields that the table does not keep."""
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).columns}
    known = {name: value for name, value in values.items() if name in kind.model_fields}
    return kind.model_validate({**known, **missing})


def _plain(kind: type[Event], table: Any, name: Any, order: Any, **missing: Any) -> _Reader:
    """Reads a table whose rows are one event each, in the order of the log."""

    def read(session: Session, model: str) -> Iterator[Event]:
        for row in session.scalars(select(table).where(name == model).order_by(order)):
            yield event_of(kind, row, **missing)

    return read


def _serving(session: Session, model: str) -> Iterator[Event]:
    """The first and the newest report of each row."""
    for row in session.scalars(select(Serving).where(Serving.model == model).order_by(Serving.epoch)):
        newest = event_of(ServingStatusReported, row)
        yield newest.model_copy(update={"reported_at_ms": row.first_at_ms})  # when it took effect
        yield newest


_READERS: Mapping[Table, _Reader] = {
    Run: _plain(TrainingRunChanged, Run, Run.model, Run.log_offset),
    Change: _plain(ModelVersionChanged, Change, Change.model, Change.log_offset),
    Deployment: _plain(DeploymentDecided, Deployment, Deployment.model, Deployment.epoch),
    Audit: _plain(AuditRecorded, Audit, Audit.about, Audit.log_offset),
    Request: _plain(ManageModel, Request, Request.model, Request.log_offset),
    Retrain: _plain(RetrainModel, Retrain, Retrain.model, Retrain.log_offset, since_time_ms=None, until=()),
    Evidence: _plain(RolloutMeasured, Evidence, Evidence.model, Evidence.log_offset),
    Serving: _serving,
}
