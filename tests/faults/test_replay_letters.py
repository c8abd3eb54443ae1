"""Sending dead letters back is killed in the middle, again and again; each record is there once in the end."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
import pytest

from millrace.bus.deadletter import REPLAYED_FROM, dead_letter
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.operating.letters import REPLAYED
from tests.conftest import Broker
from tests.faults.harness import PATIENCE_S, Scene, run, wait_for
from tests.faults.readers import Decoder, everything

pytestmark = [pytest.mark.broker, pytest.mark.slow]

LETTERS = 2_500  # three transactions of at most 1,000
DRIVER = """
import sys
from millrace.bus import failpoints
from millrace.cli.main import main
failpoints.install(sys.argv.pop(1))
main()
"""
KILLS = [
    # in each life the first transaction is the run's own mark, of one batch; a chunk has three or more
    "commit.mid-send=kill@3",  # the first chunk is partly in the log, and will be aborted
    "commit.before-end=kill@3",  # the first is committed; of the second all is in the log
    "commit.after-end=kill@2",  # the second is committed, and nobody was told
]
"""Where each life dies: after all three, two chunks have been sent back."""


def start(scene: Scene, failpoints: str) -> subprocess.Popen[str]:
    """One life of the command."""
    at = ["--bootstrap", scene.broker.bootstrap_servers, "--schema-registry", scene.broker.schema_registry_url]
    words = ["dead-letters", "replay", str(scene.project.folder), "--yes", "--json", *at]
    life = subprocess.Popen(
        [sys.executable, "-c", DRIVER, failpoints, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    scene.at_exit.callback(life.kill)  # does nothing to one that has ended
    return life


def end(life: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for it: its status, and what it said."""
    said, complained = life.communicate(timeout=PATIENCE_S)
    return life.returncode, said, complained


async def refuse(scene: Scene) -> None:
    """Dead letters of events and labels in turn, in both partitions."""
    origins = [scene.topic(topics.EVENTS), scene.topic(topics.LABELS)]
    transport = KafkaTransport(scene.broker.bootstrap_servers, "test")
    producer = await transport.producer(f"test.{scene.project.stream}")
    records = (
        Record(origins[number % 8 == 7], number % 2, number, 0, b"w", b"%d" % number) for number in range(LETTERS)
    )
    letters = scene.topic(topics.DEAD_LETTERS)
    await producer.commit([
        dead_letter(letters, one, stage="TRANSFORMATION", reason="bad-time", message="seen", error_class="E")
        for one in records
    ])  # fmt: skip
    await transport.close()


def sent_back(scene: Scene) -> list[str]:
    """The letters that the audit log names, as a read_committed reader sees it."""
    decode = Decoder(scene)
    audits = [decode(one.value) for one in everything(scene, "audit-events", partitions=1)]
    mine = scene.topic(topics.DEAD_LETTERS)
    return [one["subject"] for one in audits if one["action"] == REPLAYED and one["subject"].startswith(f"{mine}/")]


def replay(scene: Scene) -> dict[str, Any]:
    """An undisturbed life, and what it printed."""
    status, said, complained = end(start(scene, ""))
    assert 0 == status, complained
    return dict(json.loads(said))


def check(scene: Scene) -> None:
    """Every record is visible once, in its partition; the audit log names every letter once; some were aborted."""
    events, labels = scene.topic(topics.EVENTS), scene.topic(topics.LABELS)
    visible = [*everything(scene, events), *everything(scene, labels)]
    written = len(everything(scene, events, "read_uncommitted"))
    letters = sent_back(scene)

    assert Counter(b"%d" % number for number in range(LETTERS)) == Counter(one.value for one in visible)
    assert all(one.partition == int(one.value or b"") % 2 for one in visible)
    assert written > sum(int(one.value or b"") % 8 != 7 for one in visible), "no transaction was aborted"
    assert Counter(letters) == Counter(dict(one.headers)[REPLAYED_FROM].decode() for one in visible)
    assert LETTERS == len(set(letters)) == len(letters)


def test_each_record_is_sent_back_once_however_often_it_is_killed(broker: Broker, tmp_path: Path) -> None:
    """Three lives are killed at three places; the fourth sends the rest, a fifth has nothing to do."""
    with Scene.create(broker, tmp_path) as scene:
        run(refuse(scene))

        deaths = [end(start(scene, failpoint))[:2] for failpoint in KILLS]
        rest, nothing = replay(scene), replay(scene)

        assert [(-signal.SIGKILL, "")] * len(KILLS) == deaths
        assert [(500, 2_000), (0, 2_500)] == [(one["replayed"], one["skipped"]) for one in (rest, nothing)]
        check(scene)


def test_one_that_wakes_up_after_another_has_taken_over_sends_nothing(broker: Broker, tmp_path: Path) -> None:
    """It is stopped with a chunk written and not committed; awake again it is told that it was fenced."""
    with Scene.create(broker, tmp_path) as scene:
        run(refuse(scene))

        zombie = start(scene, "commit.before-end=stop@3")
        wait_for(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_STOPPED, "the first run is stopped")
        other = replay(scene)
        zombie.send_signal(signal.SIGCONT)
        status, said, complained = end(zombie)

        assert (1_500, 1_000) == (other["replayed"], other["skipped"])
        assert (1, "") == (status, said)
        assert "has taken over after this one had sent back 1000 letters" in " ".join(complained.split())
        check(scene)
