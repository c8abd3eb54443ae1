"""The Kafka transport, beyond the suite: kill -9, time-outs, batches, and what aiokafka would hide."""

import asyncio
import itertools
import signal

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord, TopicPartition
from millrace.contracts.errors import BusError, UnclearError
from millrace.contracts.topics import FOREVER, TopicSpec
from tests.bus.copier import BATCH, POINTS
from tests.bus.copies import consume, run_copier
from tests.transports import PATIENCE_S, Listener, eventually, fresh, topic, values, visible, write

NOWHERE = "127.0.0.1:1"  # nothing listens on this port

pytestmark = pytest.mark.broker


@pytest.fixture
async def transport(broker):
    """One connection."""
    made = KafkaTransport(broker.bootstrap_servers, "test")
    yield made
    await made.close()


@pytest.mark.slow
async def test_each_record_is_copied_once_whenever_the_process_is_killed(transport, broker) -> None:
    """SIGKILL at five points of a transaction; a client of another make sees each record once, in order."""
    source, sink, group = await topic(transport, 2), await topic(transport, 2), fresh("group")
    written = {number: await write(transport, source, [b"x"] * 1000, number) for number in (0, 1)}
    place = [broker.bootstrap_servers, source, sink, group]
    for transaction, point in enumerate(POINTS, start=2):
        code, _ = await run_copier(*place, point, str(transaction))
        assert code == -signal.SIGKILL, f"{point} was never reached"
    code, _ = await run_copier(*place, "never", "0")
    assert code == -signal.SIGTERM

    sent = 0
    for number, offsets in written.items():
        expected = [b"%d" % offset for offset in offsets]
        read = asyncio.to_thread(consume, broker.bootstrap_servers, sink, number, len(expected), "read_committed")
        assert expected == await read
        raw = asyncio.to_thread(consume, broker.bootstrap_servers, sink, number, len(expected), "read_uncommitted")
        sent += len(await raw)
    assert sent > 2000 + BATCH // 2, "no transaction was aborted: the kills did not meet one"


async def test_a_large_commit_keeps_its_order(transport) -> None:
    """Records that need several batches in one partition come back in order, at the offsets that commit returned."""
    name = await topic(transport, 2)
    records = [OutRecord(name, None, b"%03d" % n + bytes(300_000), n % 2) for n in range(20)]
    producer = await transport.producer(fresh("id"))
    offsets = await producer.commit(records)
    found = {number: await values(transport, name, 0, 10, number) for number in (0, 1)}

    assert [n // 2 for n in range(20)] == offsets
    for number in (0, 1):
        assert [b"%03d" % n for n in range(number, 20, 2)] == [(value or b"")[:3] for value in found[number]]


@pytest.mark.parametrize("compression", ["lz4", "gzip"])
async def test_a_compressed_commit_is_read_back(broker, compression) -> None:
    """What a batch is compressed with is the setting's; readers of any make understand it."""
    transport = KafkaTransport(broker.bootstrap_servers, "test", compression=compression)
    name = await topic(transport)
    offsets = await write(transport, name, [b"%d" % n for n in range(500)])
    read = await asyncio.to_thread(consume, broker.bootstrap_servers, name, 0, 500, "read_committed")
    await transport.close()

    assert list(range(500)) == offsets
    assert [b"%d" % n for n in range(500)] == read


async def test_the_broker_stamps_all_but_the_inputs(transport, broker) -> None:
    """Log-append time is the broker's; a topic that upstream writes keeps the producer's time."""
    ours, theirs = fresh("ours"), fresh("theirs")
    specs = [TopicSpec(ours, 1, FOREVER), TopicSpec(theirs, 1, FOREVER, log_append_time=False)]
    await transport.create_topics(specs)
    upstream = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    await upstream.start()
    for name in (ours, theirs):
        await upstream.send_and_wait(name, b"x", timestamp_ms=1_500_000_000_000)
    await upstream.stop()
    times = {
        name: [record.timestamp_ms async for batch in transport.read(name, 0, 0, 1) for record in batch]
        for name in (ours, theirs)
    }

    assert [1_500_000_000_000] == times[theirs]
    assert times[ours][0] > 1_500_000_000_000


async def test_a_position_that_the_broker_does_not_tell_is_an_error(transport, monkeypatch) -> None:
    """A coordinator that is loading answers with nothing; taken for "no commit yet" that would begin all over again."""

    async def nothing(*_args, **_kwargs):
        return {}

    monkeypatch.setattr(AIOKafkaAdminClient, "list_consumer_group_offsets", nothing)
    with pytest.raises(BusError, match="no answer"):
        await transport.committed("group", [TopicPartition("t", 0)])


async def test_a_broker_that_is_not_there_is_an_error_in_bounded_time() -> None:
    """Every call ends, and closing never raises."""
    transport = KafkaTransport(NOWHERE, "test", call_timeout_ms=500, close_timeout_ms=500)
    calls = itertools.chain(
        [transport.producer("id"), transport.bounds("t", 0), transport.offset_at("t", 0, 0)],
        [transport.committed("g", [TopicPartition("t", 0)]), transport.create_topics([TopicSpec("t", 1, FOREVER)])],
    )
    async with asyncio.timeout(PATIENCE_S):
        for call in calls:
            with pytest.raises(BusError):
                await call
        await transport.close()


async def test_joining_waits_for_a_member_that_is_at_work(broker) -> None:
    """Giving up a number may take the rebalance timeout; who waits less to join only disturbs the group more."""
    timeouts = {"call_timeout_ms": 1000, "request_timeout_ms": 1000, "rebalance_timeout_ms": 20_000}
    one, two = (KafkaTransport(broker.bootstrap_servers, name, **timeouts) for name in ("one", "two"))
    name, group = await topic(one, 2), fresh("group")
    told: list[tuple[str, str, frozenset[int]]] = []

    class Slow(Listener):
        async def revoked(self, numbers: frozenset[int]) -> None:
            given_up = asyncio.Event()
            asyncio.get_running_loop().call_later(3, given_up.set)  # three times what a call may take
            await given_up.wait()
            await super().revoked(numbers)

    first, second = Slow("one", told), Listener("two", told)
    await one.join(group, [name], first)
    await two.join(group, [name], second)
    await eventually(lambda: first.owns({0}), "the first has one of the two")

    assert second.owned == {1}
    assert [what for who, what, _ in told if who == "one"] == ["assigned", "revoked", "assigned"]
    await two.close()
    await one.close()


async def test_a_commit_that_takes_too_long_is_unclear_and_recovered(broker, monkeypatch) -> None:
    """The bound is the setting's; closing and owning the id again settles it, and nothing of it is visible."""
    transport = KafkaTransport(broker.bootstrap_servers, "test", commit_timeout_ms=300, close_timeout_ms=500)
    name, owner = await topic(transport), fresh("id")
    producer = await transport.producer(owner)

    async def stall(_self):
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(AIOKafkaProducer, "commit_transaction", stall)
        with pytest.raises(UnclearError):
            await producer.commit([OutRecord(name, None, b"lost", 0)])
        await producer.close()
    producer = await transport.producer(owner)
    await producer.commit([OutRecord(name, None, b"kept", 0)])

    async def kept() -> bool:
        return await visible(transport, name) == [b"kept"]

    await eventually(kept, "only the second is visible")
    await transport.close()
