"""The lake writer on a real broker, killed again and again: the table is the samples log, row by row."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.contracts.registry_client import SchemaRegistry
from millrace.stores.lake import Lake
from tests.conftest import Broker
from tests.faults.harness import Scene
from tests.faults.processes import run, wait_for
from tests.support import EPOCH_MS, MINUTE_MS
from tests.transports import KafkaWorld

pytestmark = [pytest.mark.broker, pytest.mark.slow]
DRIVER = Path(__file__).with_name("lake_writer.py")
ROOT = Path(__file__).parents[2]
POLICY = {"commit_rows": 100, "commit_s": 0.1, "compact_every": 4}
PLANNED = (
    "lake.between-write-and-commit@1",
    "lake.after-commit@2",
    "lake.between-write-and-commit@3",
    "lake.before-write@2",
)
TRANSACTIONS, ROWS = 150, 20
KILLED = -9


async def write(scene: Scene, done: threading.Event, rest_s: float) -> None:
    """Samples in many transactions, some of which are aborted: holes and markers stand between the rows."""
    topic = scene.topic(topics.SAMPLES)
    transport = KafkaTransport(scene.broker.bootstrap_servers, "samples")
    zombie = KafkaWorld(scene.broker.bootstrap_servers)
    async with SchemaRegistry(scene.broker.schema_registry_url) as registry:
        codec = Codec(registry)
        await codec.prepare(scene.project, topics.SAMPLES, topics.EVENTS)
        for turn in range(TRANSACTIONS):
            if turn % 10 == 0:
                await zombie.leave_open(f"{topic}-writer", topic, b"never seen")
                producer = await transport.producer(f"{topic}-writer")  # aborts that
            values = [
                codec.encode(topic, _sample(scene, codec, number)) for number in range(turn * ROWS, turn * ROWS + ROWS)
            ]
            await producer.commit([OutRecord(topic, b"w", value, 0) for value in values])
            done.wait(rest_s)
    await transport.close()
    await zombie.close()
    done.set()


def _sample(scene: Scene, codec: Codec, number: int) -> SampleRecorded:
    at = EPOCH_MS + number * MINUTE_MS
    event = codec.encode_record(scene.topic(topics.EVENTS), {"id": f"e{number}", "who": "w", "at": at, "x": 1.0})
    return SampleRecorded(
        kind="EVENT", event_id=f"e{number}", entity="w", time_ms=at, feature_set=scene.project.feature_set,
        features=(1.0, 2.0, 3.0), event=event, label=None, source_topic="t", source_partition=0, source_offset=number,
        source_time_ms=EPOCH_MS,
    )  # fmt: skip


async def offsets(scene: Scene) -> tuple[int, list[int]]:
    """The end of the samples topic, and the offsets that a reader of it sees."""
    topic = scene.topic(topics.SAMPLES)
    transport = KafkaTransport(scene.broker.bootstrap_servers, "check")
    begin, end = await transport.bounds(topic, 0)
    found = [record.offset async for batch in transport.read(topic, 0, begin, end) for record in batch]
    await transport.close()
    return end, found


def start(scene: Scene, root: Path, die: str) -> subprocess.Popen[bytes]:
    """A lake writer at work."""
    broker = scene.broker
    process = subprocess.Popen(
        [sys.executable, DRIVER, broker.bootstrap_servers, broker.schema_registry_url, scene.project.folder, root, die],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    scene.at_exit.callback(process.kill)  # should the test fail before it has done so
    return process


def test_a_writer_that_is_killed_has_every_sample_once(broker: Broker, tmp_path: Path):
    """At the places where it hurts, then at random moments with another writer beside it."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # it replays the case
    chance, root, done, kills = random.Random(seed), tmp_path / "lake", threading.Event(), 0
    with Scene.create(broker, tmp_path, partitions=1, data={"lake": POLICY}) as scene:
        lake = Lake(root, scene.project.stream, scene.project.data.lake)
        feed = threading.Thread(target=run, args=[write(scene, done, 0.1)])
        feed.start()
        for die in PLANNED:
            assert KILLED == start(scene, root, die).wait(60), die
            kills += 1
        while not done.is_set():
            pair = [start(scene, root, "") for _ in range(2)]
            before = lake.position(0) or 0
            wait_for(lambda before=before: done.is_set() or (lake.position(0) or 0) > before, "the lake grows")
            time.sleep(chance.random())  # the moment is the fault
            for process in pair:
                process.kill()
                kills += process.wait() == KILLED
        feed.join()
        end, expected = run(offsets(scene))
        last = start(scene, root, "")
        wait_for(lambda: (lake.position(0) or 0) >= end, "the lake has everything")
        last.kill()
        last.wait()
        whole = OffsetRange(topic="", partition=0, from_offset=0, until_offset=end)
        rows = lake.read([whole], columns=["offset", "event_id", "raw_id"]).to_pydict()

    assert kills >= len(PLANNED) + 2
    assert expected == rows["offset"]
    assert [f"e{number}" for number in range(TRANSACTIONS * ROWS)] == rows["event_id"] == rows["raw_id"]
