"""What tests share: a small model project, and a context for a service on the memory bus."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from millrace.bus.clock import LoopClock
from millrace.bus.context import Context, Service
from millrace.bus.memory import MemoryLog, MemoryTransport
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.compatibility import register_all
from millrace.contracts.events import LabelObserved
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.topics import TopicRow, specs, topic_name

T = TypeVar("T")
GIVE_UP_S = 30.0
POLL_S = 0.01
EPOCH_MS = 1_600_000_000_000
MINUTE_MS = 60_000

MODEL: dict[str, Any] = {
    "stream": "tiny",
    "model": "tiny",
    "event": {"id": "id", "entity": "who", "time": "at"},
    "label": {"task": "classification", "classes": ["no", "yes"], "delay_s": 30, "wait_ms": 200},
    "expectations": [{"field": "x", "min": -10, "max": 10}],
    "features": [
        {"name": "x", "kind": "value", "field": "x"},
        {"name": "x_change", "kind": "difference", "field": "x"},
        {"name": "last", "kind": "label_lag", "rows": 1},
    ],
    "training": {"first_rows": 100, "window_rows": 100, "holdout_rows": 20, "snapshot_every_rows": 10},
    "gates": {"first": 0.5},
}
EVENT = {
    "type": "record",
    "name": "Tiny",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "who", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x", "type": ["null", "double"], "default": None},
    ],
}
PIPELINE = '''"""A pipeline for tests."""

from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.impute import SimpleImputer


def build(seed):
    """Impute, then a logistic regression."""
    return make_pipeline(SimpleImputer(), LogisticRegression(random_state=seed))
'''


def tiny_project(folder: Path, **changes: Any) -> Project:
    """A small model project in ``folder``; ``changes`` replace or extend top-level sections of its model.yaml."""
    config = json.loads(json.dumps(MODEL))
    for key, value in changes.items():
        config[key] = {**config[key], **value} if isinstance(config.get(key), dict) else value
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    (folder / "event.avsc").write_text(json.dumps(EVENT))
    (folder / "pipeline.py").write_text(PIPELINE)
    return load_project(folder)


@contextlib.asynccontextmanager
async def running(context: Context, service: Service) -> AsyncIterator[Service]:
    """The service at work; stopped, and its connection closed, at the end."""
    task = asyncio.create_task(service.run())
    try:
        yield service
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await context.transport.close()


async def until(found: Callable[[], Awaitable[Sequence[T]]], count: int) -> Sequence[T]:
    """What ``found`` gives once it has that many; the one place where a test waits."""
    async with asyncio.timeout(GIVE_UP_S):
        while len(items := await found()) < count:  # noqa: ASYNC110  # a log is polled, it sets no events
            await asyncio.sleep(POLL_S)
    return items


class World:
    """A memory log with a project's topics and schemas, and clients of it. Build with ``await World.create(...)``."""

    def __init__(self, project: Project, schemas: LocalSchemas, log: MemoryLog) -> None:
        self.project = project
        self.schemas = schemas
        self.log = log
        self.clock = LoopClock(EPOCH_MS)

    @classmethod
    async def create(cls, project: Project) -> "World":
        """Topics created, schemas registered."""
        world = cls(project, LocalSchemas(), MemoryLog())
        await world.transport().create_topics(specs(project))
        await register_all(world.schemas, project)
        return world

    def transport(self) -> MemoryTransport:
        """A new connection to the log."""
        return MemoryTransport(self.clock, log=self.log)

    def context(self, name: str = "service") -> Context:
        """What a service is given: its own connection, its own codec."""
        return Context(self.project, self.transport(), Codec(self.schemas), self.clock, name)

    def topic(self, row: TopicRow) -> str:
        """The topic's name in this project."""
        return topic_name(row, self.project)

    async def send(self, row: TopicRow, *records: tuple[str, bytes], partition: int = 0) -> None:
        """Append (key, value) records, committed."""
        producer = await self.transport().producer(f"test.{row.suffix}")
        topic = self.topic(row)
        await producer.commit([OutRecord(topic, key.encode(), value, partition) for key, value in records])

    async def event(self, **values: Any) -> tuple[str, bytes]:
        """A valid event as (key, value)."""
        codec = Codec(self.schemas)
        await codec.prepare(self.project, topics.EVENTS)
        record: Mapping[str, Any] = {"id": "e", "who": "w", "at": EPOCH_MS, "x": 1.0, **values}
        return str(record["who"]), codec.encode_record(self.topic(topics.EVENTS), record)

    async def label(self, event_id: str, label: float | str, at_ms: int, who: str = "w") -> tuple[str, bytes]:
        """A label as (key, value)."""
        codec = Codec(self.schemas)
        await codec.prepare(self.project, topics.LABELS)
        event = LabelObserved(event_id=event_id, label=label, label_time_ms=at_ms)
        return who, codec.encode(self.topic(topics.LABELS), event)

    async def records(self, row: TopicRow, partition: int = 0) -> list[Record]:
        """Everything committed in the partition."""
        transport, topic = self.transport(), self.topic(row)
        begin, end = await transport.bounds(topic, partition)
        return [record async for batch in transport.read(topic, partition, begin, end) for record in batch]

    async def until(self, row: TopicRow, count: int) -> list[dict[str, Any]]:
        """The decoded values, once there are that many; decoding is left to ``records`` where bytes are not Avro."""
        await until(lambda: self.records(row), count)
        return await self.values(row)

    async def values(self, row: TopicRow, partition: int = 0) -> list[dict[str, Any]]:
        """The same, decoded."""
        codec = Codec(self.schemas)
        return [await codec.decode_record(record.value) for record in await self.records(row, partition)]


def forget_positions(log: MemoryLog) -> int:
    """What a broker does with a group that was away for longer than ``offsets.retention.minutes``. How many it had."""
    count = len(log._positions)
    log._positions.clear()
    return count
