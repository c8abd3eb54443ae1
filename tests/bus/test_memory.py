"""What the memory transport has beyond the suite: faults on demand, death, and interleavings that a seed decides."""

import asyncio
import random

import pytest

from millrace.bus.clock import LoopClock
from millrace.bus.memory import MemoryLog, MemoryTransport
from millrace.bus.memory_log import SESSION_TIMEOUT_S, TRANSACTION_TIMEOUT_S
from millrace.bus.types import OutRecord, Record, TopicPartition
from millrace.contracts.errors import BusError, FencedError, UnclearError
from millrace.contracts.topics import FOREVER, TopicSpec
from tests.bus.test_consume import run
from tests.transports import Listener

AT = TopicPartition("t", 0)


def connect(log: MemoryLog, seed: int | None = None, epoch_ms: int = 0) -> MemoryTransport:
    """A connection to a log with topic ``t`` of two partitions."""
    log.create(TopicSpec("t", 2, FOREVER))
    return MemoryTransport(LoopClock(epoch_ms), None if seed is None else random.Random(seed), log=log)


def out(value: bytes, number: int = 0) -> OutRecord:
    """A record for topic ``t``."""
    return OutRecord("t", None, value, number)


def values(log: MemoryLog) -> list[bytes | None]:
    """What is visible in partition 0."""
    return [record.value for record in log.read(AT, 0, 1000)[0]]


def test_a_transport_without_a_log_has_its_own() -> None:
    """Two transports share nothing unless they are given the same log."""
    one, two = MemoryTransport(LoopClock(0)), MemoryTransport(LoopClock(0))

    assert one.log is not two.log
    assert MemoryTransport(LoopClock(0), log=one.log).log is one.log


def test_log_time_is_the_clocks() -> None:
    """Records carry the time of the clock that the transport was given, read at the commit."""

    async def main() -> list[Record]:
        log = MemoryLog()
        producer = await connect(log, epoch_ms=1_000_000).producer("id")
        await asyncio.sleep(2.5)
        await producer.commit([out(b"0")])
        return log.read(AT, 0, 10)[0]

    assert [record.timestamp_ms for record in run(main())] == [1_002_500]


@pytest.mark.parametrize(("fault", "visible", "position"), [("lost", [], None), ("unanswered", [b"0"], 7)])
def test_an_unclear_commit_is_all_or_nothing(fault, visible, position) -> None:
    """Records and positions are both there or both not; a new owner of the id can tell, and works."""

    async def main() -> None:
        log = MemoryLog()
        transport = connect(log)
        producer = await transport.producer("id")
        log.fail_next_commit(fault)
        with pytest.raises(UnclearError):
            await producer.commit([out(b"0")], "g", {AT: 7})
        with pytest.raises(UnclearError):
            await producer.commit([out(b"again")])
        await producer.close()
        again = await transport.producer("id")

        assert (values(log), await transport.committed("g", [AT])) == (visible, {AT: position})
        await again.commit([out(b"1")])
        assert values(log) == [*visible, b"1"]

    run(main())


def test_the_dead_hold_up_readers_no_longer_than_the_transaction_timeout() -> None:
    """A crash in mid-transaction hides what follows until the log aborts it; the dead cannot come back."""

    async def main() -> None:
        log = MemoryLog()
        transport, other = connect(log), connect(log)
        producer = await transport.producer("dead")
        log.append(log.begin("dead", producer.epoch), out(b"never"), 0)
        await transport.crash()
        await producer.close()
        await (await other.producer("alive")).commit([out(b"after")])

        assert values(log) == []
        await asyncio.sleep(TRANSACTION_TIMEOUT_S + 0.1)
        assert values(log) == [b"after"]
        with pytest.raises(BusError, match="crashed"):
            await transport.producer("dead")
        with pytest.raises(FencedError):
            log.check_owner("dead", producer.epoch)

    run(main())


def test_the_dead_keep_their_numbers_until_the_session_timeout() -> None:
    """Then the others share them; nobody calls the dead one's ``revoked``."""

    async def main() -> None:
        log = MemoryLog()
        transport, other = connect(log), connect(log)
        one, two = Listener("one"), Listener("two")
        await transport.join("g", ["t"], one)
        await other.join("g", ["t"], two)
        told = len(one.told)
        await transport.crash()
        await asyncio.sleep(SESSION_TIMEOUT_S - 0.1)

        assert two.owned == {1}
        await asyncio.sleep(0.2)
        assert two.owned == {0, 1}
        assert len(one.told) == told

    run(main())


def test_a_member_that_does_not_come_back_loses_its_numbers() -> None:
    """``revoked`` is waited for, but not for ever."""

    class Stuck(Listener):
        async def revoked(self, numbers: frozenset[int]) -> None:
            await asyncio.Event().wait()

    async def main() -> float:
        log = MemoryLog()
        await connect(log).join("g", ["t"], Stuck("one"))
        two = Listener("two")
        begin = asyncio.get_running_loop().time()
        await connect(log).join("g", ["t"], two)
        assert two.owned == {1}
        return asyncio.get_running_loop().time() - begin

    assert run(main()) == pytest.approx(30, abs=1)


def test_joining_may_be_given_up() -> None:
    """A member whose ``join`` was cancelled leaves no ghost that keeps partitions to itself."""

    class Slow(Listener):
        async def assigned(self, numbers: frozenset[int]) -> None:
            await asyncio.sleep(5)

    async def main() -> None:
        log = MemoryLog()
        task = asyncio.create_task(connect(log).join("g", ["t"], Slow("one")))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        two = Listener("two")
        await connect(log).join("g", ["t"], two)
        assert two.owned == {0, 1}

    run(main())


def fetches(seed: int | None) -> list[int]:
    """How many records each fetch of twenty gave."""

    async def main() -> list[int]:
        log = MemoryLog()
        transport = connect(log, seed)
        await (await transport.producer("id")).commit([out(b"x")] * 20)
        member = await transport.join("g", ["t"], Listener())
        member.seek("t", 0, 0)
        found = []
        while sum(found) < 20:
            found.append(len(await member.fetch(0, ["t"], 10, 1)))
        return found

    return run(main())


def test_a_seed_decides_how_much_a_fetch_gives() -> None:
    """Without one it is as much as there is; with one it is drawn, and drawn the same again."""
    assert fetches(None) == [10, 10]
    assert fetches(1) == fetches(1)
    assert len({tuple(fetches(seed)) for seed in range(10)}) > 5


def test_a_seed_interleaves_transactions() -> None:
    """Two producers that commit at once get their offsets in an order that the seed decides."""

    def order(seed: int) -> list[bytes | None]:
        async def main() -> list[bytes | None]:
            log = MemoryLog()
            one, two = connect(log, seed), connect(log, seed + 1000)
            first, second = await one.producer("1"), await two.producer("2")
            await asyncio.gather(first.commit([out(b"1")]), second.commit([out(b"2")]))
            return values(log)

        return run(main())

    assert {tuple(order(seed)) for seed in range(10)} == {(b"1", b"2"), (b"2", b"1")}
    assert order(5) == order(5)
