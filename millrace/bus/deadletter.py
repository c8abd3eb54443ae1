"""Dead letters: the record as it came, plus why it was refused.

Headers follow Kafka Connect's error headers (``__connect.errors.*``, KIP-298), so that tools which list the dead
letters of a connector list ours too. ``millrace.reason`` holds the stable slug.
"""

from collections.abc import Mapping

from millrace.bus.types import RECORD_BYTES_MAX, Headers, OutRecord, Record

PREFIX = "__connect.errors."
REASON = "millrace.reason"
TRUNCATED = "millrace.truncated"
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
    bare = letter._replace(key=None, value=b"", headers=(*added, (REASON, reason.encode()), size))
    return bare._replace(value=value[: max(0, RECORD_BYTES_MAX - bare.size_bytes - SPARE_BYTES)])


def why(record: Record) -> dict[str, str]:
    """The reason, message and origin of a dead letter, for people."""
    found = {name.removeprefix(PREFIX): value.decode(errors="replace") for name, value in record.headers}
    names = {"reason": REASON, "message": "exception.message", "topic": "topic", "partition": "partition"}
    return {name: found.get(key, "") for name, key in {**names, "offset": "offset"}.items()}
