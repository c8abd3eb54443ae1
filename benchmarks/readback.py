"""What really came out, read back by a client that is not ours (confluent-kafka), read_committed."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any

import pyruhvro
from confluent_kafka import Consumer, Message, TopicPartition
from fastavro import parse_schema, schemaless_reader

from millrace.contracts import schemas
from millrace.contracts.codec import HEADER_BYTES

PATIENCE_S, WAIT_S = 30.0, 0.1
CHUNK = 10_000
PROBE = b"probe"
"""The key of requests that only ask whether somebody answers."""
Place = tuple[int, int]
"""Partition and offset of the record that an output was made from."""
Origin = Callable[[Sequence[bytes]], list[Place]]


@dataclass(frozen=True, slots=True)
class Count:
    """``missing`` are inputs before the last one with an output, of the same partition, that have none themselves.

    Both are None where outputs were not held against the inputs.
    """

    outputs: int
    duplicates: int | None
    missing: int | None


def read_all(bootstrap_servers: str, topic: str, limit: int | None = None) -> Iterator[Message]:
    """Every committed record up to the present end, partition by partition; or the first ``limit`` of them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "benchmark-readback",  # never joined: partitions are assigned
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        }
    )
    try:
        numbers = sorted(consumer.list_topics(topic, 10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        ended: set[int] = set()
        seen, heard_s = 0, time.monotonic()
        while len(ended) < len(numbers) and (limit is None or seen < limit):
            messages = consumer.consume(10_000, WAIT_S)  # waits until it has so many
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > PATIENCE_S:
                raise RuntimeError(f"{topic} was not read to its end: nothing came for {PATIENCE_S} s")
            for message in messages:
                if message.error() is not None:
                    ended.add(message.partition())  # librdkafka's only error here is the end of a partition
                elif limit is None or seen < limit:
                    seen += 1
                    yield message
    finally:
        consumer.close()


def _lean(schema_name: str) -> dict[str, Any]:
    return schemas.without_logical_types(schemas.load(schema_name))


def predictions_from(values: Sequence[bytes]) -> list[Place]:
    """Where predictions say that they came from. By columns: half a million of them in a second."""
    columns = pyruhvro.deserialize_array([value[HEADER_BYTES:] for value in values], PREDICTION_SCHEMA)
    pair = (columns.column(name).to_pylist() for name in ("sample_partition", "sample_offset"))
    return list(zip(*pair, strict=True))


def samples_from(values: Sequence[bytes]) -> list[Place]:
    """The same for samples, one by one: pyruhvro knows no bytes."""
    records = (schemaless_reader(BytesIO(value[HEADER_BYTES:]), SAMPLE_SCHEMA, None) for value in values)
    return [(record["source_partition"], record["source_offset"]) for record in records]


PREDICTION_SCHEMA = json.dumps(_lean("prediction-made"))
SAMPLE_SCHEMA = parse_schema(_lean("sample-recorded"))
PREDICTION, SAMPLE = predictions_from, samples_from


def answered(values: Sequence[bytes]) -> list[Place]:
    """MLServer's answers name their request by its id, ``<anything>-<number>``."""
    return [(0, int(json.loads(value)["id"].rpartition("-")[2])) for value in values]


def check(bootstrap_servers: str, topic: str, origin: Origin, inputs: dict[int, list[int]]) -> Count:
    """Count the outputs and hold them against the inputs' offsets, in order, by partition."""
    values = (message.value() for message in read_all(bootstrap_servers, topic) if message.key() != PROBE)
    places: dict[int, list[int]] = {}
    while chunk := list(islice(values, CHUNK)):
        for partition, offset in origin(chunk):
            places.setdefault(partition, []).append(offset)
    return compare(places, inputs)


def compare(places: dict[int, list[int]], inputs: dict[int, list[int]]) -> Count:
    """Outputs by the input that they name. A process that was stopped half way has done a first part of each partition.

    >>> compare({0: [1, 2, 2, 5]}, {0: [1, 2, 4, 5, 7]})
    Count(outputs=4, duplicates=1, missing=1)
    """
    outputs = sum(map(len, places.values()))
    distinct = {partition: set(found) for partition, found in places.items()}
    missing = 0
    for partition, found in distinct.items():
        last = max(found)
        missing += len({offset for offset in inputs[partition] if offset <= last} - found)
    return Count(outputs, outputs - sum(map(len, distinct.values())), missing)


def offsets_of(bootstrap_servers: str, topic: str) -> dict[int, list[int]]:
    """The offsets of a topic's committed records by partition; markers of transactions take places in between."""
    found: dict[int, list[int]] = {}
    for message in read_all(bootstrap_servers, topic):
        found.setdefault(message.partition(), []).append(message.offset())
    return found


def frame_rows(bootstrap_servers: str, topic: str) -> dict[int, list[tuple[int, int]]]:
    """For each partition of the observations: each frame's offset, and how many rows there are up to and with it."""
    schema = parse_schema(_lean("observations-recorded"))
    found: dict[int, list[tuple[int, int]]] = {}
    for message in read_all(bootstrap_servers, topic):
        stream = BytesIO(message.value())
        stream.seek(HEADER_BYTES)
        rows = schemaless_reader(stream, schema, None)["rows"]
        frames = found.setdefault(message.partition(), [])
        frames.append((message.offset(), rows + (frames[-1][1] if frames else 0)))
    return found


def rows_below(frames: Sequence[tuple[int, int]], next_offset: int) -> int:
    """How many rows lie in the frames before ``next_offset``.

    >>> rows_below([(0, 10), (2, 25)], 2)
    10
    """
    return max((rows for offset, rows in frames if offset < next_offset), default=0)
