"""What every transport must do with topics, records and transactions. Groups are in test_every_transport_group.py."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from millrace.bus.partitioner import partition_of
from millrace.bus.transport import Transport
from millrace.bus.types import RECORD_BYTES_MAX, OutRecord, TopicPartition
from millrace.contracts.errors import BusError, FencedError, OffsetGoneError, RecordTooLargeError, TopicMismatchError
from millrace.contracts.topics import FOREVER, TopicSpec
from tests.transports import (
    EVERY,
    PATIENCE_S,
    Listener,
    World,
    eventually,
    fetch_all,
    fresh,
    open_world,
    topic,
    values,
    visible,
    write,
)


@pytest.fixture(params=EVERY)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A cluster of each kind."""
    async with open_world(request) as made:
        yield made


@pytest.fixture
def transport(world: World) -> Transport:
    """One connection."""
    return world.connect()


# Topics


async def test_topics_are_created_once(transport: Transport) -> None:
    """Creating a topic again with the same partitions changes nothing; with others it is an error naming both."""
    name = await topic(transport, 2)
    await transport.create_topics([TopicSpec(name, 2, FOREVER)])

    with pytest.raises(TopicMismatchError, match=r"has 2 partitions, 3 are needed"):
        await transport.create_topics([TopicSpec(name, 3, FOREVER)])


async def test_a_new_topic_is_empty(transport: Transport) -> None:
    """Its bounds are equal, and reading up to its end gives nothing."""
    name = await topic(transport)

    assert tuple(await transport.bounds(name, 0)) == (0, 0)
    assert await values(transport, name, 0, 0) == []


async def test_a_missing_topic_is_an_error(transport: Transport) -> None:
    """Reading or joining what does not exist says so and does not wait for ever."""
    with pytest.raises(BusError, match="does not exist"):
        await values(transport, fresh("nothing"), 0, 1)
    with pytest.raises(BusError, match="does not exist"):
        await transport.join(fresh("group"), [fresh("nothing")], Listener())


# Writing and reading


async def test_a_record_comes_back_as_it_was_written(transport: Transport) -> None:
    """Key, value and headers keep their bytes; absent stays absent; the offset is the one that commit returned."""
    name = await topic(transport, 2)
    written = [
        OutRecord(name, b"key", b"value", 1, (("a", b"1"), ("b", b""), ("a", b"2"))),
        OutRecord(name, None, b"", 1),
        OutRecord(name, b"", None, 1),
    ]
    producer = await transport.producer(fresh("id"))
    offsets = await producer.commit(written)
    found = [record async for batch in transport.read(name, 1, 0, offsets[-1] + 1) for record in batch]

    assert [record.offset for record in found] == offsets
    assert [OutRecord(r.topic, r.key, r.value, r.partition, r.headers) for r in found] == written


async def test_a_key_decides_the_partition_as_in_java(transport: Transport) -> None:
    """Without a partition murmur2 of the key decides, and offsets come back in the order of the records."""
    name = await topic(transport, 3)
    keys = [f"entity-{n}".encode() for n in range(20)]
    producer = await transport.producer(fresh("id"))
    offsets = await producer.commit([OutRecord(name, key, key) for key in keys])
    ends: dict[int, int] = {}
    for key, offset in zip(keys, offsets, strict=True):
        ends[partition_of(key, 3)] = max(offset + 1, ends.get(partition_of(key, 3), 0))
    found = {
        (partition, record.offset): record.key
        for partition, end in ends.items()
        async for batch in transport.read(name, partition, 0, end)
        for record in batch
    }

    assert len(ends) == 3
    assert found == {(partition_of(k, 3), offset): k for k, offset in zip(keys, offsets, strict=True)}


async def test_markers_take_offsets(transport: Transport) -> None:
    """Offsets grow but are not dense: between two transactions there is a marker."""
    name = await topic(transport)
    producer = await transport.producer(fresh("id"))

    assert await producer.commit([OutRecord(name, None, b"1", 0), OutRecord(name, None, b"2", 0)]) == [0, 1]
    assert await producer.commit([OutRecord(name, None, b"3", 0)]) == [3]


async def test_reading_stops_at_the_stop(transport: Transport) -> None:
    """``stop`` is exclusive, and is reached although the last places before it belong to a marker."""
    name = await topic(transport)
    await write(transport, name, [b"0", b"1", b"2"])
    end = (await transport.bounds(name, 0)).end

    assert end == 4
    assert await values(transport, name, 0, end) == [b"0", b"1", b"2"]
    assert await values(transport, name, 1, 2) == [b"1"]
    assert await values(transport, name, 3, end) == []


async def test_reading_without_a_stop_goes_on(transport: Transport) -> None:
    """Records that become stable later are handed over too."""
    name = await topic(transport)
    await write(transport, name, [b"0"])
    async with asyncio.timeout(PATIENCE_S), aclosing(transport.read(name, 0, 0, None)) as batches:  # type: ignore[type-var]
        assert [record.value for record in await anext(batches)] == [b"0"]
        await write(transport, name, [b"1"])
        assert [record.value for record in await anext(batches)] == [b"1"]


