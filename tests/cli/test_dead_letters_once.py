"""``millrace dead-letters replay``: nothing is sent back twice, whatever happens to the run."""

from pathlib import Path
from typing import Any

import pytest

from millrace.bus.memory import CommitFault
from millrace.bus.types import OutRecord
from millrace.contracts.errors import BusError, FencedError
from millrace.operating.letters import Choice, Place
from millrace.operating.replay_run import Report
from tests.cli.letters import events, figures, refused, replay, world_with
from tests.support import EPOCH_MS, World


@pytest.mark.parametrize("chunk", [1, 2, 1000])
async def test_a_second_run_skips_what_the_first_sent_back(tmp_path: Path, chunk: int) -> None:
    """However the letters were cut into transactions; what was refused since is sent."""
    world = await world_with(tmp_path, *(refused(offset) for offset in range(5)))
    await replay(world, Choice(places=(Place(0, 2), Place(0, 0), Place(0, 0)))).go()

    second = await replay(world, now_ms=EPOCH_MS + 1, chunk_letters=chunk).go()
    third = await replay(world, now_ms=EPOCH_MS + 2, chunk_letters=chunk).go()

    assert [(3, 2, 0, 0), (0, 5, 0, 0)] == [figures(second), figures(third)]
    assert [b"0", b"1", b"2", b"3", b"4"] == sorted(filter(None, await events(world)))


@pytest.mark.parametrize("faults", [["lost"], ["unanswered"], ["lost", "unanswered"]])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_an_unclear_commit_is_asked_of_the_log(tmp_path: Path, faults: list[CommitFault], at: int) -> None:
    """Whether the run's own mark or a chunk is concerned, each record is there once, and counted as sent back."""
    world = await world_with(tmp_path, *(refused(offset) for offset in range(4)))
    _fail(world, at, faults)

    report = await replay(world, chunk_letters=2).go()

    assert (4, 0, 0, 0) == figures(report)
    assert [b"0", b"1", b"2", b"3"] == await events(world)


async def test_a_log_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The operator is told that the run can be repeated."""
    world = await world_with(tmp_path, refused(3))
    _fail(world, 0, ["lost"] * 3)

    with pytest.raises(BusError, match="run it again, what was sent back is remembered"):
        await replay(world).go()

    assert [] == await events(world)


async def test_another_run_takes_over(tmp_path: Path) -> None:
    """The first is fenced and says so; the second sends what the first had not."""
    world = await world_with(tmp_path, *(refused(offset) for offset in range(4)))
    first = replay(world, chunk_letters=2)
    reports: list[Report] = []
    usurped = first._write

    async def write(*args: Any) -> None:
        await usurped(*args)
        if not reports:
            reports.append(await replay(world, now_ms=EPOCH_MS + 1).go())

    first._write = write  # type: ignore[method-assign]
    with pytest.raises(FencedError, match="another replay of tiny has taken over after this one had sent back 2"):
        await first.go()

    assert [(2, 2, 0, 0)] == [figures(report) for report in reports]
    assert [b"0", b"1", b"2", b"3"] == await events(world)


async def test_what_an_open_transaction_hides_is_waited_for(tmp_path: Path) -> None:
    """Somebody else's transaction in the audit log hides that a letter was sent back: better no answer than twice."""
    world = await world_with(tmp_path, refused(3))
    first = replay(world)
    write, opened = first._write, []

    async def write_behind(*args: Any) -> None:
        opened.append(world.log.begin("other", world.log.init_producer("other")))
        world.log.append(opened[0], OutRecord("audit-events", b"other", b"", 0), 0)
        await write(*args)

    first._write = write_behind  # type: ignore[method-assign]
    await first.go()
    with pytest.raises(BusError, match="somebody else's transaction has been open there"):
        await replay(world, now_ms=EPOCH_MS + 1, patience_s=0.05).go()

    world.log.end(opened[0], commit=False)
    later = await replay(world, now_ms=EPOCH_MS + 2).go()

    assert (0, 1, 0, 0) == figures(later)
    assert [b"3"] == await events(world)


async def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    """Nor does it take the id from a run that is at work."""
    world = await world_with(tmp_path, refused(3), refused(4))
    await replay(world, Choice(places=(Place(0, 0),))).go()
    at_work = await world.transport().producer("millrace-replay-tiny")

    report = await replay(world, now_ms=EPOCH_MS + 1).dry()

    assert (1, 1, 0, 0) == figures(report)
    assert [b"3"] == await events(world)
    assert [2] == await at_work.commit([OutRecord("tiny-events", None, b"still mine", 0)])


def _fail(world: World, after: int, faults: list[CommitFault]) -> None:
    """Let commits of the replay end unclearly, after so many that succeed."""
    coming: list[CommitFault | None] = [None] * after + list(faults)

    def fault(owner: str) -> CommitFault | None:
        return coming.pop(0) if owner == "millrace-replay-tiny" and coming else None

    world.log.commit_fault = fault
