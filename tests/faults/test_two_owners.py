"""Two processes with one transactional id: one works, the other says that it was fenced, and nothing is doubled."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.bus.kafka import KafkaTransport
from millrace.contracts import topics
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import PATIENCE_S, Scene, run
from tests.faults.judge import finish
from tests.faults.readers import Confluent, Live

pytestmark = [pytest.mark.broker, pytest.mark.slow]

RECORDS_MIN = 5_000
SEED = 17
FENCED = "fenced: another process owns this partition"


@pytest.fixture
def scene(broker: Broker, tmp_path: Path) -> Iterator[Scene]:
    """A project with a model in force from the first event on."""
    with Scene.create(broker, tmp_path) as made:
        made.deploy()
        yield made


async def take(bootstrap_servers: str, transactional_id: str) -> None:
    """Own the id for a moment, as a second process does that was given the same partition."""
    transport = KafkaTransport(bootstrap_servers, "usurper")
    try:
        async with asyncio.timeout(PATIENCE_S):
            await (await transport.producer(transactional_id)).close()
    finally:
        await transport.close()


@pytest.mark.parametrize(
    ("name", "times"),
    [
        ("serving", 1),
        pytest.param("serving", 4, marks=pytest.mark.matrix),
        pytest.param("ingest", 4, marks=pytest.mark.matrix),
    ],
)
def test_who_is_fenced_says_so_and_ends_and_its_successor_goes_on(scene: Scene, name: str, times: int) -> None:
    """Its id is taken while it works: it logs the fence and ends with status 1; the next life goes on where it was."""
    live = Live.both(scene)
    services = {one: scene.service(one) for one in ("ingest", "serving")}
    own = Live(Confluent, scene, scene.topic(topics.PREDICTIONS if name == "serving" else topics.SAMPLES))
    whose = scene.project.model if name == "serving" else scene.project.stream
    with Feed(scene, SEED).start() as feed:
        for turn in range(times):
            services[name].wait_ready()  # else the usurper comes first, and it is the one that is fenced
            own.wait(len(own.seen) + 200)
            number = turn % scene.project.partitions
            run(take(scene.broker.bootstrap_servers, f"millrace-{name}-{whose}.{number}"))
            services[name].wait_deaths(turn + 1)
        feed.until(RECORDS_MIN)
    finish(scene, feed, live)

    fenced = services[name].said(FENCED)
    assert [turn % scene.project.partitions for turn in range(times)] == [line["partition"] for line in fenced]
    assert [1] * times == services[name].exits[:times]
