"""Dead letters: the record as it came, plus why it was refused.

Headers follow Kafka Connect's error headers (``__connect.errors.*``, KIP-298), so that tools which list the dead
letters of a connector list ours too. ``millrace.reason`` holds the stable slug.

A record that was sent back after a fix says where it comes from: ``millrace.replayed-from`` names its dead letter and
``millrace.replays`` counts how often it was sent back. Should it be refused again, its new dead letter has both.
"""

from collections.abc import Mapping
from typing import NamedTuple

from millrace.bus.types import RECORD_BYTES_MAX, Headers, OutRecord, Record

PREFIX = "__connect.errors."
REASON = "millrace.reason"
TRUNCATED = "millrace.truncated"
REPLAYED_FROM = "millrace.replayed-from"  # topic/partition/offset of the dead letter
REPLAYS = "millrace.replays"  # a decimal number
SPARE_BYTES = 1_000
LONGEST_MESSAGE = 2_000  # characters; a message shows the value seen, and values can be of any length


def dead_letter(topic: str, record: Record, *, stage: str, reason: str, message: str, error_class: str) -> OutRecord:
    """The record for the dead-letter topic, in the partition that it came from.

    Args:
        topic: the dead-letter topic.
        record: the refused record; its key, value and headers are kept as they are.
        stage: where it failed, in Kafka Connect's words: ``VALUE_CONVERTER``, ``TRANSFORMATION``, ``TASK_PUT``.
        reason: stable slug, such as ``out-of-range``.
        message: what was seen and what was expected.
        error_class: dotted name of the error.
    """
    errors: Mapping[str, str] = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "connector.name": "millrace-ingest",
        "stage": stage,
        "class.name": error_class,
        "exception.class.name": error_class,
        "exception.message": message[:LONGEST_MESSAGE],
    }
    added = tuple((PREFIX + name, value.encode()) for name, value in errors.items())
    letter = OutRecord(
        topic, record.key, record.value, record.partition, (*record.headers, *added, (REASON, reason.encode()))
    )
    return letter if letter.size_bytes <= RECORD_BYTES_MAX else _cut(letter, record, added, reason)


def _cut(letter: OutRecord, record: Record, added: Headers, reason: str) -> OutRecord:
    """A record with its reasons may be larger than a record may be: keep the reasons and the beginning of the value.

    ``millrace.truncated`` says how large the value was; the whole of it is where the origin headers point.
    """
    value = record.value or b""
    size = (TRUNCATED, str(len(value)).encode())
    kept = tuple(header for header in record.headers if header[0] in {REPLAYED_FROM, REPLAYS})
    bare = letter._replace(key=None, value=b"", headers=(*kept, *added, (REASON, reason.encode()), size))
    return bare._replace(value=value[: max(0, RECORD_BYTES_MAX - bare.size_bytes - SPARE_BYTES)])


def why(record: Record) -> dict[str, str]:
    """The reason, message and origin of a dead letter, for people."""
    found = {name.removeprefix(PREFIX): value.decode(errors="replace") for name, value in record.headers}
    names = {"reason": REASON, "message": "exception.message", "topic": "topic", "partition": "partition"}
    return {name: found.get(key, "") for name, key in {**names, "offset": "offset"}.items()}


class Origin(NamedTuple):
    """Where a refused record was read. ``bytes_cut`` is the length of its value if the letter holds a part only."""

    topic: str
    partition: int
    offset: int
    bytes_cut: int | None


def place_of(record: Record) -> str:
    """Where the record lies, as one word.

    >>> place_of(Record("tiny-dead-letters", 0, 17, 0, None, None))
    'tiny-dead-letters/0/17'
    """
    return f"{record.topic}/{record.partition}/{record.offset}"


def origin_of(letter: Record) -> Origin | None:
    """Where the refused record was read, or None if the letter does not say: then it is none of ours."""
    told = why(letter)
    cut = dict(letter.headers[len(own_headers(letter)) :]).get(TRUNCATED, b"")
    partition, offset = told["partition"], told["offset"]
    if not (told["topic"] and partition.isdecimal() and offset.isdecimal()):
        return None
    return Origin(told["topic"], int(partition), int(offset), int(cut) if cut.isdigit() else None)


def own_headers(letter: Record) -> Headers:
    """The headers that the refused record came with: those before the ones that :func:`dead_letter` added."""
    names = [name for name, _ in letter.headers]
    if PREFIX + "topic" not in names:
        return letter.headers
    added = len(names) - 1 - names[::-1].index(PREFIX + "topic")  # the last: a record may bring a connector's own
    return letter.headers[:added]


def replays(record: Record) -> int:
    """How often the record was sent back from the dead letters."""
    told = record.header(REPLAYS) or b""
    return int(told) if told.isdigit() else 0


def was_replayed(record: Record) -> bool:
    """Whether the record, or what a letter is about, was sent back from the dead letters."""
    return record.header(REPLAYED_FROM) is not None


def replay_of(letter: Record, origin: Origin, source: Record | None = None) -> OutRecord:
    """The record to be sent back for a letter: key, value, headers and partition as when it came the first time.

    Args:
        letter: the dead letter.
        origin: what :func:`origin_of` says of it.
        source: the refused record itself, needed where the letter holds only a part of it.
    """
    whole = source or letter
    mine = source.headers if source else own_headers(letter)
    kept = tuple((name, value) for name, value in mine if name not in {REPLAYED_FROM, REPLAYS})
    added = ((REPLAYED_FROM, place_of(letter).encode()), (REPLAYS, str(replays(whole) + 1).encode()))
    return OutRecord(origin.topic, whole.key, whole.value, origin.partition, (*kept, *added))
