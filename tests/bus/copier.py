"""A process that copies topic to topic through Lanes and kills itself at a chosen point. Started by copies.py.

Arguments: bootstrap servers, source, sink, group, the point, and at which transaction it is reached.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from millrace.bus.consume import Lanes, Step
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord, Record

POINTS = ("after-offsets", "after-send", "before-commit", "in-commit", "after-commit")
BATCH = 50


class Copy:
    """Copies each record, with its offset as the value."""

    def __init__(self, number: int, sink: str) -> None:
        self.number = number
        self.sink = sink

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Begin where the last transaction ended."""
        return {topic: offset or 0 for topic, offset in committed.items()}

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """Copy all, and say when everything is committed."""
        if not records and all(caught_up.values()):
            print(f"caught up {self.number}", flush=True)  # noqa: T201 - the parent listens
        outputs = [OutRecord(self.sink, None, b"%d" % record.offset, self.number) for record in records]
        return Step(outputs, {record.topic: record.offset + 1 for record in records}, wait_s=0.05)

    async def close(self) -> None:
        """Nothing runs beside."""

    def written(self, offsets: Sequence[int]) -> None:
        """Nothing to remember."""


def die() -> None:
    """As by kill -9: nothing is closed."""
    os.kill(os.getpid(), signal.SIGKILL)


def plant(point: str, transaction: int) -> None:
    """Make aiokafka's producer die at the point, in that transaction of this process."""
    seen = 0
    offsets, send, commit = (
        AIOKafkaProducer.send_offsets_to_transaction,
        AIOKafkaProducer.send_batch,
        AIOKafkaProducer.commit_transaction,
    )

    async def planted_offsets(self: Any, *args: Any) -> None:
        nonlocal seen
        await offsets(self, *args)
        seen += 1
        if point == "after-offsets" and seen >= transaction:
            die()

    async def planted_send(self: Any, *args: Any, **kwargs: Any) -> Any:
        future = await send(self, *args, **kwargs)
        if point == "after-send" and seen >= transaction:
            await future  # the records are in the log, not yet committed
            die()
        return future

    async def planted_commit(self: Any) -> None:
        if point == "before-commit" and seen >= transaction:
            die()
        if point == "in-commit" and seen >= transaction:
            task = asyncio.create_task(commit(self))
            await asyncio.wait([task], timeout=0.001)  # the request may or may not have reached the broker
            die()
        await commit(self)
        if point == "after-commit" and seen >= transaction:
            die()

    AIOKafkaProducer.send_offsets_to_transaction = planted_offsets
    AIOKafkaProducer.send_batch = planted_send
    AIOKafkaProducer.commit_transaction = planted_commit


async def main(bootstrap: str, source: str, sink: str, group: str) -> None:
    """Copy until killed."""
    transport = KafkaTransport(bootstrap, "copier", session_timeout_ms=1500)
    lanes = Lanes(
        transport,
        service="copy",
        group=group,
        topics=[source],
        make_lane=lambda number: Copy(number, sink),
        max_records=BATCH,
    )
    await lanes.run()


if __name__ == "__main__":
    plant(sys.argv[5], int(sys.argv[6]))
    asyncio.run(main(*sys.argv[1:5]))
