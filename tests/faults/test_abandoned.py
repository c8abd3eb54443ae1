"""A transaction that somebody leaves open holds readers up for its timeout at most, and can be seen meanwhile."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from millrace.contracts import topics
from millrace.contracts.topics import TopicRow
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import Scene, Service, wait_for
from tests.faults.judge import Live, aborted, everything, finish
from tests.transports import fresh

pytestmark = [pytest.mark.broker, pytest.mark.slow]

TIMEOUT_MS = 4_000
SCAN_MS = 10_000  # transaction.abort.timed.out.transaction.cleanup.interval.ms: how often the broker looks for them
SLACK_S = 12.0  # for a loaded machine
BEFORE, AFTER = 2_000, 3_000
SEED = 23
FOREIGN = b"not ours, and never committed"


@pytest.fixture
def scene(broker: Broker, tmp_path: Path) -> Iterator[Scene]:
    """A project with a model in force from the first event on."""
    with Scene.create(broker, tmp_path) as made:
        made.deploy()
        yield made


def abandon(scene: Scene, row: TopicRow) -> Producer:
    """Write one record to each partition in a transaction that is left open. Keep the client."""
    producer = Producer({
        "bootstrap.servers": scene.broker.bootstrap_servers,
        "transactional.id": fresh("abandoned"),
        "transaction.timeout.ms": TIMEOUT_MS,
    })  # fmt: skip
    producer.init_transactions(30)
    producer.begin_transaction()
    for number in range(scene.project.partitions):
        producer.produce(scene.topic(row), value=FOREIGN, partition=number)
    assert producer.flush(30) == 0
    return producer


def shown(service: Service, topic: str) -> float:
    """How many records of a topic open transactions hide, over its partitions, as ``/metrics`` shows it."""
    metric = rf'^millrace_stable_lag_records{{[^}}]*topic="{re.escape(topic)}"[^}}]*}} (\S+)$'
    return sum(float(value) for value in re.findall(metric, service.metrics(), re.MULTILINE))


@pytest.mark.parametrize(
    ("row", "name"), [pytest.param(topics.EVENTS, "ingest", marks=pytest.mark.matrix), (topics.SAMPLES, "serving")]
)
def test_readers_stall_for_its_timeout_at_most_and_the_stall_is_shown(scene: Scene, row: TopicRow, name: str) -> None:
    """What comes after the open transaction waits behind it, the metrics say so, then all is predicted once."""
    live = Live.both(scene)
    services = {one: scene.service(one).wait_ready() for one in ("ingest", "serving")}
    feed = Feed(scene, SEED, labels=False).send(BEFORE)
    live[0].wait(BEFORE)

    began_s = time.monotonic()
    keep = abandon(scene, row)
    feed.send(AFTER)
    topic = scene.topic(row)
    held_up = len(everything(scene, topic))
    wait_for(lambda: shown(services[name], topic) >= scene.project.partitions, "the stall is in the metrics")
    at_most_s = (TIMEOUT_MS + SCAN_MS) / 1000 + SLACK_S
    live[0].wait(BEFORE + 1, at_most_s)
    stalled_s = time.monotonic() - began_s
    for reader in live:
        reader.wait(BEFORE + AFTER)
    wait_for(lambda: shown(services[name], topic) == 0, "the metrics say that the stall is over")
    books = finish(scene, feed, live)

    assert BEFORE == held_up, "nothing was held up: the fault did not happen"
    assert [FOREIGN] * scene.project.partitions == [one.value for one in aborted(scene, topic) if one.value == FOREIGN]
    assert len(books.predictions) == BEFORE + AFTER
    assert TIMEOUT_MS / 1000 <= stalled_s + 1.0
    del keep
