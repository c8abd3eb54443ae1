"""A process that subscribes and says what it was handed. Started by test_streams.py, to be killed.

Arguments: bootstrap servers, topic, group.
"""

import asyncio
import sys

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record


async def say(record: Record) -> None:
    """One line for each record."""
    print((record.value or b"").decode(), flush=True)  # noqa: T201 - the parent listens


if __name__ == "__main__":
    asyncio.run(KafkaTransport(sys.argv[1], "subscriber").subscribe(sys.argv[3], [sys.argv[2]], say))
