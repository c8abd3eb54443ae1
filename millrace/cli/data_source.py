"""Where samples are read from again: the samples log, or the lake when retention has removed them there."""

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol

from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.cli.data_rows import Records
from millrace.contracts import schemas, topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import OffsetGoneError
from millrace.contracts.events import OffsetRange, SampleRecorded, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.stores.lake import Lake, LakeGapError

SAME = ("kind", "event_id", "entity", "feature_set", "features", "label", "flags")
NEEDED = ("partition", "offset", "time", "recorded", *SAME)


class Source(Protocol):
    """Where samples can be read. ``name`` is told to whoever asked."""

    name: str

    async def rows_of(self, run: TrainingRunChanged) -> Records:
        """The samples of the run's ranges."""
        ...

    async def until(self, time_ms: int) -> Records:
        """All samples that were known at that time."""
        ...


class LogSource:
    """The samples log. Raises ``OffsetGoneError`` for what retention has removed."""

    name = "log"

    def __init__(self, project: Project, transport: Transport, codec: Codec) -> None:
        self._topic = topic_name(topics.SAMPLES, project)
        self._partitions = project.partitions
        self._transport = transport
        self._codec = codec
        self._schema = schemas.newest(SampleRecorded.schema_name)

    async def rows_of(self, run: TrainingRunChanged) -> Records:
        """The samples of the run's ranges."""
        return {
            part.partition: await self._read(part.partition, part.from_offset, part.until_offset) for part in run.ranges
        }

    async def until(self, time_ms: int) -> Records:
        """All samples whose log time is not after that time."""
        found = {}
        for partition in range(self._partitions):
            begin, _ = await self._transport.bounds(self._topic, partition)
            if begin > 0:
                raise OffsetGoneError(f"{self._topic}/{partition} begins at offset {begin}: what was before is removed")
            stop = await self._transport.offset_at(self._topic, partition, time_ms + 1)
            found[partition] = await self._read(partition, begin, stop)
        return found

    async def _read(self, partition: int, start: int, stop: int) -> list[tuple[int, dict[str, Any]]]:
        found = []
        async for records in self._transport.read(self._topic, partition, start, stop):
            found += [(record.offset, await self._sample(record)) for record in records]
        return found

    async def _sample(self, record: Record) -> dict[str, Any]:
        return {**await self._codec.decode_record(record.value, self._schema), "recorded_ms": record.timestamp_ms}


class LakeSource:
    """The stream's table in the lake. Raises ``LakeError`` for what it does not have."""

    name = "lake"

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.notes: list[str] = []

    async def rows_of(self, run: TrainingRunChanged) -> Records:
        """The samples of the run's ranges, as of the run's version of the table if that has them all, else the newest.

        The lake may end where the last record does, and the run's range after the marker of its transaction. So what
        is there is taken if the run has a hash that tells whether it is all.
        """
        if run.table_version is not None:
            try:
                return await self._read(run.ranges, run.table_version)
            except LakeGapError:
                self.notes.append(
                    f"table version {run.table_version} ends before the run's rows; read as of the newest"
                )
        try:
            return await self._read(run.ranges)
        except LakeGapError:
            there = [await self._clipped(part) for part in run.ranges]
            if run.rows_sha256 is None or None in there:
                raise
            return await self._read([part for part in there if part is not None])

    async def _clipped(self, part: OffsetRange) -> OffsetRange | None:
        """What the table has of a range of which it lacks the end; None if it lacks more."""
        end = await asyncio.to_thread(self._lake.position, part.partition)
        begin = await asyncio.to_thread(self._lake.begin, part.partition)
        if end is None or begin is None or not begin <= part.from_offset < end:
            return None
        return part.model_copy(update={"until_offset": min(end, part.until_offset)})

    async def _read(self, parts: Iterable[OffsetRange], version: int | None = None) -> Records:
        return _records(await asyncio.to_thread(self._lake.read, parts, version, NEEDED))

    async def until(self, time_ms: int) -> Records:
        """All samples whose log time is not after that time."""
        found = _records(await asyncio.to_thread(self._lake.read_until, time_ms, NEEDED))
        for partition in sorted(found):
            end = await asyncio.to_thread(self._lake.position, partition)
            self.notes.append(f"the lake has partition {partition} up to offset {end}")
        return found


def _records(table: Any) -> Records:
    """The lake's columns under the names of the log's fields."""
    columns = [table.column(name).to_pylist() for name in SAME]
    times = [_milliseconds(table.column(name)) for name in ("time", "recorded")]
    places = zip(table.column("partition").to_pylist(), table.column("offset").to_pylist(), strict=True)
    found: dict[int, list[tuple[int, dict[str, Any]]]] = {}
    for (partition, offset), values, time_ms, recorded_ms in zip(
        places, zip(*columns, strict=True), *times, strict=True
    ):
        sample = dict(zip(SAME, values, strict=True)) | {"time_ms": time_ms, "recorded_ms": recorded_ms}
        found.setdefault(partition, []).append((offset, sample))
    return found


def _milliseconds(column: Any) -> list[int]:
    return [value // 1000 for value in column.cast("int64").to_pylist()]
