"""Samples that retention has removed from the log, found in the lake."""

import asyncio
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.lineage.facts import Placed
from millrace.stores.lake import Lake

SAME = (
    "kind", "event_id", "entity", "feature_set", "label", "flags", "source_topic", "source_partition", "source_offset",
)  # fmt: skip
TIMES = ("time", "source_time")
Wanted = dict[str, str | int]
NEEDED = ["offset", *SAME, *TIMES]


class LakeSamples:
    """The samples of a stream's table. Features and the event itself are not read: nobody asks lineage for them.

    ``until`` is where the log begins: what it still has is not looked for here.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    async def of_id(self, partition: int, event_id: str, until: int) -> list[Placed]:
        """The samples of an event id below that offset, in their order."""
        return await asyncio.to_thread(self._find, partition, 0, until, {"event_id": event_id})

    async def of_source(self, topic: str, partition: int, offset: int, until: int) -> list[Placed]:
        """The sample that came from that record."""
        wanted: Wanted = {"source_topic": topic, "source_partition": partition, "source_offset": offset}
        return await asyncio.to_thread(self._find, partition, 0, until, wanted)

    async def of_entity(self, partition: int, entity: str, start: int, until: int) -> list[Placed]:
        """The samples of an entity from ``start`` on."""
        return await asyncio.to_thread(self._find, partition, start, until, {"entity": entity})

    async def at(self, partition: int, offset: int) -> Placed | None:
        """The sample at that offset."""
        found = await asyncio.to_thread(self._find, partition, offset, offset + 1, {})
        return found[0] if found else None

    def _find(self, partition: int, start: int, until: int, wanted: Wanted) -> list[Placed]:
        begin, end = self._lake.begin(partition), self._lake.position(partition)
        if begin is None or end is None:
            return []
        part = OffsetRange(topic="", partition=partition, from_offset=max(begin, start), until_offset=min(end, until))
        table = self._lake.read([part], columns=NEEDED)
        for name, value in wanted.items():
            table = table.filter(pc.equal(table.column(name), value))
        times = {name: pc.divide(table.column(name).cast(pa.int64()), 1000).to_pylist() for name in TIMES}
        return [
            _placed(partition, row, times["time"][place], times["source_time"][place])
            for place, row in enumerate(table.select(["offset", *SAME]).to_pylist())
        ]


def _placed(partition: int, row: dict[str, Any], time_ms: int, source_time_ms: int) -> Placed:
    values = {name: row[name] for name in SAME}
    sample = SampleRecorded(**values, time_ms=time_ms, source_time_ms=source_time_ms, features=(), event=None)
    return Placed(partition, int(row["offset"]), sample)
