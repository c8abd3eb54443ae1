"""Writes what somebody asked for, once: in one transaction, and after an unclear one the log is asked."""

from collections.abc import Sequence
from typing import NamedTuple

from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord
from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, FencedError, UnclearError
from millrace.contracts.events import Event
from millrace.contracts.topics import TopicRow

TRIES = 3


class Message(NamedTuple):
    """An event, the topic that it goes to, and its key."""

    row: TopicRow
    key: str
    event: Event


async def write_once(
    transport: Transport, codec: Codec, transactional_id: str, messages: Sequence[Message], named: str | None = None
) -> None:
    """Write all of them or none, once. Whether that has happened is told by the first of them.

    Args:
        transport: the log.
        codec: encodes.
        transactional_id: should be the asker's or the request's own, so that nobody fences anybody else.
        messages: events of topics that all models share.
        named: what an error calls them; the first one's schema if left out.

    Raises:
        BusError: the log does not answer clearly.
    """
    records = []
    for row, key, event in messages:
        name = row.name(stream="", model="")
        await codec.prepare_topic(name, schemas.load(event.schema_name))
        records.append(OutRecord(name, key.encode(), codec.encode(name, event)))
    start = (await transport.bounds(records[0].topic, 0)).end
    for _ in range(TRIES):
        producer = await transport.producer(transactional_id)
        try:
            if not await _is_written(transport, records[0], start):
                await producer.commit(records)
        except (UnclearError, FencedError):  # fenced by the same request, sent twice: the log tells
            continue
        else:
            return
        finally:
            await producer.close()
    what = named or messages[0].event.schema_name
    raise BusError(f"{what} could not be written: the log does not answer clearly; try again later")


async def _is_written(transport: Transport, record: OutRecord, start: int) -> bool:
    """Whether the record is in the log at or after ``start``."""
    _, end = await transport.bounds(record.topic, 0)
    if start >= end:
        return False
    return any(
        [found.value == record.value async for batch in transport.read(record.topic, 0, start, end) for found in batch]
    )
