"""Records that still name a person in the clear: what upstream wrote, and dead letters with the original bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from millrace.bus.deadletter import TRUNCATED, why
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.cli.erase_survey import read_topic
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.personal import Personal
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.contracts.topics import DEAD_LETTERS, EVENTS, LABELS, TopicRow, topic_name


@dataclass(frozen=True, slots=True)
class Remains:
    """Records that name the person in the clear, as upstream wrote them, and when the newest one expires.

    ``unreadable`` records of the topic could not be attributed to anybody.
    """

    topic: str
    records: int
    unreadable: int
    expires_at_ms: int | None


async def remains(
    transport: Transport, codec: Codec, project: Project, personal: Personal, subject: str
) -> tuple[Remains, ...]:
    """What upstream's topics and the dead letters still hold of the person in the clear."""
    schema = Schema.of(project.event_schema)
    found = []
    for row in (EVENTS, LABELS, DEAD_LETTERS):
        records = unreadable = 0
        newest_ms: int | None = None
        for partition in range(project.partitions):
            async for batch in read_topic(transport, project, row, partition):
                named = await _named(codec, schema, personal.subject, row, batch)
                unreadable += sum(name is None for name in named)
                times = [one.timestamp_ms for one, name in zip(batch, named, strict=True) if name == subject]
                records += len(times)
                newest_ms = max([*times, *([] if newest_ms is None else [newest_ms])], default=None)
        expires = None if newest_ms is None else newest_ms + row.retention_ms
        found.append(Remains(topic_name(row, project), records, unreadable, expires))
    return tuple(found)


async def _named(codec: Codec, schema: Schema, field: str, row: TopicRow, batch: Sequence[Record]) -> list[str | None]:
    """Who each record is about; None if nobody can tell. A label is about whom its key names."""
    if row is EVENTS:
        columnar = await codec.columnar([record.value for record in batch], schema)
        columns = None if columnar is None else columnar.decode([record.value for record in batch])
        if columns is not None:
            return [name or "" for name in columns.column(field).to_pylist()]
    names: list[str | None] = []
    for record in batch:
        is_label = row is LABELS or why(record)["topic"].endswith(f"-{LABELS.suffix}")
        if is_label:
            names.append((record.key or b"").decode(errors="replace"))
            continue
        try:
            value = (await codec.decode_record(record.value, schema)).get(field)
        except ContractError:
            names.append(_by_key(record))
        else:
            names.append(str(value or ""))
    return names


def _by_key(record: Record) -> str | None:
    """An event that cannot be read is about whom its key names, where it has one: keys are entities."""
    if record.key is None or record.header(TRUNCATED) is not None:
        return None
    return record.key.decode(errors="replace")
