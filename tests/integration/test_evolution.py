"""A producer changes its schema while ingest runs: nobody restarts anything, and no record is lost or read wrongly.

The producer is confluent-kafka with its own AvroSerializer, which registers what it is given, as any other team's does;
ingest is the real process.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec, schema_id_of
from millrace.contracts.events import SampleRecorded
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import subject
from tests.faults.harness import Scene
from tests.support import EPOCH_MS, EVENT, until

pytestmark = pytest.mark.broker
EACH = 40
BY_TOPIC = {"subject.name.strategy": topic_subject_name_strategy}
"""Its default asks the registry for "associations", which Apicurio now and then leaves unanswered for ever."""
X_MAY_BE_MISSING = [{"field": "x", "min": -10, "max": 10, "required": False}]
NOTE = {"name": "note", "type": "string", "default": "", "doc": "Added by the second version."}
SIDE = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL"]}
VERSIONS: list[dict[str, Any]] = [
    EVENT,
    {**EVENT, "fields": [NOTE, *reversed(EVENT["fields"])]},
    {**EVENT, "fields": [*EVENT["fields"][:3], NOTE, {"name": "side", "type": ["null", SIDE], "default": None}]},
]
MORE: list[dict[str, Any]] = [{}, {"note": "ü"}, {"note": "no x", "side": "SELL"}]


class Upstream:
    """A producer of another team, upgraded to one version after another."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._topic = scene, scene.topic(topics.EVENTS)
        self._producer = Producer(
            {"bootstrap.servers": scene.broker.bootstrap_servers, "partitioner": "murmur2_random"}
        )
        self.sent: list[int] = []
        """The version of each event so far."""

    def send(self, *versions: int) -> None:
        """Some events, their versions in turn, each registered by the serializer when it is first used."""
        context = SerializationContext(self._topic, MessageField.VALUE)
        with SchemaRegistryClient({"url": self._scene.broker.schema_registry_url}) as client:
            serializers = {each: AvroSerializer(client, json.dumps(VERSIONS[each]), conf=BY_TOPIC) for each in versions}
            for _ in range(EACH):
                number = len(self.sent)
                version = versions[number % len(versions)]
                value = serializers[version]({**event(number), **MORE[version]}, context)
                self._producer.produce(self._topic, key=b"w", value=value)
                self.sent.append(version)
        assert self._producer.flush(30) == 0


def event(number: int) -> dict[str, Any]:
    """One of them, as a version with all fields has it."""
    return {"id": f"e{number}", "who": "w", "at": EPOCH_MS + 1000 * number, "x": number / 100}


async def samples(scene: Scene, count: int) -> list[SampleRecorded]:
    """All samples, once there are so many."""
    transport = KafkaTransport(scene.broker.bootstrap_servers, client_id="test-evolution")
    topic = scene.topic(topics.SAMPLES)

    async def found() -> Sequence[Record]:
        begin, end = await transport.bounds(topic, 0)
        return [record async for batch in transport.read(topic, 0, begin, end) for record in batch]

    try:
        records = await until(found, count)
    finally:
        await transport.close()
    async with SchemaRegistry(scene.broker.schema_registry_url) as registry:
        codec = Codec(registry)
        return [await codec.decode(SampleRecorded, record.value) for record in records]


def test_a_producer_evolves_while_ingest_runs(broker: Any, tmp_path: Path) -> None:
    """Two compatible changes, then all three versions at once: every event a sample with the right features."""
    with Scene.create(broker, tmp_path, partitions=1, expectations=X_MAY_BE_MISSING) as scene:
        ingest = scene.service("ingest", restarts=False)
        upstream = Upstream(scene)
        for versions in ((0,), (1,), (2,), (2, 0, 1), (0,)):
            upstream.send(*versions)
            written = asyncio.run(samples(scene, len(upstream.sent)))
        assert_incompatible_is_refused(scene)
        assert not ingest.exits

    xs = [np.nan if version == 2 else number / 100 for number, version in enumerate(upstream.sent)]
    changes = [np.nan, *np.diff(xs)]
    assert [f"e{number}" for number in range(5 * EACH)] == [each.event_id for each in written]
    np.testing.assert_array_equal([each.features[0] for each in written], xs)
    np.testing.assert_array_equal([each.features[1] for each in written], changes)
    assert EACH < np.isnan(xs).sum() < 2 * EACH, "all of one run, and some of the mixed one"
    assert len({schema_id_of(each.event) for each in written}) == 3
    assert schema_id_of(written[0].event) == schema_id_of(written[-1].event), "the first version is still read"


def assert_incompatible_is_refused(scene: Scene) -> None:
    """The registry tells the producer, before anything is sent."""
    changed = {**EVENT, "fields": [*EVENT["fields"][:3], {"name": "x", "type": "string", "default": ""}]}
    topic = scene.topic(topics.EVENTS)
    with SchemaRegistryClient({"url": scene.broker.schema_registry_url}) as client:
        serializer = AvroSerializer(client, json.dumps(changed), conf=BY_TOPIC)
        with pytest.raises(SchemaRegistryError) as caught:
            serializer({**event(0), "x": "1"}, SerializationContext(topic, MessageField.VALUE))
        assert caught.value.http_status_code == 409
        assert len(client.get_versions(subject(topic))) == len(VERSIONS)
