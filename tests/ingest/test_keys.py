"""The hash that placed the keys of a topic is recognised."""

import zlib

import pytest

from millrace.bus.partitioner import partition_of
from services.ingest.keys import KeyHash

PARTITIONS = 3
KEYS = [f"entity-{number}".encode() for number in range(400)]


def crc32(key: bytes, partitions: int) -> int:
    """As librdkafka places keys by default."""
    return zlib.crc32(key) % partitions


@pytest.mark.parametrize(("place", "expected"), [(partition_of, "murmur2"), (crc32, "CRC32")])
def test_the_hash_is_named(place, expected):
    """Seen from one partition, the keys that landed there betray the hash."""
    hashes = KeyHash(1, PARTITIONS)
    for key in KEYS:
        if place(key, PARTITIONS) == 1:
            hashes.see(key)

    assert hashes.verdict == expected


def test_any_other_placement_is_another_hash():
    """Round robin fits neither."""
    hashes = KeyHash(1, PARTITIONS)
    for key in KEYS[::3]:
        hashes.see(key)

    assert hashes.verdict == "another hash"


def test_few_keys_or_one_partition_say_nothing():
    """No verdict without evidence."""
    few, single = KeyHash(0, PARTITIONS), KeyHash(0, 1)
    few.see(b"entity-1")
    for key in KEYS:
        single.see(key)

    assert few.verdict is None
    assert single.verdict is None
