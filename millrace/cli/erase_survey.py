"""Where a person is under a pseudonym: rows, snapshots, runs and versions.

A snapshot or a run holds a person when one of its ranges covers the place of one of the person's samples, and a run's
excluded parts do not. Samples that
retention has taken from the log are found in the lake, where there is one.
"""

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DataSnapshotTaken,
    ModelVersionChanged,
    OffsetRange,
    SampleRecorded,
    TrainingRunChanged,
)
from millrace.contracts.project import Project
from millrace.contracts.schemas import newest
from millrace.contracts.topics import (
    DATA_SNAPSHOTS,
    MODEL_VERSIONS,
    SAMPLES,
    TRAINING_RUNS,
    TopicRow,
    topic_name,
)

SLICE = 1_000_000  # offsets of the lake looked at together

Places = Mapping[int, Sequence[int]]
"""Offsets of the samples topic by partition, growing."""


class Rows(Protocol):
    """The lake's table of the stream: ``millrace.stores.lake.Lake``."""

    @property
    def uri(self) -> str:
        """Where it is."""
        ...

    def begin(self, partition: int) -> int | None:
        """The first samples offset that the table was given of the partition."""
        ...

    def position(self, partition: int) -> int | None:
        """The samples offset below which the table has everything."""
        ...

    def read(
        self, ranges: Iterable[OffsetRange], version: int | None = None, columns: Sequence[str] | None = None
    ) -> Any:
        """The rows of these ranges as a ``pyarrow.Table``."""
        ...

    def delete_entity(self, entity: str) -> int:
        """Remove the entity's rows from the newest version on; how many there were."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """Rows of the person in one partition, and between which samples offsets they lie."""

    partition: int
    rows: int
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True)
class Trained:
    """A training run whose ranges hold the person's samples, and the version that came of it, if any."""

    model: str
    run_id: str
    status: str
    version: int | None
    version_status: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """Everything under one pseudonym. ``lake`` is None where there is no lake."""

    pseudonym: str
    samples: tuple[Held, ...]
    table: str | None
    lake: tuple[Held, ...] | None
    snapshots: tuple[str, ...]
    trained: tuple[Trained, ...]


async def survey(transport: Transport, codec: Codec, project: Project, rows: Rows | None, pseudonym: str) -> Found:
    """Everything that is known under the pseudonym."""
    log = {p: await _on_log(transport, codec, project, p, pseudonym) for p in range(project.partitions)}
    kept = None if rows is None else await asyncio.to_thread(_in_lake, rows, project, pseudonym)
    places = {p: sorted({*offsets, *(kept or {}).get(p, ())}) for p, offsets in log.items()}
    return Found(
        pseudonym,
        _held(log),
        None if rows is None else rows.uri,
        None if kept is None else _held(kept),
        await _snapshots(transport, codec, project, places),
        await _trained(transport, codec, project, places),
    )


async def read_topic(
    transport: Transport, project: Project, row: TopicRow, partition: int
) -> AsyncIterator[list[Record]]:
    """Everything that the partition of the row's topic holds now, in batches."""
    topic = topic_name(row, project)
    begin, end = await transport.bounds(topic, partition)
    async for batch in transport.read(topic, partition, begin, end):
        if batch:
            yield batch


async def _on_log(transport: Transport, codec: Codec, project: Project, partition: int, pseudonym: str) -> list[int]:
    """Offsets of the person's samples on the log."""
    schema = newest(SampleRecorded.schema_name)
    found: list[int] = []
    async for batch in read_topic(transport, project, SAMPLES, partition):
        values = [record.value for record in batch]
        columnar = await codec.columnar(values, schema)
        columns = None if columnar is None else columnar.decode(values)
        if columns is None:
            entities = [(await codec.decode_record(value, schema))["entity"] for value in values]
        else:
            entities = columns.column("entity").to_pylist()
        found += [record.offset for record, entity in zip(batch, entities, strict=True) if entity == pseudonym]
    return found


def _in_lake(rows: Rows, project: Project, pseudonym: str) -> dict[int, list[int]]:
    """Offsets of the person's rows in the newest version of the lake's table."""
    topic = topic_name(SAMPLES, project)
    found: dict[int, list[int]] = {}
    for partition in range(project.partitions):
        begin, end = rows.begin(partition), rows.position(partition)
        found[partition] = []
        for start in range(begin or 0, end or 0, SLICE):
            part = OffsetRange(
                topic=topic, partition=partition, from_offset=start, until_offset=min(start + SLICE, end or 0)
            )
            table = rows.read([part], columns=["offset", "entity"])
            of_person = table.filter(pc.equal(table.column("entity"), pa.scalar(pseudonym)))
            found[partition] += of_person.column("offset").to_pylist()
    return found


def _held(places: Places) -> tuple[Held, ...]:
    return tuple(
        Held(partition, len(offsets), offsets[0], offsets[-1]) for partition, offsets in places.items() if offsets
    )


def _covers(ranges: Iterable[OffsetRange], topic: str, places: Places, excluded: Sequence[OffsetRange] = ()) -> bool:
    """Whether one of the places lies in the ranges, and not in what was left out of them."""
    for one in ranges:
        offsets = places.get(one.partition, ()) if one.topic == topic else ()
        inside = offsets[bisect_left(offsets, one.from_offset) : bisect_left(offsets, one.until_offset)]
        out = [part for part in excluded if (part.topic, part.partition) == (topic, one.partition)]
        if any(not any(part.from_offset <= at < part.until_offset for part in out) for at in inside):
            return True
    return False


async def _snapshots(transport: Transport, codec: Codec, project: Project, places: Places) -> tuple[str, ...]:
    topic = topic_name(SAMPLES, project)
    found: dict[str, None] = {}
    async for batch in read_topic(transport, project, DATA_SNAPSHOTS, 0):
        for record in batch:
            snapshot = await codec.decode(DataSnapshotTaken, record.value)
            if _covers(snapshot.ranges, topic, places):
                found[snapshot.snapshot_id] = None
    return tuple(found)


async def _trained(transport: Transport, codec: Codec, project: Project, places: Places) -> tuple[Trained, ...]:
    """Runs of any model on the stream, with their newest status, and the versions that came of them."""
    topic = topic_name(SAMPLES, project)
    runs: dict[tuple[str, str], str] = {}
    async for batch in read_topic(transport, project, TRAINING_RUNS, 0):
        for record in batch:
            run = await codec.decode(TrainingRunChanged, record.value)
            if _covers(run.ranges, topic, places, run.excluded):
                runs[run.model, run.run_id] = run.status
    versions: dict[tuple[str, str], tuple[int, str]] = {}
    async for batch in read_topic(transport, project, MODEL_VERSIONS, 0):
        for record in batch:
            change = await codec.decode(ModelVersionChanged, record.value)
            if change.version is not None:
                versions[change.model, change.run_id] = (change.version, change.status)
    return tuple(
        Trained(model, run_id, status, *versions.get((model, run_id), (None, None)))
        for (model, run_id), status in runs.items()
    )
