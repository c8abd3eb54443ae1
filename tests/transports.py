"""The worlds that the suite over all transports runs in: one cluster of each kind, and what tests ask of it."""

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import pytest

from millrace.bus.clock import LoopClock
from millrace.bus.kafka import KafkaTransport
from millrace.bus.memory import MemoryLog, MemoryTransport
from millrace.bus.transport import GroupMember, Transport
from millrace.bus.types import OutRecord, Record, TopicPartition
from millrace.contracts.topics import FOREVER, TopicSpec

PATIENCE_S = 30.0  # a bound for what must happen, not a measurement: a loaded machine still passes
_numbers = itertools.count()


async def eventually(condition: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll until the condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in a broker
            await asyncio.sleep(0.02)
    assert await condition(), what


class World(Protocol):
    """One cluster: connections to it, and what the interface has no word for."""

    def connect(self, name: str = "test") -> Transport:
        """Another connection, as another process has one."""
        ...

    async def leave_open(self, transactional_id: str, topic: str, value: bytes) -> None:
        """Write one record and leave the transaction open, as somebody does who dies."""
        ...

    async def delete_before(self, topic: str, offset: int) -> None:
        """What retention does to partition 0."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class MemoryWorld:
    """Transports on one log."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self._transports: list[Transport] = []

    def connect(self, name: str = "test") -> Transport:
        """Another connection, as another process has one."""
        self._transports.append(MemoryTransport(LoopClock(1_600_000_000_000), log=self.log, client_id=name))
        return self._transports[-1]

    async def leave_open(self, transactional_id: str, topic: str, value: bytes) -> None:
        """Write one record and leave the transaction open, as somebody does who dies."""
        transaction = self.log.begin(transactional_id, self.log.init_producer(transactional_id))
        self.log.append(transaction, OutRecord(topic, None, value, 0), 0)

    async def delete_before(self, topic: str, offset: int) -> None:
        """What retention does to partition 0."""
        self.log.delete_before(TopicPartition(topic, 0), offset)

    async def close(self) -> None:
        """Close all connections."""
        for transport in self._transports:
            await transport.close()


class KafkaWorld:
    """Transports to one broker."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self._transports: list[Transport] = []
        self._raw: list[Any] = []

    def connect(self, name: str = "test") -> Transport:
        """Another connection, as another process has one."""
        self._transports.append(KafkaTransport(self.bootstrap_servers, name))
        return self._transports[-1]

    async def leave_open(self, transactional_id: str, topic: str, value: bytes) -> None:
        """Write one record and leave the transaction open, as somebody does who dies."""
        from aiokafka import AIOKafkaProducer

        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, transactional_id=transactional_id)
        self._raw.append(producer)
        await producer.start()
        await producer.begin_transaction()
        await producer.send_and_wait(topic, value, partition=0)

    async def delete_before(self, topic: str, offset: int) -> None:
        """What retention does to partition 0."""
        from aiokafka import TopicPartition as KafkaPartition
        from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        await admin.delete_records({KafkaPartition(topic, 0): RecordsToDelete(before_offset=offset)})
        await admin.close()

    async def close(self) -> None:
        """Close all connections."""
        for producer in self._raw:
            await producer.stop()
        for transport in self._transports:
            await transport.close()


EVERY = ["memory", pytest.param("kafka", marks=pytest.mark.broker)]
"""The parameters of a fixture that gives :func:`open_world`."""


@asynccontextmanager
async def open_world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A cluster of the kind that the fixture's parameter names."""
    memory = request.param == "memory"
    made: World = MemoryWorld() if memory else KafkaWorld(request.getfixturevalue("broker").bootstrap_servers)
    try:
        yield made
    finally:
        await made.close()


def fresh(name: str) -> str:
    """A name that nobody has used, on a broker that outlives the test run too."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


async def topic(transport: Transport, partitions: int = 1, name: str = "topic") -> str:
    """A new topic."""
    made = fresh(name)
    await transport.create_topics([TopicSpec(made, partitions, FOREVER)])
    return made


async def write(transport: Transport, name: str, values: list[bytes], partition: int = 0) -> list[int]:
    """Commit the values in one transaction, and wait until they are visible."""
    producer = await transport.producer(fresh("writer"))
    offsets = await producer.commit([OutRecord(name, None, value, partition) for value in values])
    await producer.close()

    async def visible() -> bool:
        return (await transport.bounds(name, partition)).end > offsets[-1]

    await eventually(visible, "what was committed becomes visible")
    return offsets


async def values(transport: Transport, name: str, start: int, stop: int, partition: int = 0) -> list[bytes | None]:
    """All values between the offsets."""
    return [record.value async for batch in transport.read(name, partition, start, stop) for record in batch]


async def visible(transport: Transport, name: str) -> list[bytes | None]:
    """Everything visible now."""
    return await values(transport, name, 0, (await transport.bounds(name, 0)).end)


class Listener:
    """Remembers what it was told, with a name, in a list that several may share."""

    def __init__(self, name: str = "one", told: list[tuple[str, str, frozenset[int]]] | None = None) -> None:
        self.name = name
        self.told = [] if told is None else told
        self.owned: frozenset[int] = frozenset()

    async def assigned(self, numbers: frozenset[int]) -> None:
        """Remember it."""
        self.owned |= numbers
        self.told.append((self.name, "assigned", numbers))

    async def revoked(self, numbers: frozenset[int]) -> None:
        """Remember it, after a while."""
        await asyncio.sleep(0.05)  # what a transaction in hand would take: the group has to wait for it
        self.owned -= numbers
        self.told.append((self.name, "revoked", numbers))

    async def owns(self, numbers: set[int]) -> bool:
        """Whether these are exactly the numbers it owns."""
        return self.owned == numbers


async def fetch_all(member: GroupMember, number: int, topics: list[str], count: int, most: int = 100) -> list[Record]:
    """Fetch until there are ``count`` records."""
    found: list[Record] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < count:
            found += await member.fetch(number, topics, most, 0.2)
    return found
