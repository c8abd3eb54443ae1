"""Reads training rows from the samples log: the newest ones for a new run, the same ones again for an open run."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from millrace.bus.transport import Transport
from millrace.contracts import schemas, topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import OffsetRange, SampleRecorded
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from services.trainer.train.window import Tail, Window, choose, next_tail


class SamplesReader:
    """The samples of one stream."""

    def __init__(self, project: Project, transport: Transport, codec: Codec) -> None:
        self._topic = topic_name(topics.SAMPLES, project)
        self._partitions = project.partitions
        self._feature_set = project.feature_set
        self._transport = transport
        self._codec = codec
        self._schema = schemas.newest(SampleRecorded.schema_name)

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

    async def _read(self, partition: int, start: int, stop: int) -> list[tuple[int, dict[str, Any]]]:
        found = []
        async for records in self._transport.read(self._topic, partition, start, stop):
            found += [
                (record.offset, await self._codec.decode_record(record.value, self._schema)) for record in records
            ]
        return found
