"""Finds records in the log without reading all of it: from the newest backwards, or by halving where it is ordered.

Bytes are looked at before anything is decoded: Avro writes a text as its UTF-8 bytes, so a record that does not hold
them cannot name the id. That makes a search as quick as reading.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.events import PredictionMade, SampleRecorded
from millrace.lineage.facts import Count, Placed, Span
from millrace.lineage.reach import Reach

CHUNK = 20_000  # offsets read at once, going backwards
NEAR = 2_000  # offsets that are read on rather than halved further

Progress = Callable[[str, int, int], None]
"""Told what is being read, how many offsets of it are done, and how many there are."""


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


class LogScan:
    """Reads from the data topics of one project."""

    def __init__(self, transport: Transport, codec: Codec, progress: Progress = silent) -> None:
        self.transport = transport
        self.codec = codec
        self._progress = progress
        self._made = schemas.newest(PredictionMade.schema_name)

    async def at(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at that place, if there is one."""
        begin, end = await self.transport.bounds(topic, partition)
        return await self._next(topic, partition, offset, offset + 1) if begin <= offset < end else None

    async def backwards(self, topic: str, partition: int) -> AsyncGenerator[Record, None]:
        """All records of a partition, newest first."""
        begin, end = await self.transport.bounds(topic, partition)
        stop = end
        while stop > begin:
            start = max(begin, stop - CHUNK)
            self._progress(f"{topic}/{partition}", end - stop, end - begin)
            chunk = [record async for batch in self.transport.read(topic, partition, start, stop) for record in batch]
            for record in reversed(chunk):
                yield record
            stop = start

    async def samples(self, topic: str, partition: int, needle: bytes) -> AsyncGenerator[Placed, None]:
        """The samples whose bytes hold the needle, newest first."""
        async with aclosing(self.backwards(topic, partition)) as records:
            async for record in records:
                if record.value is not None and needle in record.value:
                    yield await self.placed(record)

    async def reach(self, topic: str, event: Placed, reach: Reach) -> None:
        """Let the reach take in the samples of the event's entity that come after it, as far as the log has them."""
        begin, end = await self.transport.bounds(topic, event.partition)
        start, entity = max(begin, event.offset + 1), event.sample.entity
        needle = entity.encode()
        async with aclosing(self._from(topic, event.partition, start)) as batches:
            async for records in batches:
                self._progress(f"{topic}/{event.partition}", records[0].offset - start, end - start)
                for record in records:
                    if record.value is None or needle not in record.value:
                        continue
                    sample = (await self.placed(record)).sample
                    if sample.entity == entity and not reach.take(record.offset, sample.kind, sample.event_id):
                        return

    async def predicted(self, topic: str, partition: int, offsets: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """How many predictions each version made of these samples, given in order."""
        wanted, counted = set(offsets), Counter[int]()
        if not offsets:
            return ()
        start = await self._first_at(topic, partition, offsets[0])
        async with aclosing(self._from(topic, partition, start)) as batches:
            async for records in batches:
                made = list(await self._versions(records))
                counted.update(version for version, offset in made if offset in wanted)
                if made[-1][1] > offsets[-1]:
                    break
        return tuple(sorted(counted.items()))

    async def placed(self, record: Record) -> Placed:
        """A sample with its place."""
        return Placed(record.partition, record.offset, await self.codec.decode(SampleRecorded, record.value))

    async def predictions_of(self, topic: str, partition: int, sample_offset: int) -> list[PredictionMade]:
        """The predictions made from a sample. They lie in the order of the samples, so halving finds the place."""
        start = await self._first_at(topic, partition, sample_offset)
        found: list[PredictionMade] = []
        async with aclosing(self._from(topic, partition, start)) as batches:
            async for records in batches:
                for record in records:
                    made = await self.codec.decode(PredictionMade, record.value)
                    if made.sample_offset > sample_offset:
                        return found
                    if made.sample_offset == sample_offset:
                        found.append(made)
        return found

    async def oldest_prediction(self, topic: str, partition: int) -> PredictionMade | None:
        """The oldest prediction that retention has left, if it has removed any before it."""
        begin, end = await self.transport.bounds(topic, partition)
        record = await self._next(topic, partition, begin, end) if begin > 0 else None
        return None if record is None else await self.codec.decode(PredictionMade, record.value)

    async def counts(self, topic: str, spans: Mapping[int, Iterable[Span]]) -> list[Count]:
        """How many predictions there are of each version, by the spans of the samples that it scored."""
        found = []
        for partition in sorted({span.partition for each in spans.values() for span in each}):
            of_partition = [span for each in spans.values() for span in each if span.partition == partition]
            low = min(span.from_offset for span in of_partition)
            ends = [span.until_offset for span in of_partition]
            high = None if None in ends else max(end for end in ends if end is not None)
            counted = await self._count(topic, partition, low, high)
            found += [Count(version, partition, *counted[version]) for version in sorted(spans) if version in counted]
        return found

    async def gone(self, topic: str, spans: Mapping[int, Iterable[Span]]) -> list[str]:
        """Which predictions cannot be counted any more."""
        notes = []
        for partition in sorted({span.partition for each in spans.values() for span in each}):
            oldest = await self.oldest_prediction(topic, partition)
            first = min(span.from_offset for each in spans.values() for span in each if span.partition == partition)
            if oldest is not None and oldest.sample_offset > first:
                notes.append(
                    f"{topic}/{partition}: retention has removed predictions of samples before offset "
                    f"{oldest.sample_offset}; only those that are left are counted"
                )
        return notes

    async def _count(self, topic: str, partition: int, low: int, high: int | None) -> dict[int, tuple[int, int, int]]:
        """Rows, first and last-but-one sample offsets by version, of the samples from ``low`` up to ``high``."""
        counted: dict[int, tuple[int, int, int]] = {}
        start = await self._first_at(topic, partition, low)
        _, end = await self.transport.bounds(topic, partition)
        async with aclosing(self._from(topic, partition, start)) as batches:
            async for records in batches:
                self._progress(f"{topic}/{partition}", records[0].offset - start, end - start)
                for version, offset in await self._versions(records):
                    if high is not None and offset >= high:
                        return counted
                    if offset >= low:
                        rows, first, _ = counted.get(version, (0, offset, 0))
                        counted[version] = (rows + 1, first, offset + 1)
        return counted

    async def _versions(self, records: list[Record]) -> Iterable[tuple[int, int]]:
        """Version and sample offset of each prediction, by the column where that can be done."""
        values = [record.value for record in records]
        columnar = await self.codec.columnar(values, self._made)
        batch: Any = None if columnar is None else columnar.decode(values)
        if batch is not None:
            columns = (batch.column("version").to_pylist(), batch.column("sample_offset").to_pylist())
            return zip(*columns, strict=True)
        made = [await self.codec.decode_record(value, self._made) for value in values]
        return [(one["version"], one["sample_offset"]) for one in made]

    async def _first_at(self, topic: str, partition: int, sample_offset: int) -> int:
        """Where to read from to meet all predictions of samples at or after ``sample_offset``, and few before."""
        low, high = await self.transport.bounds(topic, partition)
        while high - low > NEAR:
            middle = (low + high) // 2
            record = await self._next(topic, partition, middle, high)
            if record is None or await self._sample_offset(record) >= sample_offset:
                high = middle
            else:
                low = record.offset + 1
        return low

    async def _sample_offset(self, record: Record) -> int:
        return int((await self.codec.decode_record(record.value, self._made))["sample_offset"])

    async def _next(self, topic: str, partition: int, start: int, stop: int) -> Record | None:
        """The first record at or after ``start``, before ``stop``."""
        async with aclosing(self._from(topic, partition, start, stop)) as batches:
            async for records in batches:
                return records[0]
        return None

    async def _from(
        self, topic: str, partition: int, start: int, stop: int | None = None
    ) -> AsyncGenerator[list[Record], None]:
        """Batches from ``start`` up to ``stop``, or to the present end."""
        _, end = await self.transport.bounds(topic, partition)
        last = end if stop is None else min(stop, end)
        if start < last:
            read = cast(AsyncGenerator[list[Record], None], self.transport.read(topic, partition, start, last))
            async with aclosing(read) as batches:  # a search stops early; its connection must not wait for a collector
                async for records in batches:
                    yield records


def source_needle(topic: str, partition: int, offset: int) -> bytes:
    r"""The bytes of a sample that name its source: topic, partition and offset stand side by side in its schema.

    >>> source_needle("a", 0, 64)
    b'\x02a\x00\x80\x01'
    """
    name = topic.encode()
    return _varint(len(name)) + name + _varint(partition) + _varint(offset)


def _varint(number: int) -> bytes:
    """A whole number that is not negative, as Avro writes it: zigzag, seven bits a byte, low ones first."""
    left, written = number << 1, bytearray()
    while left > 0x7F:
        written.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*written, left])
