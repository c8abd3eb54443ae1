"""What every transport must do with groups: the numbers of :meth:`Transport.join` and the records of ``subscribe``."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from millrace.bus.transport import GroupMember, Transport
from millrace.bus.types import Record
from millrace.contracts.errors import BusError, TopicMismatchError
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


# Groups


async def test_nothing_is_fetched_before_a_seek(transport: Transport) -> None:
    """An owned number gives nothing until its positions are set, whatever the group has committed."""
    name, group = await topic(transport), fresh("group")
    await write(transport, name, [b"0"])
    listener = Listener()
    member = await transport.join(group, [name], listener)
    before = await member.fetch(0, [name], 10, 0.3)
    unknown = member.caught_up(name, 0)
    member.seek(name, 0, 0)
    after = await fetch_all(member, 0, [name], 1)

    assert listener.told == [("one", "assigned", frozenset({0}))]
    assert (before, unknown, [record.value for record in after]) == ([], False, [b"0"])


async def test_fetch_keeps_order_limit_and_position(transport: Transport) -> None:
    """Each topic's records come in order, at most ``max_records`` at once; a seek backwards repeats them."""
    first, second = await topic(transport), await topic(transport)
    for batch in range(3):
        await write(transport, first, [b"%d" % (batch * 10 + n) for n in range(10)])
    await write(transport, second, [b"a", b"b"])
    member = await transport.join(fresh("group"), [first, second], Listener())
    member.seek(first, 0, 0)
    member.seek(second, 0, 0)
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < 32:
            batch_found = await member.fetch(0, [first, second], 7, 0.2)
            assert len(batch_found) <= 7
            found += batch_found
    member.seek(first, 0, 0)
    again = await fetch_all(member, 0, [first], 1)

    assert [r.value for r in found if r.topic == first] == [b"%d" % n for n in range(30)]
    assert [r.value for r in found if r.topic == second] == [b"a", b"b"]
    assert again[0] == next(r for r in found if r.topic == first)


async def test_a_member_is_told_what_it_still_owns(world: World) -> None:
    """``confirm`` returns for a number that is its own; not for another's, and not after it has left."""
    connection, listener = world.connect(), Listener()
    name = await topic(connection, 2)
    member = await connection.join(fresh("group"), [name], listener)
    await eventually(lambda: listener.owns({0, 1}), "it owns both")
    await member.confirm(0)
    await member.confirm(1)
    with pytest.raises(BusError, match="partition 2 is still ours"):
        await member.confirm(2)
    await member.close()
    with pytest.raises(BusError, match="partition 0 is still ours"):
        await member.confirm(0)


async def test_a_topic_left_out_waits(transport: Transport) -> None:
    """Back-pressure: only the named topics are fetched, the others keep their place."""
    first, second = await topic(transport), await topic(transport)
    await write(transport, first, [b"1"])
    await write(transport, second, [b"2"])
    member = await transport.join(fresh("group"), [first, second], Listener())
    member.seek(first, 0, 0)
    member.seek(second, 0, 0)
    only = await fetch_all(member, 0, [second], 1)
    none = await member.fetch(0, [second], 10, 0.3)
    rest = await fetch_all(member, 0, [first, second], 1)

    assert [[r.value for r in found] for found in (only, none, rest)] == [[b"2"], [], [b"1"]]


async def test_caught_up_is_about_what_is_stable(world: World, transport: Transport) -> None:
    """False before the first fetch and with records left; true at the end, also when an open transaction follows."""
    name = await topic(transport)
    await write(transport, name, [b"0", b"1"])
    await world.leave_open(fresh("id"), name, b"open")
    member = await transport.join(fresh("group"), [name], Listener())
    member.seek(name, 0, 0)
    seen = [member.caught_up(name, 0)]
    await fetch_all(member, 0, [name], 1, most=1)
    seen.append(member.caught_up(name, 0))
    await fetch_all(member, 0, [name], 1)

    async def caught_up() -> bool:
        await member.fetch(0, [name], 10, 0.1)
        return member.caught_up(name, 0)

    await eventually(caught_up, "all that is stable was fetched")
    assert seen == [False, False]


