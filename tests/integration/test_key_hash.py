"""A producer whose labels are placed by another hash is noticed and named, on the real broker."""

import asyncio
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from millrace.bus.clock import SystemClock
from millrace.bus.context import Context
from millrace.bus.deadletter import why
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.compatibility import register_all
from millrace.contracts.events import AlertRaised, LabelObserved
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import specs, topic_name
from services.ingest.shell import IngestService
from tests.support import EPOCH_MS, MINUTE_MS, tiny_project, until

pytestmark = pytest.mark.broker
ENTITIES = 120


async def read_all(transport: KafkaTransport, topic: str, partitions: int) -> Sequence[Record]:
    """Everything committed in a topic."""
    records: list[Record] = []
    for partition in range(partitions):
        begin, end = await transport.bounds(topic, partition)
        async for batch in transport.read(topic, partition, begin, end):
            records += batch
    return records


def produce(bootstrap: str, topic: str, records: Sequence[tuple[str, bytes]], partitioner: str) -> None:
    """Send with librdkafka and the given partitioner."""
    producer = Producer({"bootstrap.servers": bootstrap, "partitioner": partitioner})
    for key, value in records:
        producer.produce(topic, key=key.encode(), value=value)
    assert producer.flush(30) == 0


async def test_labels_keyed_by_another_hash_are_noticed_and_named(broker, tmp_path):
    """Events by murmur2, labels by librdkafka's default CRC32: an alert names both, and so do the dead letters."""
    project = tiny_project(tmp_path, stream="hashed", model="hashed", partitions=3)
    transport = KafkaTransport(broker.bootstrap_servers, client_id="test-key-hash")
    await transport.create_topics(specs(project))
    async with SchemaRegistry(broker.schema_registry_url) as registry:
        await register_all(registry, project)
        codec = Codec(registry)
        await codec.prepare(project, topics.EVENTS, topics.LABELS)
        events_topic, labels_topic = (topic_name(row, project) for row in (topics.EVENTS, topics.LABELS))
        events, labels = [], []
        for number in range(ENTITIES):
            who, at = f"w{number}", EPOCH_MS + number * MINUTE_MS
            event = {"id": f"e{number}", "who": who, "at": at, "x": 0.0}
            label = LabelObserved(event_id=f"e{number}", label=1.0, label_time_ms=at + MINUTE_MS)
            events.append((who, codec.encode_record(events_topic, event)))
            labels.append((who, codec.encode(labels_topic, label)))
        produce(broker.bootstrap_servers, events_topic, events, "murmur2_random")
        produce(broker.bootstrap_servers, labels_topic, labels, "consistent_random")

        service = IngestService(
            Context(project, transport, codec, SystemClock(), "ingest"), max_records=500, trace_share=0.0
        )
        task = asyncio.create_task(service.run())

        async def alerts() -> list[AlertRaised]:
            records = await read_all(transport, topics.ALERTS.suffix, 1)
            found = [await codec.decode(AlertRaised, record.value) for record in records]
            return [alert for alert in found if alert.subject == labels_topic]

        async def decided() -> list[Record]:
            letters = await read_all(transport, topic_name(topics.DEAD_LETTERS, project), 3)
            return [*letters, *await read_all(transport, topic_name(topics.SAMPLES, project), 3)]

        try:
            alert = (await until(alerts, 1))[0]
            records = await until(decided, 2 * ENTITIES)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await transport.close()
    letters = [why(record) for record in records if record.topic == topic_name(topics.DEAD_LETTERS, project)]

    assert (alert.reason, alert.severity) == ("key-hash-mismatch", "CRITICAL")
    for words in ("hashed-labels are placed by CRC32", "hashed-events by murmur2", "partitioner=murmur2_random"):
        assert words in alert.message
    assert {letter["reason"] for letter in letters} == {"label-without-event"}
    assert any("partitioner=murmur2_random" in letter["message"] for letter in letters)
    assert 0 < len(letters) < ENTITIES, "some keys fall into the same partition by both hashes"
