"""The Kafka transport, beyond the suite: kill -9, time-outs, batches, and what aiokafka would hide."""

import asyncio
import itertools
import signal
import sys
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord, TopicPartition
from millrace.contracts.errors import BusError, UnclearError
from millrace.contracts.topics import FOREVER, TopicSpec
from tests.bus.copier import BATCH, POINTS
from tests.transports import PATIENCE_S, eventually, fresh, topic, values, visible, write

NOWHERE = "127.0.0.1:1"  # nothing listens on this port

pytestmark = pytest.mark.broker


@pytest.fixture
async def transport(broker):
    """One connection."""
    made = KafkaTransport(broker.bootstrap_servers, "test")
    yield made
    await made.close()


def consume(bootstrap_servers: str, name: str, partition: int, count: int, isolation: str) -> list[bytes]:
    """What a client that is not ours reads: until ``count`` records were seen and none follows at once."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": fresh("reader"),
            "isolation.level": isolation,
            "auto.offset.reset": "error",
        }
    )
    consumer.assign([ConfluentPartition(name, partition, 0)])
    found: list[bytes] = []
    misses = 0
    while misses < (3 if len(found) >= count else 60):
        messages = consumer.consume(1000, timeout=0.5)
        found += [message.value() for message in messages if message.error() is None]
        misses = 0 if messages else misses + 1
    consumer.close()
    return found


async def run_copier(*arguments: str) -> tuple[int | None, set[bytes]]:
    """Run the child until it has killed itself or has copied everything; its return code and what it said."""
    script = str(Path(__file__).with_name("copier.py"))
    child = await asyncio.create_subprocess_exec(
        sys.executable, script, *arguments, cwd=Path(__file__).parents[2], stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    said: set[bytes] = set()
    try:
        async with asyncio.timeout(2 * PATIENCE_S):
            while line := await child.stdout.readline():
                said.add(line.strip())
                if said >= {b"caught up 0", b"caught up 1"}:
                    break
    finally:
        if child.returncode is None and said >= {b"caught up 0", b"caught up 1"}:
            child.send_signal(signal.SIGTERM)
        await child.wait()
    return child.returncode, said


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
