"""Puts what was encoded before into a topic, as fast as librdkafka can, into the partitions that Java would choose."""

import json
from collections.abc import Iterable, Sequence
from io import BytesIO

from confluent_kafka import KafkaError, Message, Producer
from fastavro import parse_schema, schemaless_reader

from benchmarks.readback import read_all
from millrace.contracts import schemas
from millrace.contracts.codec import HEADER_BYTES

Pair = tuple[bytes, bytes]
FLUSH_S = 60.0


def load(bootstrap_servers: str, topic: str, pairs: Iterable[Pair], headers: Sequence[tuple[str, bytes]] = ()) -> int:
    """Append (key, value) pairs; returns how many. All are in the log when it returns."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 20,
            "batch.num.messages": 10_000,
            "batch.size": 1_000_000,
            "queue.buffering.max.messages": 2_000_000,
            "queue.buffering.max.kbytes": 1_000_000,
            "enable.idempotence": True,  # a retry must not double or reorder the input
        }
    )
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error)

    count = 0
    for key, value in pairs:
        producer.produce(topic, value, key, headers=list(headers) or None, on_delivery=delivered)
        count += 1
        if count % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(FLUSH_S)
    if left or failed:
        raise RuntimeError(f"{topic}: {left} of {count} records were not sent, {len(failed)} failed: {failed[:1]}")
    return count


def requests_of(bootstrap_servers: str, samples: str, count: int) -> list[Pair]:
    """The first samples as MLServer takes them: inference requests of the Open Inference Protocol, in JSON."""
    schema = parse_schema(schemas.without_logical_types(schemas.load("sample-recorded")))
    made: list[Pair] = []
    for message in read_all(bootstrap_servers, samples, count):
        stream = BytesIO(message.value())
        stream.seek(HEADER_BYTES)
        sample = schemaless_reader(stream, schema, None)
        row = sample["features"]
        # JSON knows no NaN; a lag that does not exist yet is 0 here, which costs the model the same
        data = [value if value == value else 0.0 for value in row]  # noqa: PLR0124
        tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP32", "data": data}
        made.append((sample["event_id"].encode(), json.dumps({"inputs": [tensor]}).encode()))
    return made
