"""What the exactly-once loop says of itself, and when it leaves room between transactions: in virtual time."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from millrace.bus.consume import GATHER_S_MAX, SILENCE_S, Lanes
from millrace.bus.memory import MemoryTransport
from millrace.bus.types import OutRecord, Record, TopicPartition
from millrace.contracts.errors import UnclearError
from tests.bus.test_consume import Copy, World, run, stop, until


class Slow:
    """A producer whose commits take their time. After ``fail_after`` of them each ends unclear, until it is None."""

    def __init__(self, producer: Any, world: "SlowWorld") -> None:
        self._producer, self._world = producer, world

    async def commit(self, *arguments: Any) -> list[int]:
        """As long as the world wishes."""
        began_s = asyncio.get_running_loop().time()
        await asyncio.sleep(self._world.commit_s)
        if self._world.fails:
            raise UnclearError("the test wants it")
        offsets: list[int] = await self._producer.commit(*arguments)
        self._world.commits.append((began_s, asyncio.get_running_loop().time()))
        return offsets

    async def close(self) -> None:
        """Like the other."""
        await self._producer.close()


class SlowTransport(MemoryTransport):
    """Gives slow producers to whoever owns a lane."""

    world: "SlowWorld"

    async def producer(self, transactional_id: str) -> Any:
        """A slow one."""
        return Slow(await super().producer(transactional_id), self.world)


class SlowWorld(World):
    """A world of one slow connection."""

    def __init__(self, commit_s: float) -> None:
        super().__init__()
        self.commit_s = commit_s
        self.fails = False
        self.commits: list[tuple[float, float]] = []

    def slow_copier(self, max_records: int = 100) -> Lanes:
        """One process on a slow connection."""
        connection = self.connect()
        connection.__class__ = SlowTransport
        connection.world = self  # type: ignore[attr-defined]  # it is one now
        return Lanes(
            connection, service="copy", group="slow", topics=("source",), make_lane=Copy, max_records=max_records
        )


def starts_after(commits: Sequence[tuple[float, float]]) -> list[float]:
    """How long after the end of each commit the next began, in seconds."""
    return [round(after[0] - before[1], 6) for before, after in itertools.pairwise(commits)]


@pytest.mark.parametrize(
    ("commit_s", "most", "pause_s"),
    [(0.004, 100, 0.002), (5.0, 100, GATHER_S_MAX), (0.004, 1, 0.0)],
    ids=["half", "never long", "not when it is behind"],
)
def test_small_transactions_leave_room_for_records_to_gather(commit_s: float, most: int, pause_s: float) -> None:
    """After a small one the next waits half of its time, 10 ms at most; after a full one not at all."""

    async def main() -> list[float]:
        world = SlowWorld(commit_s)
        producer = await world.connect().producer("filler")
        task = asyncio.create_task(world.slow_copier(most).run())
        while len(world.commits) < 5:  # so slowly that a few come during each commit
            await producer.commit([OutRecord("source", None, b"x", 0)])
            await asyncio.sleep(commit_s / 5)
        await stop(task)
        return starts_after(world.commits)

    pauses = run(main())
    assert len(pauses) >= 3
    assert all(abs(pause - pause_s) < 0.0005 for pause in pauses), pauses


def test_trouble_names_what_keeps_the_work_from_being_done() -> None:
    """Before the group has answered, while a lane recovers or a commit is not answered; nothing while it works."""

    async def main() -> list[str | None]:
        world = SlowWorld(0.001)
        lanes = world.slow_copier()
        said = [lanes.trouble()]
        task = asyncio.create_task(lanes.run())
        await world.fill(5)
        await until(world.done)
        await until(lambda: lanes.trouble() is None)
        said.append(lanes.trouble())
        world.fails = True
        await world.fill(5)
        await until(lambda: lanes.trouble() is not None)
        said.append(lanes.trouble())
        world.fails = False
        await until(lambda: lanes.trouble() is None)
        world.commit_s = 3 * SILENCE_S
        await world.fill(5)
        await until(lambda: lanes.trouble() is not None)
        said.append(lanes.trouble())
        await until(lambda: lanes.trouble() is None)
        await stop(task)
        world.check()
        return said

    before, well, recovers, silent = run(main())
    assert before == "the consumer group has not answered yet"
    assert well is None
    assert recovers is not None
    assert recovers.endswith("recovers: the test wants it")
    assert silent is not None
    assert silent.endswith("has had no answer from the broker for 2 s")


def test_the_lane_is_told_where_its_transaction_went() -> None:
    """``written`` gets an offset for each output, and only then are the positions committed."""

    async def main() -> tuple[list[int], Mapping[TopicPartition, int | None], list[Record]]:
        world = World()
        await world.fill(3)
        task = asyncio.create_task(world.copier().run())
        await until(world.done)
        await stop(task)
        lane = next(one for one in world.lanes if one.number == 0)
        at = TopicPartition("source", 0)
        return lane.written_at, await world.connect().committed("copiers", [at]), lane.seen

    written, committed, seen = run(main())
    assert len(written) == len(seen) == 3
    assert [seen[-1].offset + 1] == list(committed.values())
    assert written == sorted(set(written))
