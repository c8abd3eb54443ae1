"""Which partition a key belongs to: murmur2, exactly as Java clients compute it.

Java, aiokafka and kafka-python agree on it; librdkafka does only when asked (``partitioner=murmur2_random``). Records
of one entity meet in one partition only if everybody who writes them agrees.
"""

from functools import lru_cache

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_MIX = 0x5BD1E995


def murmur2(data: bytes) -> int:
    """The 32-bit MurmurHash2 of ``data`` with Kafka's seed, as an unsigned number.

    >>> murmur2(b"21") - 2**32  # the example of Kafka's own UtilsTest
    -973932308
    """
    hashed = _SEED ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        word = (int.from_bytes(data[at : at + 4], "little") * _MIX) & _MASK
        word = ((word ^ (word >> 24)) * _MIX) & _MASK
        hashed = ((hashed * _MIX) & _MASK) ^ word
    if whole != len(data):
        hashed = ((hashed ^ int.from_bytes(data[whole:], "little")) * _MIX) & _MASK
    hashed = ((hashed ^ (hashed >> 13)) * _MIX) & _MASK
    return hashed ^ (hashed >> 15)


@lru_cache(maxsize=65_536)  # entities come back; the loop above costs about a microsecond for four bytes
def partition_of(key: bytes | None, partitions: int) -> int:
    """The partition of ``key`` among ``partitions``. No key counts as an empty one: deterministic, unlike Java's.

    >>> partition_of(b"21", 3)
    0
    """
    return (murmur2(key or b"") & 0x7FFFFFFF) % partitions
