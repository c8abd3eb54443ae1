"""Clients that are not ours and read what is visible: during the faults in a thread, and again at the end."""

import json
import threading
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import Any, NamedTuple, Self

import fastavro
from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as ConfluentPartition
from confluent_kafka.schema_registry import SchemaRegistryClient

from millrace.contracts import topics
from tests.faults.harness import PATIENCE_S, Scene, wait_for
from tests.transports import fresh

with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # of how it reads its own files
    from kafka import KafkaConsumer
    from kafka import TopicPartition as PythonPartition

HEADER_BYTES = 5


class Seen(NamedTuple):
    """A record as a foreign client read it."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Confluent:
    """librdkafka. ``poll`` says None for a partition whose end it has met."""

    name = "confluent-kafka"

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, isolation: str = "read_committed") -> None:
        self._consumer = Consumer({
            "bootstrap.servers": bootstrap_servers,
            "group.id": fresh("reader"),
            "isolation.level": isolation,
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
        })  # fmt: skip
        self._consumer.assign([ConfluentPartition(topic, number, 0) for number in range(partitions)])

    def poll(self) -> Iterator[Seen | int]:
        """What has come; a number is a partition that was read to its end."""
        for message in self._consumer.consume(2000, timeout=0.2):
            error = message.error()
            if error is None:
                headers = tuple((name, value) for name, value in message.headers() or ())
                place = (message.partition(), message.offset(), message.timestamp()[1])
                yield Seen(*place, message.key(), message.value(), headers)
            elif error.code() == KafkaError._PARTITION_EOF:
                yield message.partition()
            elif not error.retriable() and error.fatal():
                raise AssertionError(f"the reader fails: {error}")

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


class KafkaPython:
    """kafka-python: another implementation of the protocol, in Python alone."""

    name = "kafka-python"

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, isolation: str = "read_committed") -> None:
        self._consumer = KafkaConsumer(
            bootstrap_servers=bootstrap_servers, isolation_level=isolation, enable_auto_commit=False, group_id=None,
            auto_offset_reset="none",
        )  # fmt: skip
        places = [PythonPartition(topic, number) for number in range(partitions)]
        self._consumer.assign(places)
        for place in places:
            self._consumer.seek(place, 0)

    def poll(self) -> Iterator[Seen | int]:
        """What has come."""
        for records in self._consumer.poll(timeout_ms=200, max_records=2000).values():
            for one in records:
                yield Seen(one.partition, one.offset, one.timestamp, one.key, one.value, tuple(one.headers))

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


class Live:
    """Reads a topic from offset 0 in a thread of its own, until stopped. ``seen`` is what it saw, as it came."""

    def __init__(self, client: type[Confluent] | type[KafkaPython], scene: Scene, topic: str) -> None:
        self.name = client.name
        self.seen: list[Seen] = []
        self._args = (scene.broker.bootstrap_servers, topic, scene.project.partitions)
        self._client = client
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._read, name=f"live {client.name}", daemon=True)
        self._thread.start()
        scene.at_exit.callback(self._stop_reading)

    @classmethod
    def both(cls, scene: Scene, topic: str | None = None) -> tuple["Live", "Live"]:
        """One of each make, on the predictions unless another topic is named."""
        name = topic or scene.topic(topics.PREDICTIONS)
        return cls(Confluent, scene, name), cls(KafkaPython, scene, name)

    def _read(self) -> None:
        client = self._client(*self._args)
        try:
            while not self._stop.is_set():
                self.seen += [one for one in client.poll() if isinstance(one, Seen)]
        except BaseException as error:  # noqa: BLE001 - kept, and raised where the test asks
            self._error = error
        finally:
            client.close()

    def wait(self, count: int, patience_s: float = PATIENCE_S) -> None:
        """Return when it has seen so many records."""
        wait_for(
            lambda: len(self.seen) >= count or self._error is not None,
            lambda: f"{self.name} saw {len(self.seen)} of {count} records",
            patience_s,
        )
        if self._error is not None:
            raise self._error

    def stop(self) -> Self:
        """Stop reading."""
        self._stop_reading()
        if self._error is not None:
            raise self._error
        return self

    def _stop_reading(self) -> None:
        self._stop.set()
        self._thread.join()

    def ordered(self) -> dict[int, list[Seen]]:
        """What it saw, in the order of its coming, for each partition."""
        return by_partition(self.seen)


def everything(scene: Scene, topic: str, isolation: str = "read_committed", partitions: int = 0) -> list[Seen]:
    """All that a fresh confluent-kafka reader sees, read to the end of each partition, partition by partition."""
    count = partitions or scene.project.partitions
    client = Confluent(scene.broker.bootstrap_servers, topic, count, isolation)
    seen: list[Seen] = []
    ended: set[int] = set()
    deadline_s = time.monotonic() + PATIENCE_S
    while len(ended) < count:
        assert time.monotonic() < deadline_s, f"{topic}: only the partitions {sorted(ended)} of {count} have an end"
        for one in client.poll():
            if isinstance(one, Seen):
                seen.append(one)
            else:
                ended.add(one)
    client.close()
    return [one for records in by_partition(seen).values() for one in records]


def by_partition(seen: Iterable[Seen]) -> dict[int, list[Seen]]:
    """The records of each partition, in the order in which they are given."""
    found: dict[int, list[Seen]] = defaultdict(list)
    for one in seen:
        found[one.partition].append(one)
    return dict(sorted(found.items()))


class Decoder:
    """Avro by fastavro, with schemas from the registry by confluent-kafka's client."""

    def __init__(self, scene: Scene) -> None:
        self._url = scene.broker.schema_registry_url
        self._schemas: dict[int, Any] = {}

    def __call__(self, value: bytes | None) -> dict[str, Any]:
        """The record in these bytes."""
        assert value is not None
        number = int.from_bytes(value[1:HEADER_BYTES], "big")
        if number not in self._schemas:
            with SchemaRegistryClient({"url": self._url}) as registry:
                schema = json.loads(registry.get_schema(number).schema_str, object_hook=_bare)
            self._schemas[number] = fastavro.parse_schema(schema)
        record: Any = fastavro.schemaless_reader(BytesIO(value[HEADER_BYTES:]), self._schemas[number], None)
        return dict(record)


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    """Without logical types: times stay the numbers that they are on the wire."""
    return {key: value for key, value in part.items() if key != "logicalType"}
