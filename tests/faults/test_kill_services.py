"""Kill -9 of ingest and serving, at named places and at random ones: every event is predicted once, in order.

Kafka's own system tests do it this way: real processes, hard kills, transactions left open, an independent reader.
"""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.contracts import topics
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import Scene, Service, wait_for
from tests.faults.judge import Live, aborted, finish

pytestmark = [pytest.mark.broker, pytest.mark.slow]

COMMIT_POINTS = ("commit.begin", "commit.after-offsets", "commit.mid-send", "commit.before-end", "commit.after-end")
LEAVE_RECORDS = {"commit.mid-send", "commit.before-end"}
"""Points at which records of the transaction are in the log, to be aborted by the next life."""
HIT = 3
WRITES = {"ingest": topics.SAMPLES, "serving": topics.PREDICTIONS}
BOTH = tuple(WRITES)
RECORDS_MIN = 5_000
SEED = 20_261_121


@pytest.fixture
def scene(broker: Broker, tmp_path: Path) -> Iterator[Scene]:
    """A project with a model in force from the first event on."""
    with Scene.create(broker, tmp_path) as made:
        made.deploy()
        yield made


def at(*points: str) -> list[str]:
    """One life for each point, which it ends at."""
    return [f"{point}=kill@{HIT}" for point in points]


def died_at(service: Service, points: list[str]) -> None:
    """Hold that the fault happened: it reached these points, and died of SIGKILL as often."""
    assert points == service.reached(), service.tail()
    assert [-signal.SIGKILL] * len(points) == service.exits[: len(points)]


def test_each_event_is_predicted_once_whatever_point_of_a_commit_the_kill_meets(scene: Scene) -> None:
    """Both services die at each point in turn, while events go on; nothing is lost, doubled or reordered."""
    live = Live.both(scene)
    services = [scene.service(name, at(*COMMIT_POINTS)) for name in BOTH]
    with Feed(scene, SEED).start() as feed:
        for service in services:
            service.wait_deaths(len(COMMIT_POINTS))
        feed.until(RECORDS_MIN)
    books = finish(scene, feed, live)

    assert len(books.predictions) == feed.events >= RECORDS_MIN
    for service in services:
        died_at(service, list(COMMIT_POINTS))
    assert any(line["saved_until"] for line in services[0].said("lane ready")), "no life began from saved state"
    assert aborted(scene, scene.topic(topics.PREDICTIONS)), "the kills left no predictions to abort"
    assert aborted(scene, scene.topic(topics.SAMPLES)), "the kills left no samples to abort"


def test_an_unclear_end_at_any_point_of_a_commit_costs_a_recovery_and_nothing_else(scene: Scene) -> None:
    """The connection breaks at each point in turn: the lane throws its producer away and reads where it is."""
    breaks = ",".join(f"{point}=raise@{hit}" for hit, point in enumerate(COMMIT_POINTS, start=HIT))
    live = Live.both(scene)
    services = [scene.service(name, [breaks]) for name in BOTH]
    with Feed(scene, SEED).start() as feed:
        for service in services:
            wait_for(lambda each=service: len(each.reached()) == len(COMMIT_POINTS), service.tail)
        feed.until(RECORDS_MIN)
    books = finish(scene, feed, live)

    assert len(books.predictions) == feed.events
    for service in services:
        assert sorted(COMMIT_POINTS) == sorted(service.reached())
        assert len(COMMIT_POINTS) == len(service.said("lane recovers")), service.tail()
        assert [0] == service.exits


@pytest.mark.matrix
@pytest.mark.parametrize("point", COMMIT_POINTS)
@pytest.mark.parametrize("name", BOTH)
def test_each_event_is_predicted_once_though_one_service_dies_at_one_point_again_and_again(
    scene: Scene, name: str, point: str
) -> None:
    """Early, late and in between: five deaths at the same point, 20,000 events."""
    hits = (1, 2, 5, 10, 20)
    live = Live.both(scene)
    services = {one: scene.service(one, [f"{point}=kill@{hit}" for hit in hits] if one == name else []) for one in BOTH}
    with Feed(scene, SEED).start() as feed:
        services[name].wait_deaths(len(hits))
        feed.until(20_000)
    books = finish(scene, feed, live)

    assert len(books.predictions) == feed.events >= 20_000
    died_at(services[name], [point] * len(hits))
    if point in LEAVE_RECORDS:
        assert aborted(scene, scene.topic(WRITES[name])), "the kills left no records to abort"


def kill_at_random(scene: Scene, seed: int, kills: int) -> None:
    """Kill ingest or serving at random moments, each once it works again, while events go on."""
    print(f"seed {seed}, {kills} kills")  # noqa: T201 - it replays the case
    rng = random.Random(seed)
    live = Live.both(scene)
    services = [scene.service(name) for name in BOTH]
    with Feed(scene, seed).start() as feed:
        for service in services:
            service.wait_ready()
        for _ in range(kills):
            victim = rng.choice(services)
            deaths = len(victim.exits)
            before = len(live[0].seen)
            live[0].wait(before + rng.randrange(1, 500))
            time.sleep(rng.random() * 0.2)  # the moment is the random part; nothing is waited for
            victim.kill()
            victim.wait_deaths(deaths + 1)
        feed.until(RECORDS_MIN)
    books = finish(scene, feed, live)

    assert len(books.predictions) == feed.events
    assert [-signal.SIGKILL] * kills == [code for service in services for code in service.exits if code]


def test_each_event_is_predicted_once_though_both_services_are_killed_at_random(scene: Scene) -> None:
    """Four kills at random moments; the seed is printed."""
    kill_at_random(scene, SEED, kills=4)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(10))
def test_each_event_is_predicted_once_through_many_random_kills(scene: Scene, seed: int) -> None:
    """Twelve kills, ten seeds."""
    kill_at_random(scene, seed, kills=12)
