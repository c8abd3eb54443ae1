"""What becomes of exactly-once when the broker itself is killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from millrace.bus.kafka import KafkaTransport
from millrace.contracts.errors import BusError
from millrace.local.embedded import Embedded, start_embedded
from tests.bus.copies import consume, run_copier
from tests.transports import PATIENCE_S, eventually, fresh, topic, write

RECORDS = 15_000  # in each of two partitions: a few seconds' work for the copier
NUMBERS = (0, 1)

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.matrix]  # test_pauses.py kills it in `make test`


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Embedded]:
    """A broker that nobody else uses, whose supervisor starts it again when it dies."""
    with start_embedded(tmp_path / "platform") as embedded:
        yield embedded


async def reached(bootstrap_servers: str, name: str) -> list[int]:
    """How far each partition has visibly got, asked on a new connection until there is an answer."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            transport = KafkaTransport(bootstrap_servers, "test", call_timeout_ms=1000, close_timeout_ms=500)
            try:
                return [(await transport.bounds(name, number)).end for number in NUMBERS]
            except BusError:
                await asyncio.sleep(0.02)  # it is not back yet
            finally:
                await transport.close()


async def kill_broker(platform: Embedded) -> None:
    """Kill -9, and return when the supervisor has another one ready."""
    killed = platform.processes()["kafka"]
    assert killed.pid is not None
    os.kill(killed.pid, signal.SIGKILL)

    async def another() -> bool:
        now = platform.processes()["kafka"]
        return now.ready and now.restarts > killed.restarts and now.pid != killed.pid

    await eventually(another, "the supervisor has started it again")


async def test_each_record_is_copied_once_when_the_broker_is_killed(platform: Embedded) -> None:
    """SIGKILL in mid-copy: the same process goes on, and another make of client sees each record once, in order."""
    bootstrap = platform.bootstrap_servers
    transport = KafkaTransport(bootstrap, "test")
    source, sink = await topic(transport, len(NUMBERS)), await topic(transport, len(NUMBERS))
    written = [await write(transport, source, [b"x"] * RECORDS, number) for number in NUMBERS]
    copier = asyncio.create_task(run_copier(bootstrap, source, sink, fresh("group"), "never", "0"))

    async def at_work() -> bool:
        return all([(await transport.bounds(sink, number)).end > RECORDS // 10 for number in NUMBERS])

    await eventually(at_work, "the copier is at work")
    await transport.close()
    await kill_broker(platform)
    after = await reached(bootstrap, sink)
    code, _ = await copier

    assert all(RECORDS // 10 < end < RECORDS for end in after), f"the kill met no work in progress: {after}"
    assert code == -signal.SIGTERM, "the copier ended by itself"
    for number in NUMBERS:
        read = asyncio.to_thread(consume, bootstrap, sink, number, RECORDS, "read_committed")
        assert [b"%d" % offset for offset in written[number]] == await read
