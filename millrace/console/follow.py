"""Keeps the console's database at the head of the log: reads every control topic, for ever, in no consumer group.

Rules:

- While it catches up, nothing is told to those who listen; then each event is told once the summaries reflect it.
- Summaries are brought up to date at most ``SETTLE_S`` after an event, for all that came meanwhile at once.
- Whatever goes wrong, it looks again where the database is and goes on from there.
- A record that cannot be read is left out and counted: the console is no judge of it.
"""

import asyncio
import sqlite3
from collections.abc import Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from millrace.bus.context import Context
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.console.database import Database
from millrace.console.decisions import Decisions
from millrace.console.feed import Feed
from millrace.console.flow import Pulse
from millrace.console.summary import names
from millrace.console.telling import Told, refused, told
from millrace.contracts import topics
from millrace.contracts.errors import ContractError, MillraceError
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
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.telemetry.log import get_logger
from services.registry.effects import decoded

log = get_logger(__name__)
SETTLE_S = 0.25
FOLLOWED: Mapping[topics.TopicRow, type[Event]] = {
    topics.MODEL_VERSIONS: ModelVersionChanged,
    topics.DEPLOYMENTS: DeploymentDecided,
    topics.TRAINING_RUNS: TrainingRunChanged,
    topics.SERVING_STATUS: ServingStatusReported,
    topics.MODEL_METRICS: ModelMetricsMeasured,
    topics.DRIFT_EVENTS: DriftDetected,
    topics.RETRAIN_REQUESTS: RetrainModel,
    topics.REGISTRY_REQUESTS: ManageModel,
    topics.AUDIT_EVENTS: AuditRecorded,
    topics.ALERTS: AlertRaised,
    topics.ALERT_ACTIONS: AlertHandled,
    topics.ROLLOUT_EVIDENCE: RolloutMeasured,
    topics.DATA_QUALITY: DataQualityJudged,
    topics.DATA_SNAPSHOTS: DataSnapshotTaken,
}


class Follower:
    """Fills the database and tells the feed.

    ``fault`` says what keeps it from being up to date; None when nothing does. ``unreadable`` counts records that were
    left out.
    """

    def __init__(
        self, context: Context, database: Database, decisions: Decisions, feed: Feed, pulse: Pulse,
        projects: Sequence[Project], in_thread: InThread,
    ) -> None:  # fmt: skip
        self._context = context
        self._database = database
        self._decisions = decisions
        self._feed = feed
        self._pulse = pulse
        self._streams = {project.model: project.stream for project in projects}
        self._letters = {
            f"{topic_name(topics.DEAD_LETTERS, project)}/{partition}": (
                topic_name(topics.DEAD_LETTERS, project),
                partition,
            )
            for project in projects
            for partition in range(project.partitions)
        }
        self._in_thread = in_thread
        self._kinds = {topic_name(row, context.project): kind for row, kind in FOLLOWED.items()}
        self._writing = asyncio.Lock()
        self._dirty: set[str] = set()
        self._news: list[Told] = []
        self._bell = asyncio.Event()
        self._failures = 0
        self.unreadable = 0
        self.fault: str | None = "not opened yet"

    async def run(self) -> None:
        """Follow until cancelled. Only what trying again cannot mend is raised."""
        while True:
            try:
                await self._follow()
            except (SQLAlchemyError, sqlite3.Error, OSError) as error:
                await self._wait(error)
            except MillraceError as error:
                if not error.retryable:
                    raise
                await self._wait(error)

    async def _wait(self, error: Exception) -> None:
        self._failures += 1
        self.fault = f"{self._database.name}: {error}"
        log.warning("the console's view stopped, trying again", error=str(error), attempt=self._failures)
        await asyncio.sleep(backoff_s(self._failures))

    async def _follow(self) -> None:
        places = {**{topic: (topic, 0) for topic in self._kinds}, **self._letters}
        positions = dict(await self._in_thread(self._database.open, tuple(places)))
        for place, position in positions.items():
            begin, end = await self._context.transport.bounds(*places[place])
            if position > end:
                log.warning("the console's view is of another log: rebuilding", place=place, position=position, end=end)
                await self._in_thread(self._database.clear)
                return
            self.fault = f"reading {place}: at {position} of {end}"
            if place in self._letters:
                async with self._writing:
                    await self._in_thread(self._database.forget_letters, *places[place], begin)
            positions[place] = await self._catch_up(place, max(position, begin), end)
        await self._summarise_all()
        self._news.clear()
        self.fault, self._failures = None, 0
        log.info("the console's view is up to date", positions=positions)
        await run_together(self._settle(), *(self._read(place, position) for place, position in positions.items()))

    async def _catch_up(self, place: str, position: int, end: int) -> int:
        if position >= end:
            return position
        topic, partition = self._letters.get(place, (place, 0))
        async for batch in self._context.transport.read(topic, partition, position, end):
            await self._take(place, batch)
        return end

    async def _read(self, place: str, position: int) -> None:
        """Apply what comes, for ever."""
        topic, partition = self._letters.get(place, (place, 0))
        async for batch in self._context.transport.read(topic, partition, position, None):
            news = await self._take(place, batch)
            self._pulse.count(topic, len(batch), self._context.clock.monotonic_s(), batch[-1].timestamp_ms)
            self._news += news
            self._bell.set()

    async def _take(self, place: str, batch: list[Record]) -> list[Told]:
        """Apply a batch; what there is to tell of it."""
        if place not in self._letters:
            return [told(place, event) for event in await self._apply(place, batch)]
        async with self._writing:
            await self._in_thread(self._database.apply_letters, place, batch[-1].offset + 1, batch)
        return [refused(batch)]

    async def _apply(self, topic: str, batch: list[Record]) -> list[Event]:
        events = [(record.offset, event) for record in batch if (event := await self._decode(record)) is not None]
        async with self._writing:
            self._dirty |= await self._in_thread(self._database.apply, topic, batch[-1].offset + 1, events)
        return [event for _, event in events]

    async def _decode(self, record: Record) -> Event | None:
        try:
            return await decoded(self._context.codec, self._kinds[record.topic], record)
        except ContractError as error:  # its service has seen it too, and says so
            self.unreadable += 1
            log.error("undecodable control record", topic=record.topic, offset=record.offset, error=str(error))  # noqa: TRY400  # the message is enough
            return None

    async def _settle(self) -> None:
        """Bring summaries up to date and tell what happened, again and again."""
        while True:
            await self._bell.wait()
            self._bell.clear()
            news, self._news = self._news, []
            await self._summarise()
            self._feed.add(news)
            await asyncio.sleep(SETTLE_S)

    async def _summarise_all(self) -> None:
        def everything() -> set[str]:
            with self._database.session() as session:
                return names(session)

        self._dirty |= await self._in_thread(everything)
        await self._summarise()

    async def _summarise(self) -> None:
        dirty, self._dirty = self._dirty, set()
        async with self._writing:
            now_ms = self._context.clock.now_ms()
            await self._in_thread(self._database.summarise, dirty, self._decisions, self._streams, now_ms)
