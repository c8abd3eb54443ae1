"""Kill -9 of monitor, trainer and registry: what they decide is what they would have decided undisturbed, once."""

import asyncio
import hashlib
import json
import signal
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.topics import TopicRow
from millrace.sim.virtual_time import run as run_virtually
from services.monitor.policy import Policy
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import Scene, wait_for
from tests.faults.readers import Decoder, Live, Seen, everything
from tests.monitor.processes import Process, deploy
from tests.support import World

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SEED = 2
KILLED = -signal.SIGKILL
Values = dict[str, list[dict[str, Any]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a scene is made."""
    return tmp_path


def control(scene: Scene, *rows: TopicRow) -> Values:
    """What these topics of one partition hold about the scene's model, as a foreign client reads it."""
    decode = Decoder(scene)
    return {
        row.suffix: [decode(one.value) for one in everything(scene, row.suffix, partitions=1) if ours(scene, one)]
        for row in rows
    }


def ours(scene: Scene, record: Seen) -> bool:
    """Whether it is about the scene's model."""
    return record.key == scene.project.model.encode()


# ---- the monitor -------------------------------------------------------------------------------------------------

MONITORS = {"cool_down_rows": 300, "warm_up_rows": 100, "metrics_window_rows": 100}
TURN, ROWS = 1_500, 5_000
FINDINGS = (topics.MODEL_METRICS, topics.DRIFT_EVENTS, topics.ALERTS, topics.RETRAIN_REQUESTS)
MONITOR_LIVES = ("commit.mid-send=kill@7", "commit.after-end=kill@5")
MORE_MONITOR_LIVES = (
    "commit.begin=kill@3",
    "commit.after-offsets=kill@5",
    "commit.mid-send=kill@20",
    "commit.before-end=kill@9",
    "commit.after-end=kill@11",
)


def comparable(values: Values) -> dict[str, Counter[str]]:
    """How often each finding stands there, without the times of writing and without which partition's alarm came first.

    The first alarm of a model asks for a retrain, a later one says that it did not; which partition is first is chance.
    """
    found: dict[str, Counter[str]] = {}
    for name, events in values.items():
        bare = [{key: value for key, value in event.items() if not key.endswith("d_at_ms")} for event in events]
        if name == topics.ALERTS.suffix:
            bare = [{**event, "message": event["message"].partition(";")[0]} for event in bare]
        if name == topics.RETRAIN_REQUESTS.suffix:
            bare = [{"model": event["model"], "reason": event["reason"]} for event in bare]
        found[name] = Counter(json.dumps(event, sort_keys=True, default=str) for event in bare)
    return found


def replayed(scene: Scene) -> Values:
    """What a monitor that nothing happens to says about the same observations, on the memory bus in virtual time."""
    decode = Decoder(scene)
    observed = everything(scene, scene.topic(topics.OBSERVATIONS))

    async def work() -> Values:
        world = await World.create(scene.project)
        await deploy(world, 1)
        codec = Codec(world.schemas)
        await codec.prepare(scene.project, topics.OBSERVATIONS)
        for one in observed:
            event = ObservationsRecorded(**decode(one.value))
            value = codec.encode(scene.topic(topics.OBSERVATIONS), event)
            await world.send(topics.OBSERVATIONS, (str(one.partition), value), partition=one.partition)
        monitor = Process(world, policy=Policy.of(scene.project))
        await monitor.reach(world)
        await asyncio.sleep(1)
        found = {row.suffix: list(await world.values(row)) for row in FINDINGS}
        await monitor.kill()
        return found

    return run_virtually(work())


@pytest.mark.parametrize("lives", [MONITOR_LIVES, pytest.param(MORE_MONITOR_LIVES, marks=pytest.mark.matrix)])
def test_a_monitor_that_is_killed_says_what_an_undisturbed_one_says(
    broker: Broker, folder: Path, lives: tuple[str, ...]
) -> None:
    """Metrics, drifts, alerts and the one request equal those of a replay of the same observations."""
    with Scene.create(broker, folder, monitors=MONITORS) as scene:
        scene.deploy()
        live = Live.both(scene)
        for name in ("ingest", "serving"):
            scene.service(name)
        monitor = scene.service("monitor", lives)
        feed = Feed(scene, SEED, rate=400, truth=lambda number, x: (x > 0) != (number >= TURN))
        with feed.start():
            monitor.wait_deaths(len(lives))
            feed.until(ROWS)
        live[0].wait(feed.events)
        scene.stop()
        expected = comparable(replayed(scene))
        again = scene.service("monitor")
        wait_for(lambda: comparable(control(scene, *FINDINGS)) == expected, again.tail)
        scene.stop()

        assert [life.partition("=")[0] for life in lives] == monitor.reached(), monitor.tail()
        assert [KILLED] * len(lives) == monitor.exits[: len(lives)]
        assert expected == comparable(control(scene, *FINDINGS))
        assert 1 == sum(expected[topics.RETRAIN_REQUESTS.suffix].values()), "the stream has a drift"
        assert expected[topics.DRIFT_EVENTS.suffix].total() >= scene.project.partitions


# ---- trainer and registry ----------------------------------------------------------------------------------------

TRAINER_LIVES = ("train.in-fit=kill", "train.between-artifact-and-event=kill")
REGISTRY_LIVES = ("registry.mid-decision=kill", "commit.after-end=kill")
MORE_TRAINER_LIVES = (
    "commit.before-end=kill",  # the start of the run is lost
    "commit.after-end=kill",  # it is not
    "train.in-fit=kill",
    "train.in-fit=kill",
    "train.between-artifact-and-event=kill",
    "commit.mid-send=kill",  # its end is lost
)
MORE_REGISTRY_LIVES = (
    "commit.begin=kill", "commit.mid-send=kill", "commit.before-end=kill", "registry.mid-decision=kill",
)  # fmt: skip
FACTS = (topics.TRAINING_RUNS, topics.MODEL_VERSIONS, topics.DEPLOYMENTS)
TRAINING = {"first_rows": 200, "window_rows": 200, "holdout_rows": 50, "snapshot_every_rows": 50}


def tables(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every table of a projection but the positions, which go on with other models' events too."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            name: sorted(database.execute(f'SELECT * FROM "{name}"').fetchall(), key=repr)
            for name in names
            if "position" not in name
        }
    database.close()
    return found


@pytest.mark.parametrize(
    ("trainer_lives", "registry_lives"),
    [
        (TRAINER_LIVES, REGISTRY_LIVES),
        pytest.param(MORE_TRAINER_LIVES, MORE_REGISTRY_LIVES, marks=pytest.mark.matrix),
    ],
)
def test_killed_in_the_fit_and_after_it_and_in_the_decision_there_is_one_run_and_one_version(
    broker: Broker, folder: Path, trainer_lives: tuple[str, ...], registry_lives: tuple[str, ...]
) -> None:
    """Trainer and registry die at each point of the way from data to deployment; it is gone all the same, and once."""
    with Scene.create(broker, folder, training=TRAINING) as scene:
        scene.service("ingest")
        trainer, registry = scene.service("trainer", trainer_lives), scene.service("registry", registry_lives)
        feed = Feed(scene, SEED, rate=500)
        with feed.start():
            trainer.wait_deaths(len(trainer_lives))
            registry.wait_deaths(len(registry_lives))
            wait_for(lambda: control(scene, topics.DEPLOYMENTS)[topics.DEPLOYMENTS.suffix], "a deployment is decided")
        registry.wait_ready()
        scene.stop()
        runs, versions, deployments = control(scene, *FACTS).values()
        artefacts = [path for path in (folder / "data" / "artifacts").rglob("*") if path.is_file()]

        for service, lives in ((trainer, trainer_lives), (registry, registry_lives)):
            assert [life.partition("=")[0] for life in lives] == service.reached(), service.tail()
            assert [KILLED] * len(lives) == service.exits[: len(lives)]
        assert [] == scene.left_behind(), "a fit outlived its trainer"
        assert ["STARTED", "SUCCEEDED"] == [run["status"] for run in runs if run["progress"] is None]
        assert 1 == len({run["run_id"] for run in runs})
        facts = [(one["status"], one["space"], one["version"]) for one in versions]
        assert [("REGISTERED", "development", 1), ("PROMOTED", "test", 1), ("PROMOTED", "production", 1)] == facts
        assert [1] == [one["epoch"] for one in deployments]
        kept = {hashlib.sha256(content).hexdigest(): content for content in map(Path.read_bytes, artefacts)}
        named = {runs[-1][name] for name in ("artifact_sha256", "golden_sha256", "record_sha256")}
        models = {digest for digest, content in kept.items() if not content.startswith((b"PK", b"{"))}
        assert named <= set(kept)  # a record says what its own attempt took, so each attempt may leave one
        assert {runs[-1]["artifact_sha256"]} == models
        rebuilt_equals_kept(scene, folder)


def rebuilt_equals_kept(scene: Scene, folder: Path) -> None:
    """The projection that lived through the kills is the one that a new registry makes out of the log."""
    kept, fresh = folder / "data" / "registry.db", folder / "rebuilt.db"
    scene.service("registry", DATABASE_URL=f"sqlite:///{fresh}").wait_ready()
    scene.service("registry").wait_ready()
    wait_for(lambda: tables(kept) == tables(fresh), lambda: f"{tables(kept)} is not {tables(fresh)}")
    scene.stop()

    assert tables(fresh) == tables(kept)
    assert sum(len(rows) for rows in tables(kept).values()) > 1, "there is something to compare"