async def test_lanes_in_lockstep_each_see_every_topic(transport: Transport) -> None:
    """Which topic is read first changes for each number: backlogs everywhere hide no topic from either of two lanes."""
    first, second = await topic(transport, 2), await topic(transport, 2)
    for name, number in ((first, 0), (first, 1), (second, 0), (second, 1)):
        await write(transport, name, [b"x"] * 60, number)
    member = await transport.join(fresh("group"), [first, second], Listener())
    found: dict[int, set[str]] = {0: set(), 1: set()}
    for number in found:
        for name in (first, second):
            member.seek(name, number, 0)
            await fetch_all(member, number, [name], 1, most=1)  # from here on there is more in memory than is taken
    for _ in range(4):
        for number, seen in found.items():
            seen |= {record.topic for record in await member.fetch(number, [first, second], 5, 1.0)}

    assert found == {0: {first, second}, 1: {first, second}}


async def test_caught_up_is_never_from_before_the_last_fetch(transport: Transport) -> None:
    """A fetch that had no room for a topic has looked at it all the same: what came meanwhile is not overlooked."""
    one, two = await topic(transport), await topic(transport)
    member = await transport.join(fresh("group"), [one, two], Listener())
    member.seek(one, 0, 0)
    member.seek(two, 0, 0)
    for _ in range(4):
        await reach_the_ends(member, [one, two], [one, two])
        left = {one: len(await write(transport, one, [b"x"] * 3)), two: len(await write(transport, two, [b"x"] * 3))}
        while any(left.values()):
            for record in await member.fetch(0, [one, two], 3, 1.0):
                left[record.topic] -= 1
            wrong = {name: count for name, count in left.items() if count and member.caught_up(name, 0)}
            assert not wrong, "said to be caught up with records left"


async def test_a_topic_left_out_is_looked_at(transport: Transport) -> None:
    """``caught_up`` is as fresh for it as for the others, whether it has come to have more or not."""
    one, two = await topic(transport), await topic(transport)
    member = await transport.join(fresh("group"), [one, two], Listener())
    member.seek(one, 0, 0)
    member.seek(two, 0, 0)
    await reach_the_ends(member, [one, two], [one, two])
    await write(transport, two, [b"late"])
    await member.fetch(0, [one], 10, 0)
    missing = member.caught_up(two, 0)
    await fetch_all(member, 0, [two], 1)
    await reach_the_ends(member, [one], [one, two])

    assert not missing


async def reach_the_ends(member: GroupMember, wanted: list[str], topics: list[str]) -> None:
    """Fetch the wanted topics until all topics are known to be at their ends."""

    async def caught_up() -> bool:
        await member.fetch(0, wanted, 10, 0.05)
        return all(member.caught_up(name, 0) for name in topics)

    await eventually(caught_up, "all are known to be at their ends")


async def test_two_members_share_the_numbers(world: World, transport: Transport) -> None:
    """A number has one owner at a time: ``revoked`` has returned before it is assigned to another."""
    first, second, group = await topic(transport, 4), await topic(transport, 4), fresh("group")
    told: list[tuple[str, str, frozenset[int]]] = []
    one, two = Listener("one", told), Listener("two", told)
    member = await transport.join(group, [first, second], one)
    alone = one.owned
    other = await world.connect("other").join(group, [first, second], two)

    async def shared() -> bool:
        return len(one.owned) == len(two.owned) == 2

    await eventually(shared, "each has two")
    assert one.owned | two.owned == alone == {0, 1, 2, 3}
    await member.close()
    await eventually(lambda: two.owns({0, 1, 2, 3}), "the other gets all")
    await other.close()
    await other.close()

    assert (one.owned, two.owned) == (frozenset(), frozenset())
    owners: dict[int, str] = {}
    for name, what, numbers in told:
        for number in numbers:
            assert owners.get(number) == (None if what == "assigned" else name), told
            if what == "assigned":
                owners[number] = name
            else:
                del owners[number]


async def test_more_members_than_partitions_is_no_error(world: World, transport: Transport) -> None:
    """Joining returns for the member that owns nothing."""
    name, group = await topic(transport, 1), fresh("group")
    one, two = Listener(), Listener()
    await transport.join(group, [name], one)
    await world.connect("other").join(group, [name], two)

    async def settled() -> bool:
        return sorted([one.owned, two.owned], key=len) == [frozenset(), frozenset({0})]

    await eventually(settled, "one owns the partition, the other nothing")


