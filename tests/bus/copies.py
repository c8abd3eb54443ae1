"""What the tests that kill something share: to run the copier, and to read what it copied with a client not ours."""

import asyncio
import signal
import sys
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as ConfluentPartition

from tests.transports import PATIENCE_S, fresh


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
