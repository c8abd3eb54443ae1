"""The reader of one partition, against a real broker: what it asks when, what it makes, and what it says of the lag."""

import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord
from aiokafka import TopicPartition as KafkaPartition

from millrace.bus.kafka import KafkaTransport
from millrace.bus.kafka.reader import Reader
from millrace.bus.types import Lag, Record, TopicPartition
from tests.transports import KafkaWorld, eventually, fresh, topic, write

pytestmark = pytest.mark.broker
LONG_S = 30.0


@pytest.fixture
async def world(broker):
    """Connections to the broker."""
    made = KafkaWorld(broker.bootstrap_servers)
    yield made
    await made.close()


@pytest.fixture
async def transport(world):
    """One connection."""
    return world.connect()


@pytest.fixture
async def reader(transport):
    """A reader of a new topic from its beginning."""
    made = Reader(transport.settings, TopicPartition(await topic(transport), 0), 0)
    yield made
    await made.close()


async def test_a_reader_at_the_end_gets_all_that_came_meanwhile_in_one_answer(transport, reader) -> None:
    """Twenty transactions after it had read everything: one take has them all, not the first alone."""
    await write(transport, reader.at.topic, [b"first"])
    first = await reader.take(100, LONG_S)
    for number in range(20):
        await write(transport, reader.at.topic, [b"%d" % number])
    taken = await reader.take(100, LONG_S)

    assert [b"first"] == [record.value for record in first]
    assert [b"%d" % number for number in range(20)] == [record.value for record in taken]


async def test_a_reader_that_is_behind_takes_its_bites_in_order(transport, reader) -> None:
    """A hundred records in bites of thirty: nothing is skipped where one fetch ends and the next begins."""
    await write(transport, reader.at.topic, [b"%d" % number for number in range(100)])
    bites = [await reader.take(30, LONG_S) for _ in range(4)]

    assert [30, 30, 30, 10] == [len(bite) for bite in bites]
    assert list(range(100)) == [record.offset for bite in bites for record in bite]


async def test_records_are_made_as_ours_and_other_consumers_get_their_own(transport, reader, broker) -> None:
    """Aiokafka's way of making records is replaced for readers only: Faust's consumers must not notice."""
    await write(transport, reader.at.topic, [b"x"])
    ours = (await reader.take(10, LONG_S))[0]
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = KafkaPartition(*reader.at)
        consumer.assign([place])
        theirs = await consumer.getone(place)
    finally:
        await consumer.stop()

    assert (Record, ConsumerRecord) == (type(ours), type(theirs))
    assert (theirs.topic, theirs.partition, theirs.offset, theirs.timestamp, theirs.key, theirs.value) == ours[:6]


async def test_the_lag_counts_what_can_be_read_and_what_an_open_transaction_hides(world, transport, reader) -> None:
    """Three records to read; then all is read, and two places lie behind somebody's open transaction."""
    name = reader.at.topic
    assert reader.lag is None
    await write(transport, name, [b"x"] * 5)
    await reader.take(2, LONG_S)
    behind = reader.lag
    await reader.take(10, LONG_S)
    await world.leave_open(fresh("id"), name, b"hidden")

    async def hidden() -> bool:
        assert [] == await reader.take(10, 0.1)
        return reader.lag is not None and reader.lag.hidden > 0

    await eventually(hidden, "the broker has told how much it hides")
    assert Lag(4, 0) == behind  # the commit's marker is one of them
    assert Lag(0, 1) == reader.lag


async def test_a_connection_that_never_fetched_knows_no_lag(broker) -> None:
    """Unknown is None, not 0: 0 would say that all is well."""
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    reader = Reader(transport.settings, TopicPartition("nothing", 0), 0)
    assert reader.lag is None
    await transport.close()
