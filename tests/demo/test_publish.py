"""The publisher: everything once, in order, whatever happens to a transaction."""

from pathlib import Path

import pytest

from millrace.bus.memory import CommitFault, MemoryTransport
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import FencedError
from millrace.demo.dataset import DatasetFile
from millrace.demo.publish import Publisher
from tests.demo.scene import ROWS, stream_project
from tests.support import EPOCH_MS, World


class Pace:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def now_ms(self) -> int:
        """Wall time."""
        return EPOCH_MS + round(self.now_s * 1000)

    def monotonic_s(self) -> float:
        """Time for pacing."""
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        """Let that much time pass."""
        self.now_s += seconds


def publisher_of(world: World, pace: Pace, transport: MemoryTransport | None = None) -> Publisher:
    """A publisher of the world's stream."""
    return Publisher(transport or world.transport(), Codec(world.schemas), world.project, pace, sleep=pace.sleep)


async def sent_ids(world: World) -> tuple[list[str], list[str]]:
    """Ids of the events and of the labels, as they stand on the topics."""
    events, labels = await world.values(topics.EVENTS), await world.values(topics.LABELS)
    return [event["id"] for event in events], [label["event_id"] for label in labels]


async def test_each_row_is_sent_once_and_in_order(tmp_path: Path) -> None:
    """One event and one label for each row, in the file's order, keyed by the entity."""
    world = await World.create(stream_project(tmp_path))
    publisher = publisher_of(world, Pace())
    await publisher.send(DatasetFile(world.project), 10, ROWS, rate=0)

    expected = [f"row-{row}" for row in range(10, ROWS)]
    assert (expected, expected) == await sent_ids(world)
    assert {b"w"} == {record.key for record in await world.records(topics.EVENTS)}
    assert (ROWS - 10, ROWS - 10) == (publisher.sent, publisher.labels)


async def test_the_rate_is_kept(tmp_path: Path) -> None:
    """400 rows at 50 a second take 8 seconds."""
    world = await World.create(stream_project(tmp_path))
    pace = Pace()
    await publisher_of(world, pace).send(DatasetFile(world.project), 0, ROWS, rate=50)

    assert pytest.approx(ROWS / 50, abs=0.1) == pace.now_s


@pytest.mark.parametrize("fault", ["lost", "unanswered"])
async def test_an_unclear_commit_neither_loses_nor_doubles_rows(tmp_path: Path, fault: CommitFault) -> None:
    """Whether or not the transaction happened, the topic ends up with each row once."""
    world = await World.create(stream_project(tmp_path))
    publisher = publisher_of(world, Pace())
    file = DatasetFile(world.project)
    await publisher.send(file, 0, 100, rate=50)
    world.log.fail_next_commit(fault)
    await publisher.send(file, 100, ROWS, rate=50)

    expected = [f"row-{row}" for row in range(ROWS)]
    assert (expected, expected) == await sent_ids(world)
    assert ROWS == publisher.sent


async def test_a_second_publisher_takes_over(tmp_path: Path) -> None:
    """The first one is fenced and says so; it does not fight back."""
    world = await World.create(stream_project(tmp_path))
    file = DatasetFile(world.project)
    first, second = publisher_of(world, Pace()), publisher_of(world, Pace())
    await first.send(file, 0, 10, rate=0)
    await second.send(file, 10, 20, rate=0)

    with pytest.raises(FencedError):
        await first.send(file, 20, 30, rate=0)
