"""Kill -9 of the monitor with saved state: it goes on from there, and says what an undisturbed one says."""

import json
import random
import signal
from pathlib import Path

import pytest

from millrace.contracts import topics
from tests.conftest import Broker
from tests.faults.feed import Feed
from tests.faults.harness import Scene, wait_for
from tests.faults.readers import Decoder, Live, everything
from tests.faults.test_kill_loop import FINDINGS, comparable, control, replayed

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.matrix]  # five lives of a monitor: one to five minutes

SEED = 20_261_122
MONITORS = {
    "cool_down_rows": 300, "warm_up_rows": 100, "metrics_window_rows": 100, "save_every_rows": 500,
    "label_wait_rows": 1_000, "slices": [{"feature": "x", "bins": [0.0]}],
}  # fmt: skip
ROWS = 6_000
LIVES = ("commit.mid-send=kill@30", "commit.before-end=kill@25", "commit.after-end=kill@20")
"""Places late enough that there is a saved state by then."""
KILLS = 2  # at random moments, besides


def test_a_killed_monitor_goes_on_from_its_saved_state(broker: Broker, tmp_path: Path) -> None:
    """Killed within commits and at random: findings equal those of a replay, and few rows were read again."""
    print(f"seed {SEED}")  # noqa: T201 - it replays the case
    rng = random.Random(SEED)
    with Scene.create(broker, tmp_path, monitors=MONITORS) as scene:
        scene.deploy()
        live = Live.both(scene)
        for name in ("ingest", "serving"):
            scene.service(name)
        monitor = scene.service("monitor", LIVES)
        feed = Feed(scene, SEED, rate=400, truth=lambda number, x: (x > 0) != (number >= ROWS // 3))
        with feed.start():
            monitor.wait_deaths(len(LIVES))
            for kill in range(1, KILLS + 1):
                monitor.wait_ready()
                live[0].wait(len(live[0].seen) + rng.randrange(100, 600))
                monitor.kill()
                monitor.wait_deaths(len(LIVES) + kill)
            feed.until(ROWS)
        live[0].wait(feed.events)
        scene.stop()
        expected = comparable(replayed(scene))
        again = scene.service("monitor")
        wait_for(lambda: comparable(control(scene, *FINDINGS)) == expected, again.tail)
        scene.stop()

        assert [-signal.SIGKILL] * (len(LIVES) + KILLS) == monitor.exits[: len(LIVES) + KILLS]
        assert expected == comparable(control(scene, *FINDINGS))
        restarts = [*monitor.said("monitor goes on from saved state"), *again.said("monitor goes on from saved state")]
        assert scene.project.partitions <= len(restarts), "lives must have begun from saved state"
        most = 2 * MONITORS["label_wait_rows"] + max_rows_of_a_frame(scene)
        assert [] == [line for line in restarts if line["rows_read_again"] > most]
        assert any(json.loads(key)["slice"] for key in expected[topics.MODEL_METRICS.suffix])


def max_rows_of_a_frame(scene: Scene) -> int:
    """A restart begins and ends at the edges of frames."""
    decode = Decoder(scene)
    rows = [decode(one.value)["rows"] for one in everything(scene, scene.topic(topics.OBSERVATIONS))]
    return 2 * max(rows)