async def test_offset_at_finds_a_time(transport: Transport) -> None:
    """The first record at or after a log time; the begin for long ago; the end for the future."""
    name = await topic(transport)
    await write(transport, name, [b"0"])
    await asyncio.sleep(0.02)  # log time has milliseconds: let them differ
    offsets = await write(transport, name, [b"1"])
    batches = [batch async for batch in transport.read(name, 0, 0, offsets[0] + 1)]
    second = [record for batch in batches for record in batch][1]

    assert await transport.offset_at(name, 0, 0) == 0
    assert await transport.offset_at(name, 0, second.timestamp_ms) == second.offset
    assert await transport.offset_at(name, 0, second.timestamp_ms + 3_600_000) == (await transport.bounds(name, 0)).end


async def test_a_removed_offset_is_an_error(world: World, transport: Transport) -> None:
    """Nothing jumps over what retention removed: reading and fetching both say so."""
    name = await topic(transport)
    await write(transport, name, [b"0", b"1", b"2"])
    await world.delete_before(name, 2)
    member = await transport.join(fresh("group"), [name], Listener())
    member.seek(name, 0, 1)

    assert (await transport.bounds(name, 0)).begin == 2
    assert await values(transport, name, 2, 3) == [b"2"]
    with pytest.raises(OffsetGoneError):
        await values(transport, name, 0, 3)
    with pytest.raises(OffsetGoneError):
        await fetch_all(member, 0, [name], 1)


# Transactions


async def test_records_and_positions_are_committed_together(transport: Transport) -> None:
    """A position is None until it is committed; positions alone may be committed too."""
    source, sink, group, owner = await topic(transport), await topic(transport), fresh("group"), fresh("id")
    at = TopicPartition(source, 0)
    producer = await transport.producer(owner)
    before = await transport.committed(group, [at])
    await producer.commit([OutRecord(sink, None, b"1", 0)], group, {at: 5})
    producer = await transport.producer(owner)
    between = await transport.committed(group, [at])
    await producer.commit([], group, {at: 7})
    await transport.producer(owner)

    assert [before, between, await transport.committed(group, [at])] == [{at: None}, {at: 5}, {at: 7}]
    assert await visible(transport, sink) == [b"1"]


async def test_committing_nothing_is_nothing(transport: Transport) -> None:
    """No records and no positions make no transaction."""
    producer = await transport.producer(fresh("id"))

    assert await producer.commit([]) == []
    assert await producer.commit([], fresh("group"), {}) == []


async def test_an_open_transaction_hides_what_comes_after_it(world: World, transport: Transport) -> None:
    """Nothing at or above the last stable offset is seen; a new owner aborts it, and then only the rest is seen."""
    name, owner = await topic(transport), fresh("id")
    await write(transport, name, [b"before"])
    await world.leave_open(owner, name, b"never")
    other = await transport.producer(fresh("id"))
    await other.commit([OutRecord(name, None, b"after", 0)])
    hidden = await visible(transport, name)
    await transport.producer(owner)

    async def skipped() -> bool:
        return await visible(transport, name) == [b"before", b"after"]

    assert hidden == [b"before"]
    await eventually(skipped, "the aborted record is skipped")


async def test_a_new_owner_fences_the_old_one(world: World, transport: Transport) -> None:
    """The old owner's calls raise ``FencedError`` and write nothing; the new one, on another connection, works."""
    name, owner, group = await topic(transport), fresh("id"), fresh("group")
    at = TopicPartition(name, 0)
    old = await transport.producer(owner)
    await old.commit([OutRecord(name, None, b"1", 0)], group, {at: 1})
    new = await world.connect("other").producer(owner)
    with pytest.raises(FencedError):
        await old.commit([OutRecord(name, None, b"late", 0)], group, {at: 2})
    await old.close()
    await old.close()
    await new.commit([OutRecord(name, None, b"2", 0)], group, {at: 3})
    await transport.producer(owner)

    assert await visible(transport, name) == [b"1", b"2"]
    assert await transport.committed(group, [at]) == {at: 3}


async def test_fencing_reaches_an_owner_that_only_moves_positions(transport: Transport) -> None:
    """A zombie without outputs is refused as well."""
    name, owner, group = await topic(transport), fresh("id"), fresh("group")
    old = await transport.producer(owner)
    await transport.producer(owner)
    with pytest.raises(FencedError):
        await old.commit([], group, {TopicPartition(name, 0): 1})
    await old.close()


async def test_a_record_at_the_limit_is_written_and_one_beyond_refused(transport: Transport) -> None:
    """The refusal comes before anything is written, and the producer works on."""
    name = await topic(transport)
    producer = await transport.producer(fresh("id"))
    with pytest.raises(RecordTooLargeError, match=str(RECORD_BYTES_MAX)):
        await producer.commit([OutRecord(name, None, bytes(RECORD_BYTES_MAX + 1), 0)])

    assert await producer.commit([OutRecord(name, None, bytes(RECORD_BYTES_MAX), 0)] * 2) == [0, 1]
    assert [len(value or b"") for value in await values(transport, name, 0, 2)] == [RECORD_BYTES_MAX] * 2
