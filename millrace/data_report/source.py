"""Where the rows of a report are read, chunk by chunk: from the samples log, and from the lake what the log lacks.

Both give the same columns (``services/ingest/lake_rows.py``). The lake is read as of its newest version: rows never
change, and those of an erased person are gone from there. Who wants a report without them reads from the lake first.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from millrace.bus.transport import Transport
from millrace.contracts.codec import Codec
from millrace.contracts.errors import OffsetGoneError
from millrace.contracts.events import OffsetRange
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.stores.lake import Lake, LakeError
from services.ingest.lake_rows import LakeRows

CHUNK = 100_000
"""Offsets read at once: 50 columns of so many rows are some 40 MB."""
NEEDED = ("offset", "kind", "time", "feature_set", "features", "flags", "source_topic", "source_offset")
RAW = "raw_"
Origin = Literal["auto", "log", "lake"]


class RowSource:
    """The samples of a stream as tables. ``notes`` say what could not be read.

    Args:
        project: names the fields.
        transport: the samples log.
        codec: reads samples and events.
        lake: the stream's table; None where there is none.
        origin: ``auto`` takes the log, and the lake for what retention has removed from it; ``lake`` takes the lake,
            and the log for what is not in it yet; ``log`` takes the log alone.
    """

    def __init__(
        self, project: Project, transport: Transport, codec: Codec, lake: Lake | None, origin: Origin = "auto"
    ) -> None:
        self._transport = transport
        self._lake = None if origin == "log" else lake
        self._lake_first = origin == "lake"
        self._rows = LakeRows(codec, Schema.of(project.event_schema), asyncio.to_thread)
        self.notes: list[str] = []
        self.from_log = self.from_lake = 0

    async def tables(self, part: OffsetRange) -> AsyncIterator[Any]:
        """The samples of the range, in their order, as ``pyarrow.Table``; they have ``NEEDED`` and raw columns."""
        begin, end = await self._lakes_piece(part)
        pieces = ((part.from_offset, begin, False), (begin, end, True), (end, part.until_offset, False))
        for start, stop, is_lake in pieces:
            if start >= stop:
                continue
            inner = part.model_copy(update={"from_offset": start, "until_offset": stop})
            async for table in self._of_lake(inner) if is_lake else self._of_log(inner):
                yield table

    async def _lakes_piece(self, part: OffsetRange) -> tuple[int, int]:
        """Which part of the range is to be read from the lake; an empty one where it is not needed or has none."""
        nothing = part.from_offset, part.from_offset
        log = await self._transport.bounds(part.topic, part.partition)
        until = part.until_offset if self._lake_first else min(log.begin, part.until_offset)
        if self._lake is None or until <= part.from_offset:
            return nothing
        try:
            begin = await asyncio.to_thread(self._lake.begin, part.partition)
            position = await asyncio.to_thread(self._lake.position, part.partition)
        except LakeError as error:
            self._note(f"the lake cannot be read: {error}")
            return nothing
        if begin is None or position is None:
            return nothing
        start = max(part.from_offset, begin)
        stop = min(until, position)
        return (start, stop) if start < stop else nothing

    async def _of_lake(self, part: OffsetRange) -> AsyncIterator[Any]:
        assert self._lake is not None, "its piece is not empty"
        first = part.model_copy(update={"until_offset": part.from_offset + 1})
        known = (await asyncio.to_thread(self._lake.read, [first])).column_names
        columns = [*NEEDED, *(name for name in known if name.startswith(RAW))]
        for start in range(part.from_offset, part.until_offset, CHUNK):
            stop = min(start + CHUNK, part.until_offset)
            chunk = part.model_copy(update={"from_offset": start, "until_offset": stop})
            table = await asyncio.to_thread(self._lake.read, [chunk], None, columns)
            self.from_lake += table.num_rows
            yield table

    async def _of_log(self, part: OffsetRange) -> AsyncIterator[Any]:
        begin, end = await self._transport.bounds(part.topic, part.partition)
        start, stop = max(begin, part.from_offset), min(end, part.until_offset)
        if start > part.from_offset:
            self._note(
                f"retention has removed {part.topic}/{part.partition} below offset {begin}, and the lake lacks it"
            )
        try:
            async for records in self._transport.read(part.topic, part.partition, start, stop):
                self.from_log += len(records)
                yield await self._rows.of(records)
        except OffsetGoneError as error:
            self._note(f"not all rows could be read: {error}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def raw_names(columns: Sequence[str], field: str) -> list[str]:
    """The columns of a table that hold this field: its own, and those of other types that it came with.

    >>> raw_names(["raw_x", "raw_x__double", "raw_xy"], "x")
    ['raw_x', 'raw_x__double']
    """
    return [name for name in columns if name == RAW + field or name.startswith(f"{RAW}{field}__")]
