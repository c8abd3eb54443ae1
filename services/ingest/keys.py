"""Notices a producer that hashes keys differently.

An event and its label meet only in one partition. Java clients, aiokafka and kafka-python place a key by murmur2,
librdkafka by CRC32 unless told otherwise. Seen from one partition, a topic betrays its hash: every key in it hashes
to this partition under the right one, and only about one in ``partitions`` does under the other. Pure.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from millrace.bus.partitioner import partition_of
from millrace.bus.types import Record

ENOUGH_KEYS = 12  # with 2 partitions, keys that fit both hashes by chance: 1 in 2^12


@dataclass(slots=True)
class KeyHash:
    """Which hash has placed the keys of one topic, as far as this partition shows."""

    partition: int
    partitions: int
    _fits: dict[bytes, frozenset[str]] = field(default_factory=dict)

    def see(self, key: bytes | None) -> None:
        """Take a key into account; only the first few different ones matter."""
        if key is None or key in self._fits or len(self._fits) >= ENOUGH_KEYS:
            return
        places = {"murmur2": partition_of(key, self.partitions), "CRC32": zlib.crc32(key) % self.partitions}
        self._fits[key] = frozenset(name for name, place in places.items() if place == self.partition)

    def see_all(self, records: Iterable[Record]) -> None:
        """Take the records' keys into account; costs nothing once enough were seen."""
        for record in records:
            if len(self._fits) >= ENOUGH_KEYS:
                return
            self.see(record.key)

    @property
    def verdict(self) -> str | None:
        """``murmur2``, ``CRC32``, or ``another hash``; None until enough different keys were seen."""
        if self.partitions < 2 or len(self._fits) < ENOUGH_KEYS:
            return None
        fitting = frozenset.intersection(*self._fits.values())
        if len(fitting) == 1:
            return next(iter(fitting))
        return None if fitting else "another hash"
