"""The records that travel on the bus.

They are named tuples because there are hundreds of thousands of them in a second: one is made in a third of the time
that a frozen dataclass takes.
"""

from collections.abc import Iterable
from typing import NamedTuple

Headers = tuple[tuple[str, bytes], ...]

RECORD_BYTES_MAX = 1_000_000
"""Largest record that a transport accepts: Kafka's default ``message.max.bytes`` (1,048,588) less room for framing."""


class TopicPartition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


class Bounds(NamedTuple):
    """The readable part of a partition: ``begin`` is its first offset, ``end`` the last stable offset (exclusive)."""

    begin: int
    end: int


class Lag(NamedTuple):
    """How far behind a reader is, in offsets: ``records`` it could read, ``hidden`` ones wait for a transaction."""

    records: int
    hidden: int


class Record(NamedTuple):
    """A record as read from the log. ``timestamp_ms`` is its log time in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def header(self, name: str) -> bytes | None:
        """The first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


class OutRecord(NamedTuple):
    """A record to be written. ``partition`` of None lets the key decide, with murmur2 as Java clients do."""

    topic: str
    key: bytes | None
    value: bytes | None
    partition: int | None = None
    headers: Headers = ()

    @classmethod
    def column(
        cls, topic: str, partition: int, keys: Iterable[bytes | None], values: Iterable[bytes],
        headers: Iterable[Headers],
    ) -> list["OutRecord"]:  # fmt: skip
        """Records of one partition from columns of equal length, in half the time of one call for each."""
        rows = zip(keys, values, headers, strict=True)
        return [tuple.__new__(cls, (topic, key, value, partition, more)) for key, value, more in rows]

    @property
    def size_bytes(self) -> int:
        """Key, value and headers, as counted against ``RECORD_BYTES_MAX``."""
        headers = sum(len(name) + len(value) for name, value in self.headers) if self.headers else 0
        return len(self.key or b"") + len(self.value or b"") + headers