async def test_partitions_must_be_equal(transport: Transport) -> None:
    """A group over topics with different partition counts is refused, naming them."""
    first, second = await topic(transport, 1), await topic(transport, 2)
    with pytest.raises(TopicMismatchError, match=second):
        await transport.join(fresh("group"), [first, second], Listener())


async def test_what_a_listener_raises_comes_out(transport: Transport) -> None:
    """Nothing that goes wrong in a rebalance is swallowed: ``failure`` and ``fetch`` raise it."""

    class Broken(Listener):
        async def assigned(self, numbers: frozenset[int]) -> None:
            raise ValueError(numbers)

    name = await topic(transport)
    member = await transport.join(fresh("group"), [name], Broken())
    with pytest.raises(ValueError, match="0"):
        await asyncio.wait_for(member.failure(), PATIENCE_S)
    with pytest.raises(ValueError, match="0"):
        await member.fetch(0, [name], 1, 0)


# At least once


async def collect(transport: Transport, group: str, topics: list[str], count: int) -> list[Record]:
    """Subscribe until there are ``count`` records, then cancel."""
    found: list[Record] = []
    full = asyncio.Event()

    async def handle(record: Record) -> None:
        found.append(record)
        if len(found) >= count:
            full.set()

    subscription = asyncio.create_task(transport.subscribe(group, topics, handle))
    filled = asyncio.create_task(full.wait())
    try:
        await asyncio.wait([subscription, filled], timeout=PATIENCE_S, return_when=asyncio.FIRST_COMPLETED)
        assert filled.done(), f"{len(found)} of {count} records, {subscription}"
    finally:
        filled.cancel()
        subscription.cancel()
        await asyncio.gather(subscription, return_exceptions=True)
    return found


async def test_a_subscription_begins_at_the_beginning_and_goes_on_where_it_was(transport: Transport) -> None:
    """Topics may have different partition counts; order holds within a partition; the position outlives the caller."""
    first, second, group = await topic(transport, 1), await topic(transport, 3), fresh("group")
    await write(transport, first, [b"0", b"1"])
    await write(transport, second, [b"2"], partition=2)
    found = await collect(transport, group, [first, second], 3)
    await write(transport, first, [b"3"])
    more = await collect(transport, group, [first, second], 1)

    assert sorted((r.topic == second, r.value) for r in found) == [(False, b"0"), (False, b"1"), (True, b"2")]
    assert [r.value for r in found if r.topic == first] == [b"0", b"1"]
    assert more[-1].value == b"3"


async def test_a_failing_handler_ends_the_subscription_and_skips_nothing(transport: Transport) -> None:
    """Its exception comes out of ``subscribe``; next time the record is handed over again, before the later ones."""
    name, group = await topic(transport), fresh("group")
    await write(transport, name, [b"0", b"bad", b"2"])
    seen: list[bytes | None] = []

    async def fail(record: Record) -> None:
        seen.append(record.value)
        if record.value == b"bad":
            raise KeyError(record.value)

    with pytest.raises(KeyError, match="bad"):
        await asyncio.wait_for(transport.subscribe(group, [name], fail), PATIENCE_S)
    again = [record.value for record in await collect(transport, group, [name], 2)]

    assert seen == [b"0", b"bad"]
    assert again[-2:] == [b"bad", b"2"]


async def test_subscriptions_in_one_process_do_not_disturb_each_other(transport: Transport) -> None:
    """Two groups on the same topics each get everything; one failing leaves the other at work."""
    name = await topic(transport)
    await write(transport, name, [b"0"])

    async def fail(record: Record) -> None:
        raise KeyError(record.value)

    other = asyncio.create_task(collect(transport, fresh("group"), [name], 2))
    with pytest.raises(KeyError):
        await asyncio.wait_for(transport.subscribe(fresh("group"), [name], fail), PATIENCE_S)
    await write(transport, name, [b"1"])

    assert [record.value for record in await other] == [b"0", b"1"]


async def test_a_subscription_skips_what_was_aborted(world: World, transport: Transport) -> None:
    """It reads read_committed like all others."""
    name, owner = await topic(transport), fresh("id")
    await world.leave_open(owner, name, b"never")
    await transport.producer(owner)
    await write(transport, name, [b"0"])

    assert [record.value for record in await collect(transport, fresh("group"), [name], 1)] == [b"0"]
