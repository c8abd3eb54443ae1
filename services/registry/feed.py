"""The log of decisions as server-sent events: what the projection holds of it, and what comes while somebody listens.

The id of an event says how far each topic was told, so a stream that broke goes on exactly after it, at any registry
that reads the same log. Within a topic the order is the log's; between topics it is that of the times.
"""

import heapq
import json
import math
import sqlite3
from collections.abc import AsyncIterator, Mapping
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from millrace.bus.tasks import InThread
from millrace.contracts import topics
from millrace.contracts.events import AuditRecorded, DeploymentDecided, Event, ModelVersionChanged
from millrace.telemetry.log import get_logger
from services.registry.news import News
from services.registry.projection import Projection
from services.registry.rows import event_of
from services.registry.tables import Audit, Change, Deployment

log = get_logger(__name__)
HEARTBEAT_S = 15.0
BATCH = 500
RETRY_MS = 2000
Place = dict[str, int]  # per topic the first offset that was not told
DECISIONS: Mapping[str, tuple[Any, Any, type[Event], Any]] = {  # table, its model's column, event, its time
    topics.MODEL_VERSIONS.suffix: (Change, Change.model, ModelVersionChanged, Change.changed_at_ms),
    topics.DEPLOYMENTS.suffix: (Deployment, Deployment.model, DeploymentDecided, Deployment.decided_at_ms),
    topics.AUDIT_EVENTS.suffix: (Audit, Audit.about, AuditRecorded, Audit.recorded_at_ms),
}


class PlaceError(ValueError):
    """An id that no event of a stream had."""


class Feed:
    """Streams for as many listeners as come.

    ``heartbeat_s`` is how long a stream is silent at most, ``batch`` how many rows of each table are asked for at once.
    """

    def __init__(
        self,
        projection: Projection,
        in_thread: InThread,
        news: News,
        heartbeat_s: float = HEARTBEAT_S,
        batch: int = BATCH,
    ) -> None:
        self._projection = projection
        self._in_thread = in_thread
        self._news = news
        self._heartbeat_s = heartbeat_s
        self._batch = batch

    async def place(self, last_id: str | None, *, live: bool) -> Place:
        """Where a stream begins. Raises ``PlaceError`` for an id that is none."""
        if last_id is not None:
            return parsed(last_id)
        return await self._in_thread(self._ends) if live else dict.fromkeys(DECISIONS, 0)

    async def stream(self, model: str, place: Place) -> AsyncIterator[bytes]:
        """What was decided about a model, then what is being decided, until the service stops or nobody listens."""
        yield f"retry: {RETRY_MS}\n\n".encode()
        place = dict(place)
        while not self._news.closed:
            seen = self._news.number
            try:
                found = await self._in_thread(self._after, model, place)
            except (SQLAlchemyError, sqlite3.Error) as error:  # the listener comes back with its last id
                log.warning("event stream ended: the database does not answer", error=str(error))
                return
            for _, topic, offset, event in found:
                place[topic] = offset + 1
                yield _sent(place, event)
            silent = not found and not await self._news.after(seen, self._heartbeat_s)
            if silent and not self._news.closed:
                yield b": nothing new\n\n"

    def _after(self, model: str, place: Place) -> list[tuple[int, str, int, Event]]:
        """The next decisions from a place on, up to the time that all topics were read to."""
        with self._projection.session() as session:
            parts = [_of_topic(session, topic, model, place[topic], self._batch) for topic in DECISIONS]
        merged = list(heapq.merge(*parts, key=lambda one: one[0]))
        horizon = min((part[-1][0] for part in parts if len(part) == self._batch), default=None)
        if horizon is None:
            return merged
        known = next((place for place, one in enumerate(merged) if one[0] > horizon), len(merged))
        return merged[: max(1, known)]  # at least one: wall time may have gone back

    def _ends(self) -> Place:
        with self._projection.session() as session:
            return {
                topic: session.scalar(select(func.coalesce(func.max(table.log_offset), -1) + 1)) or 0
                for topic, (table, _, _, _) in DECISIONS.items()
            }


def parsed(last_id: str) -> Place:
    """The place after the event with this id.

    >>> parsed("model-versions=3,deployments=1,audit-events=7")["deployments"]
    1
    """
    parts = dict(part.partition("=")[::2] for part in last_id.split(","))
    if parts.keys() != DECISIONS.keys() or not all(part.isdecimal() for part in parts.values()):
        raise PlaceError(f"{last_id!r} is no id of this stream; leave Last-Event-ID out to begin at the beginning")
    return {topic: int(offset) for topic, offset in parts.items()}


def _of_topic(session: Session, topic: str, model: str, start: int, most: int) -> list[tuple[int, str, int, Event]]:
    table, name, kind, at_ms = DECISIONS[topic]
    rows = session.execute(
        select(table, at_ms)
        .where(name == model, table.log_offset >= start)
        .order_by(table.log_offset)
        .limit(most)
    )  # fmt: skip
    return [(int(time), topic, row.log_offset, event_of(kind, row)) for row, time in rows]


def _sent(place: Place, event: Event) -> bytes:
    identity = ",".join(f"{topic}={offset}" for topic, offset in place.items())
    data = json.dumps(_numbers(event.model_dump()), allow_nan=False, default=str)
    return f"id: {identity}\nevent: {event.schema_name}\ndata: {data}\n\n".encode()


def _numbers(value: Any) -> Any:
    """The value with null for what is no number: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_numbers(item) for item in value]
    return value
