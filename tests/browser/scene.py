"""The running system that the browser tests look at: broker, services, console, and a drift planted in its rows.

The first version is trained on rows as they are, and approved. Then the classes change places and one price rises: the
monitor finds it, the trainer answers, and version 2 waits for an approval. Three records are refused on the way.
"""

import asyncio
import csv
import gzip
import itertools
import json
import os
import shutil
import signal
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from millrace.bus.clock import SystemClock
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord
from millrace.contracts import schemas, topics
from millrace.contracts.codec import Codec
from millrace.contracts.event_base import Event
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import TopicRow, topic_name
from millrace.demo.dataset import DatasetFile
from millrace.demo.publish import Publisher
from millrace.local.platform import Platform
from millrace.local.prepare import prepare
from services.registry.commands import Log

EXAMPLE = Path(__file__).parents[2] / "examples" / "electricity"
ROWS, FIRST, CHANGES_AT = 6000, 600, 2600
GIVE_UP_S = 240.0
LOOK_S = 0.25
MODEL = "electricity"
TRAINING = {"first_rows": FIRST, "window_rows": 1000, "holdout_rows": 200, "snapshot_every_rows": 100}
MONITORS = {"cool_down_rows": 2000, "warm_up_rows": 200, "metrics_window_rows": 200}


def changed_project(folder: Path) -> Project:
    """The electricity example, small, with production behind an approval and a drift planted in its file."""
    shutil.copytree(EXAMPLE, folder)
    config = yaml.safe_load((folder / "model.yaml").read_text())
    config["training"] |= TRAINING
    config["gates"] |= {"first": 0.5, "margin": 0.0}
    config["monitors"] |= MONITORS
    config["rollout"] = {"strategy": "immediate"}
    config["spaces"] = {"production": {"approvals": 1}}
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    plant(EXAMPLE / "electricity.csv.gz", folder / config["dataset"]["file"])
    return load_project(folder)


def plant(source: Path, target: Path) -> None:
    """The first rows of a file; from one row on the classes change places, and a price is higher."""
    with gzip.open(source, "rt", newline="") as rows, gzip.open(target, "wt", newline="") as out:
        read = csv.DictReader(rows)
        written = csv.DictWriter(out, read.fieldnames or ())
        written.writeheader()
        for number, row in enumerate(itertools.islice(read, ROWS)):
            if number >= CHANGES_AT:
                row["class"] = str(1 - int(row["class"]))
                row["nswprice"] = str(min(1.0, float(row["nswprice"]) * 0.6 + 0.3))
            written.writerow(row)


@dataclass(frozen=True, slots=True)
class System:
    """What runs: its console's address, and ways to make things happen."""

    url: str
    project: Project
    log: Log
    publisher: Publisher
    file: DatasetFile
    platform: Platform

    def kill_console(self) -> None:
        """As a crash would: its supervisor starts it again."""
        pid = self.platform.processes()["console"].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async def get(self, path: str) -> Any:
        """What the console's API answers."""
        return await asyncio.to_thread(_json, urllib.request.Request(self.url + path))

    async def post(self, path: str, body: dict[str, Any]) -> Any:
        """The same, of a request that changes something."""
        request = urllib.request.Request(
            self.url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
        )
        return await asyncio.to_thread(_json, request)

    async def ready(self) -> bool:
        """Whether the console shows all that is in the log."""
        return bool((await self.get("/api/overview"))["ready"])

    async def say(self, row: TopicRow, event: Event, key: str = MODEL) -> None:
        """Write an event to its topic, as a service would."""
        topic = topic_name(row, self.project)
        await self.log.codec.prepare_topic(topic, schemas.load(event.schema_name))
        producer = await self.log.transport.producer(f"millrace.browser-test.{row.suffix}")
        try:
            await producer.commit([OutRecord(topic, key.encode(), self.log.codec.encode(topic, event))])
        finally:
            await producer.close()

    async def refuse(self, count: int) -> None:
        """Send that many events that break an expectation."""
        topic = topic_name(topics.EVENTS, self.project)
        rows = list(self.file.slice(0, count))
        records = [
            OutRecord(
                topic,
                row.entity.encode(),
                self.log.codec.encode_record(topic, {**row.event, "event_id": f"bad-{row.number}", "nswprice": 4.2}),
            )
            for row in rows
        ]
        producer = await self.log.transport.producer("millrace.browser-test.refused")
        try:
            await producer.commit(records)
        finally:
            await producer.close()


def _json(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.loads(response.read())


async def until(condition: Callable[[], Awaitable[Any]], what: str, give_up_s: float = GIVE_UP_S) -> Any:
    """What the condition gives, once it is something."""
    try:
        async with asyncio.timeout(give_up_s):
            while not (found := await condition()):  # noqa: ASYNC110  # another process tells it
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        raise AssertionError(f"not within {give_up_s:.0f} s: {what}") from None
    return found


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[System]:
    """The system at work, with its story told up to where version 2 waits for an approval."""
    project = changed_project(folder / "project")
    platform = Platform(folder / "data", project=project.folder, prepare=prepare)
    async with platform:
        url = platform.info().services["console"].url
        transport = KafkaTransport(platform.bootstrap_servers, "millrace-browser-test")
        registry = SchemaRegistry(platform.schema_registry_url)
        log = Log(transport, Codec(registry), SystemClock())
        publisher = Publisher(transport, log.codec, project, log.clock)
        system = System(url, project, log, publisher, DatasetFile(project), platform)
        try:
            await until(system.ready, "the console has read the log")
            await tell(system)
            yield system
        finally:
            await publisher.close()
            await transport.close()
            await registry.aclose()


async def tell(system: System) -> None:
    """From the first row to the version that waits."""
    await system.publisher.send(system.file, 0, FIRST + 200, 0)
    await until(lambda: _waits(system, 1), "version 1 waits for an approval")
    body = {"model": MODEL, "version": 1, "space": "production", "reason": "the first one", "actor": "ann"}
    answer = await system.post("/api/actions/approve", {**body, "request_id": "browser-approves-1"})
    assert answer["outcome"] == "ACCEPTED", answer
    await until(lambda: _champion(system, 1), "version 1 answers")
    await system.publisher.send(system.file, FIRST + 200, 4600, 1500)
    await system.refuse(3)
    await until(lambda: _waits(system, 2), "version 2 waits for an approval")
    await until(lambda: _letters(system), "three records are refused")


async def _waits(system: System, version: int) -> bool:
    found = await system.get("/api/overview")
    return any(one["version"] == version for one in found["waiting"])


async def _champion(system: System, version: int) -> bool:
    found = await system.get(f"/api/models/{MODEL}")
    return bool(found["champion_version"] == version and found["serving"])


async def _letters(system: System) -> bool:
    found = await system.get("/api/dead-letters")
    return bool(found["total"] >= 3)
