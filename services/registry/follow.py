"""Keeps the projection at the head of the log: reads the topics from where the database says, for ever.

It belongs to no consumer group: the position stands in the database, in the transaction that changed the rows. Whatever
goes wrong, it looks again where the database is and goes on from there; decisions do not wait for it.
"""

import asyncio
import sqlite3
from collections.abc import Mapping

from sqlalchemy.exc import SQLAlchemyError

from millrace.bus.context import Context
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, MillraceError
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
from millrace.contracts.topics import topic_name
from millrace.telemetry.log import get_logger
from services.registry.effects import decoded
from services.registry.news import News
from services.registry.projection import MovedError, Projection

log = get_logger(__name__)
DATABASE_ERRORS = (SQLAlchemyError, sqlite3.Error, OSError)
FOLLOWED: Mapping[topics.TopicRow, type[Event]] = {
    topics.MODEL_VERSIONS: ModelVersionChanged,
    topics.DEPLOYMENTS: DeploymentDecided,
    topics.TRAINING_RUNS: TrainingRunChanged,
    topics.SERVING_STATUS: ServingStatusReported,
    topics.AUDIT_EVENTS: AuditRecorded,
    topics.REGISTRY_REQUESTS: ManageModel,
    topics.RETRAIN_REQUESTS: RetrainModel,
    topics.ROLLOUT_EVIDENCE: RolloutMeasured,
}
DECISIONS = frozenset({ModelVersionChanged, DeploymentDecided, AuditRecorded})  # what others wait for: see ``news``


class Follower:
    """Fills the projection, and tells ``news`` so.

    ``fault`` says what keeps it from being up to date; None when nothing does.
    """

    def __init__(self, context: Context, projection: Projection, in_thread: InThread) -> None:
        self._context = context
        self._projection = projection
        self._in_thread = in_thread
        self._kinds = {topic_name(row, context.project): kind for row, kind in FOLLOWED.items()}
        self._writing = asyncio.Lock()  # SQLite has one writer; waiting here costs no thread
        self._failures = 0
        self.news = News()
        self.fault: str | None = "not opened yet"

    async def run(self) -> None:
        """Follow until cancelled. Only what trying again cannot mend is raised. Whoever waits for news is let go."""
        try:
            await self._follow_patiently()
        finally:
            self.news.close()

    async def _follow_patiently(self) -> None:
        while True:
            try:
                await self._follow()
            except MovedError as moved:  # a second process on the same database was quicker: no fault, look again
                log.info("projection was moved on by another process", detail=str(moved))
            except DATABASE_ERRORS as error:
                await self._wait(error)
            except MillraceError as error:
                if not error.retryable:
                    raise
                await self._wait(error)

    async def _wait(self, error: Exception) -> None:
        self._failures += 1
        self.fault = f"{self._projection.name}: {error}"
        log.warning("projection stopped, trying again", error=str(error), attempt=self._failures)
        await asyncio.sleep(backoff_s(self._failures))

    async def _follow(self) -> None:
        positions = dict(await self._in_thread(self._projection.open, tuple(self._kinds)))
        for topic, position in positions.items():
            end = (await self._context.transport.bounds(topic, 0)).end
            if position > end:
                log.error("projection is of another log: rebuilding", topic=topic, position=position, end=end)
                await self._in_thread(self._projection.clear)
                return
            self.fault = f"catching up: {topic} is at {position} of {end}"
            positions[topic] = await self._read(topic, position, end)
        self.fault, self._failures = None, 0
        log.info("projection is up to date", positions=positions)
        await run_together(*(self._read(topic, position, None) for topic, position in positions.items()))

    async def _read(self, topic: str, position: int, stop: int | None) -> int:
        """Apply what the topic holds from ``position`` to ``stop``, or for ever; returns the position after it."""
        if stop is not None and position >= stop:
            return position
        async for batch in self._context.transport.read(topic, 0, position, stop):
            position = await self._apply(topic, position, batch[-1].offset + 1, batch)
        return position

    async def _apply(self, topic: str, position: int, until: int, batch: list[Record]) -> int:
        events = [(record.offset, event) for record in batch if (event := await self._decode(record)) is not None]
        async with self._writing:
            await self._in_thread(self._projection.apply, topic, position, until, events)
        if events and self._kinds[topic] in DECISIONS:
            self.news.tell()
        return until

    async def _decode(self, record: Record) -> Event | None:
        try:
            return await decoded(self._context.codec, self._kinds[record.topic], record)
        except ContractError as error:  # another model's poison must not blind this one; its registry sees it too
            log.error("undecodable control record", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
            return None
