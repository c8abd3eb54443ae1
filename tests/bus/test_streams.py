"""At least once through Faust: what is committed when, and what becomes of a member that is killed."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord, Record, TopicPartition
from tests.transports import PATIENCE_S, KafkaWorld, eventually, fresh, topic, write

pytestmark = pytest.mark.broker

TAKEN_OVER_S = 12.0  # a session of 6 s, one rebalance, and the noise of a loaded machine


@pytest.fixture
async def transport(broker):
    """One connection."""
    made = KafkaTransport(broker.bootstrap_servers, "test")
    yield made
    await made.close()


class Subscription:
    """A subscription in the background, and what it was handed."""

    def __init__(self, transport: KafkaTransport, group: str, *topics: str, fail_at: bytes | None = None) -> None:
        self.seen: list[Record] = []
        self.fail_at = fail_at
        self.task = asyncio.create_task(transport.subscribe(group, topics, self._handle))

    async def _handle(self, record: Record) -> None:
        self.seen.append(record)
        if record.value == self.fail_at and self.fail_at is not None:
            raise KeyError(record.value)

    async def has(self, count: int) -> bool:
        """Whether so many were handed over. Raises what ended the subscription early."""
        if self.task.done():
            self.task.result()
        return len(self.seen) >= count

    async def stop(self) -> None:
        """Cancel and wait."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def test_a_record_comes_whole(transport) -> None:
    """Key, value, headers, offset and time are those that ``read`` gives; nothing is decoded; absent stays absent."""
    name = await topic(transport)
    producer = await transport.producer(fresh("id"))
    records = [OutRecord(name, b"\xff\x00", b"\x80", 0, (("h", b"\xfe"),)), OutRecord(name, None, b"", 0)]
    records.append(OutRecord(name, b"deleted", None, 0))
    await producer.commit(records)
    subscription = Subscription(transport, fresh("group"), name)
    await eventually(lambda: subscription.has(3), "all are handed over")
    await subscription.stop()

    read = [record async for batch in transport.read(name, 0, 0, 3) for record in batch]
    assert read == subscription.seen


async def test_the_position_follows_across_what_is_not_handed_over(transport, broker) -> None:
    """Markers and aborted records take places; they do not hold the position back, not even right after offset 0."""
    name, group, owner = await topic(transport), fresh("group"), fresh("id")
    at = TopicPartition(name, 0)
    await write(transport, name, [b"0"])
    world = KafkaWorld(broker.bootstrap_servers)
    await world.leave_open(owner, name, b"never")
    await transport.producer(owner)
    await write(transport, name, [b"1"])
    last = await write(transport, name, [b"2"])
    await world.close()
    subscription = Subscription(transport, group, name)

    async def committed() -> bool:
        return await subscription.has(3) and (await transport.committed(group, [at]))[at] == last[0] + 1

    await eventually(committed, "the position is after the last record, while it runs")
    await subscription.stop()


async def test_a_failed_record_is_not_acknowledged(transport) -> None:
    """Faust alone would acknowledge it: here the committed position is the failed record's own offset."""
    name, group = await topic(transport), fresh("group")
    at = TopicPartition(name, 0)
    offsets = await write(transport, name, [b"0", b"1", b"bad", b"3", b"4"])
    subscription = Subscription(transport, group, name, fail_at=b"bad")
    with pytest.raises(KeyError, match="bad"):
        await asyncio.wait_for(subscription.task, PATIENCE_S)

    assert [b"0", b"1", b"bad"] == [record.value for record in subscription.seen]
    assert {at: offsets[2]} == await transport.committed(group, [at])


async def test_a_slow_handler_is_given_one_record_at_a_time(transport) -> None:
    """Concurrency is one, over all partitions and topics."""
    first, second = await topic(transport, 2), await topic(transport)
    for name, number in ((first, 0), (first, 1), (second, 0)):
        await write(transport, name, [b"x"] * 3, number)
    at_once, most, count = 0, 0, 0

    async def handle(_record: Record) -> None:
        nonlocal at_once, most, count
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        count += 1

    task = asyncio.create_task(transport.subscribe(fresh("group"), [first, second], handle))

    async def all_handled() -> bool:
        return count == 9

    await eventually(all_handled, "all are handled")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    assert most == 1


async def test_cancelling_stops_cleanly(transport) -> None:
    """In the middle of a handler too; its record is not done, and no thread stays behind."""
    name, group = await topic(transport), fresh("group")
    await write(transport, name, [b"0"])
    threads = threading.active_count()
    began, ended = asyncio.Event(), asyncio.Event()

    async def handle(_record: Record) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(transport.subscribe(group, [name], handle))
    await asyncio.wait_for(began.wait(), PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE_S)

    async def no_thread_left() -> bool:
        return threading.active_count() <= threads

    assert ended.is_set()
    assert {TopicPartition(name, 0): None} == await transport.committed(group, [TopicPartition(name, 0)])
    await eventually(no_thread_left, "Faust's threads have ended")


@pytest.mark.slow
async def test_a_killed_member_is_replaced(transport, broker) -> None:
    """Another member of the group takes over its partition in about the session timeout; nothing is skipped."""
    name, group = await topic(transport), fresh("group")
    await write(transport, name, [b"0"])
    script = str(Path(__file__).with_name("subscriber.py"))
    arguments = [broker.bootstrap_servers, name, group]
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, *arguments, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await asyncio.wait_for(child.stdout.readline(), PATIENCE_S) == b"0\n"
    child.kill()
    await child.wait()
    await write(transport, name, [b"1"])
    begin = asyncio.get_running_loop().time()
    subscription = Subscription(transport, group, name)

    async def has_the_new_one() -> bool:
        await subscription.has(0)
        return b"1" in [record.value for record in subscription.seen]

    await eventually(has_the_new_one, "the other member was given the record")
    took_s = asyncio.get_running_loop().time() - begin
    await subscription.stop()
    print(f"taken over after {took_s:.1f} s")  # noqa: T201 - the figure is worth seeing

    assert took_s < TAKEN_OVER_S
