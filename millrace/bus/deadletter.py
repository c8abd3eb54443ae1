"""Dead letters: the record as it came, plus why it was refused.

Headers follow Kafka Connect's error headers (``__connect.errors.*``, KIP-298), so that tools which list the dead
letters of a connector list ours too. ``millrace.reason`` holds the stable slug.
"""

from collections.abc import Mapping

from millrace.bus.types import OutRecord, Record

PREFIX = "__connect.errors."
REASON = "millrace.reason"


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
        "exception.message": message,
    }
    added = tuple((PREFIX + name, value.encode()) for name, value in errors.items())
    return OutRecord(
        topic, record.key, record.value, record.partition, (*record.headers, *added, (REASON, reason.encode()))
    )


def why(record: Record) -> dict[str, str]:
    """The reason, message and origin of a dead letter, for people."""
    found = {name.removeprefix(PREFIX): value.decode(errors="replace") for name, value in record.headers}
    names = {"reason": REASON, "message": "exception.message", "topic": "topic", "partition": "partition"}
    return {name: found.get(key, "") for name, key in {**names, "offset": "offset"}.items()}
