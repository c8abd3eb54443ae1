"""Garbage between good records: each a dead letter with its reason, in the transaction of the offset that skips it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.contracts import topics
from tests.conftest import Broker
from tests.faults.feed import REASONS, Feed, poisons
from tests.faults.harness import Scene
from tests.faults.judge import Live, aborted, everything, finish, origin, reason

pytestmark = [pytest.mark.broker, pytest.mark.slow]

RECORDS_MIN = 5_000
POISON_SHARE = 0.05
LIVES = ("commit.mid-send=kill@4", "commit.before-end=kill@3")
SEED = 9


@pytest.fixture
def scene(broker: Broker, tmp_path: Path) -> Iterator[Scene]:
    """A project with a model in force from the first event on."""
    with Scene.create(broker, tmp_path) as made:
        made.deploy()
        yield made


def poison(scene: Scene, seed: int) -> None:
    """Kill ingest twice among bad records; then compare each of them with its dead letter."""
    print(f"seed {seed}")  # noqa: T201 - it replays the case
    live = Live.both(scene)
    scene.service("serving")
    ingest = scene.service("ingest", LIVES)
    with Feed(scene, seed, poison=poisons(), poison_share=POISON_SHARE).start() as feed:
        ingest.wait_deaths(len(LIVES))
        feed.until(RECORDS_MIN)
    books = finish(scene, feed, live)

    bad = {(one.topic, one.partition, one.offset): one.kind for one in feed.sent if one.kind in REASONS}
    assert len(LIVES) == len(ingest.reached()), ingest.tail()
    assert set(REASONS) == set(bad.values()), "the seed makes every kind of poison"
    assert sorted(bad) == sorted(origin(letter) for letter in books.letters)
    for letter in books.letters:
        assert reason(letter) in REASONS[bad[origin(letter)]], (bad[origin(letter)], reason(letter))
    as_sent = {
        (topic, one.partition, one.offset): (one.key, one.value)
        for topic in (scene.topic(topics.EVENTS), scene.topic(topics.LABELS))
        for one in everything(scene, topic)
    }
    assert [] == [origin(letter) for letter in books.letters if (letter.key, letter.value) != as_sent[origin(letter)]]
    assert aborted(scene, scene.topic(topics.DEAD_LETTERS)), "no kill left a dead letter to abort"


def test_every_bad_record_is_one_dead_letter_and_every_good_one_a_prediction(scene: Scene) -> None:
    """Random bytes, cut and prolonged records, unknown ids, tombstones: kills lose none and double none."""
    poison(scene, SEED)


@pytest.mark.matrix
@pytest.mark.parametrize("seed", range(5))
def test_the_same_of_other_seeds(scene: Scene, seed: int) -> None:
    """Other garbage, the same promise."""
    poison(scene, seed)
