"""Reads training rows from the samples log: the newest ones for a new run, the same ones again for an open run.

Reading and decoding a window takes longer than many a fit, and the next run wants most of the same records again. So
the newest that were read are remembered, by partition, as one unbroken range of offsets.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from millrace.bus.transport import Transport
from millrace.contracts import schemas, topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from services.trainer.train.window import Tail, Window, choose, next_tail

REMEMBERED = 40_000  # records of all partitions together; about 2 kB each
Records = list[tuple[int, dict[str, Any]]]


class _Known(NamedTuple):
    """The records from ``start`` up to ``stop``."""

    start: int
    stop: int
    records: Records

    def part(self, start: int, stop: int) -> Records:
        low, high = (bisect_left(self.records, offset, key=lambda one: one[0]) for offset in (start, stop))
        return self.records[low:high]

    def newest(self, count: int) -> "_Known":
        if len(self.records) <= count:
            return self
        kept = self.records[-count:]
        return _Known(kept[0][0], self.stop, kept)


class SamplesReader:
    """The samples of one stream."""

    def __init__(self, project: Project, transport: Transport, codec: Codec) -> None:
        self._topic = topic_name(topics.SAMPLES, project)
        self._partitions = project.partitions
        self._feature_set = project.feature_set
        self._transport = transport
        self._codec = codec
        self._schema = schemas.newest(SampleRecorded.schema_name)
        self._known: dict[int, _Known] = {}

    async def newest(
        self, rows: int, marks: Mapping[int, int], vetoes: Mapping[int, Sequence[tuple[int, int]]] | None = None
    ) -> Window:
        """The newest rows, at most so many, below the marks; a partition without a mark up to its end.

        ``vetoes`` are, by partition, half-open ranges of offsets whose events are left out.
        """
        tails = []
        for partition in range(self._partitions):
            bounds = await self._transport.bounds(self._topic, partition)
            until = min(bounds.end, marks.get(partition, bounds.end))
            excluded = (vetoes or {}).get(partition, ())
            tails.append(Tail(partition, bounds.begin, max(until, bounds.begin), self._feature_set, excluded))
        while (tail := next_tail(tails, rows)) is not None:
            chunk = tail.next_chunk(rows, len(tails))
            assert chunk is not None, "next_tail names a tail that can be read further"
            tail.extend(chunk[0], await self._read(tail.partition, *chunk))
        return choose(self._topic, tails, rows)

    async def again(self, ranges: Iterable[OffsetRange], excluded: Sequence[OffsetRange] = ()) -> Window:
        """The rows of a run that is known. Raises ``OffsetGoneError`` if retention has removed some."""
        tails = []
        for part in ranges:
            left_out = [(one.from_offset, one.until_offset) for one in excluded if one.partition == part.partition]
            tail = Tail(part.partition, part.from_offset, part.until_offset, self._feature_set, left_out)
            tail.extend(part.from_offset, await self._read(part.partition, part.from_offset, part.until_offset))
            tails.append(tail)
        return choose(self._topic, tails, None)

    async def _read(self, partition: int, start: int, stop: int) -> Records:
        """The records in this range, from memory as far as they are there."""
        known = self._known.get(partition)
        if known is None or stop < known.start or known.stop < start:
            found = await self._fetch(partition, start, stop)
            whole = _Known(start, stop, found)
        else:
            before = await self._fetch(partition, start, min(stop, known.start))
            after = await self._fetch(partition, max(start, known.stop), stop)
            found = [*before, *known.part(start, stop), *after]
            whole = _Known(min(start, known.start), max(stop, known.stop), [*before, *known.records, *after])
        if known is None or whole.stop >= known.stop:
            self._known[partition] = whole.newest(REMEMBERED // self._partitions)
        return found

    async def _fetch(self, partition: int, start: int, stop: int) -> Records:
        found: Records = []
        if start >= stop:
            return found
        async for records in self._transport.read(self._topic, partition, start, stop):
            found += [
                (record.offset, await self._codec.decode_record(record.value, self._schema)) for record in records
            ]
        return found
