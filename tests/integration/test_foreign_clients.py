"""Clients that are not ours feed the system and read from it, as any upstream or downstream system would.

The producer is confluent-kafka with its AvroSerializer, the reader confluent-kafka with its AvroDeserializer; neither
knows anything of Millrace but topic names and the Schema Registry's address.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient, topic_subject_name_strategy
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from millrace.demo.dataset import DatasetFile
from tests.integration.conftest import Running

pytestmark = pytest.mark.broker
GIVE_UP_S = 90.0
EVENTS, LABELS, PREDICTIONS = "electricity-events", "electricity-labels", "electricity-predictions"
DEAD_LETTERS = "electricity-dead-letters"
ROWS = 440


def registry_client(running: Running) -> SchemaRegistryClient:
    """Their client, to be used in a ``with``."""
    return SchemaRegistryClient({"url": running.schema_registry_url})


class Upstream:
    """A producer of another team, with the partitioner that facts about librdkafka demand."""

    def __init__(self, running: Running) -> None:
        self._open = ExitStack()
        registry = self._open.enter_context(registry_client(running))
        self._producer = Producer(
            {"bootstrap.servers": running.bootstrap_servers, "partitioner": "murmur2_random", "linger.ms": 5}
        )
        options = {
            "auto.register.schemas": False,
            "use.latest.version": True,
            "subject.name.strategy": topic_subject_name_strategy,  # as README says
        }
        self._serializers = {topic: AvroSerializer(registry, conf=options) for topic in (EVENTS, LABELS)}
        self._file = DatasetFile(running.project)

    def event(self, number: int, **changes: Any) -> None:
        """Row ``number`` of the data set as an event."""
        row = next(self._file.slice(number, number + 1))
        self._send(EVENTS, {**row.event, **changes})

    def label(self, number: int) -> None:
        """The truth about that row."""
        row = next(self._file.slice(number, number + 1))
        self._send(LABELS, {"event_id": row.event_id, "label": float(row.label), "label_time_ms": row.label_time_ms})

    def raw(self, value: bytes) -> None:
        """Bytes that no serializer has seen, on the events topic."""
        self._producer.produce(EVENTS, key=b"NSW", value=value)

    def flush(self) -> None:
        """Wait until the broker has everything."""
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        """Leave."""
        self._open.close()

    def _send(self, topic: str, value: dict[str, Any]) -> None:
        context = SerializationContext(topic, MessageField.VALUE)
        self._producer.produce(topic, key=b"NSW", value=self._serializers[topic](value, context))


class Downstream:
    """A read_committed reader of one partition from its beginning."""

    def __init__(self, running: Running, topic: str) -> None:
        self.topic = topic
        self._open = ExitStack()
        self._decode = AvroDeserializer(self._open.enter_context(registry_client(running)))
        self._consumer = Consumer(
            {
                "bootstrap.servers": running.bootstrap_servers,
                "group.id": f"independent-{topic}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])

    def until(self, enough: Callable[[list[Any]], bool]) -> list[Any]:
        """All messages so far, once they are enough."""
        messages: list[Any] = []
        deadline = time.monotonic() + GIVE_UP_S
        while not enough(messages):
            assert time.monotonic() < deadline, f"{len(messages)} messages on {self.topic} after {GIVE_UP_S} s"
            messages += [message for message in self._consumer.consume(500, 0.2) if message.error() is None]
        return messages

    def value(self, message: Any) -> dict[str, Any]:
        """The message's value through the registry."""
        return self._decode(message.value(), SerializationContext(self.topic, MessageField.VALUE))

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
        self._open.close()


@pytest.fixture(scope="module")
def upstream(running: Running) -> Iterator[Upstream]:
    """The first rows, each with its label, then a wait for the first model."""
    upstream = Upstream(running)
    for number in range(ROWS):
        upstream.event(number)
        upstream.label(number)
    upstream.flush()
    statuses = Downstream(running, "serving-status")  # of all models that ever served on this broker
    statuses.until(lambda found: any(statuses.value(one)["model"] == "electricity" for one in found))
    statuses.close()
    yield upstream
    upstream.close()


@pytest.fixture
def predictions(running: Running) -> Iterator[Downstream]:
    """A reader of the predictions."""
    reader = Downstream(running, PREDICTIONS)
    yield reader
    reader.close()


def test_a_foreign_producer_feeds_and_a_foreign_consumer_reads(upstream, predictions):
    """Events of a plain AvroSerializer are scored; a plain AvroDeserializer reads who, what, when and which version."""
    for number in range(ROWS, ROWS + 5):
        upstream.event(number)
        upstream.label(number)
    upstream.flush()
    wanted = f"nsw-{ROWS + 4}"
    messages = predictions.until(lambda found: any(predictions.value(one)["event_id"] == wanted for one in found))
    values = [predictions.value(message) for message in messages]
    last = next(value for value in values if value["event_id"] == wanted)

    assert last["model"] == "electricity"
    assert last["label"] in {"down", "up"}
    assert last["entity"] == "NSW"
    assert last["event_time_ms"].year == 1996
    assert sum(last["scores"]) == pytest.approx(1, abs=1e-5)
    assert len({value["prediction_id"] for value in values}) == len(values)


def test_bad_input_ends_as_dead_letters_and_the_next_good_record_is_served(running, upstream, predictions):
    """No Avro, an unknown schema, out of range, a missing field, a duplicate: each with its reason, nothing stops."""
    reader = Downstream(running, DEAD_LETTERS)
    upstream.raw(b"{}")
    upstream.raw(b"\x00\x7f\xff\xff\xffbody")
    upstream.event(600, nswprice=7.5)
    upstream.event(601, nswdemand=None)
    upstream.event(3)
    upstream.event(602)
    upstream.flush()
    letters = reader.until(lambda found: len(found) >= 5)
    reader.close()
    predictions.until(lambda found: any(predictions.value(one)["event_id"] == "nsw-602" for one in found))
    headers = [dict(letter.headers()) for letter in letters]

    reasons = [found["millrace.reason"].decode() for found in headers]
    assert reasons == ["undecodable", "unknown-schema", "out-of-range", "missing-field", "duplicate-event"]
    assert letters[0].value() == b"{}"
    assert b"7.5" in headers[2]["__connect.errors.exception.message"]
    assert headers[4]["__connect.errors.topic"] == EVENTS.encode()


def test_an_incompatible_schema_is_refused_by_the_registry(running):
    """Upstream may not change a field's type under its readers: the registry says 409."""
    from confluent_kafka.schema_registry import Schema
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    changed = json.loads(json.dumps(running.project.event_schema))
    changed["fields"][4] |= {"type": "string", "default": ""}
    with registry_client(running) as client, pytest.raises(SchemaRegistryError) as error:
        client.register_schema(f"{EVENTS}-value", Schema(json.dumps(changed), "AVRO"))

    assert error.value.http_status_code == 409


def test_a_trace_goes_from_event_to_prediction(running, upstream, predictions):
    """The trace id of an event's traceparent header is the prediction's; the span is another."""
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    row = next(DatasetFile(running.project).slice(700, 701))
    context = SerializationContext(EVENTS, MessageField.VALUE)
    upstream._producer.produce(
        EVENTS,
        key=b"NSW",
        value=upstream._serializers[EVENTS](row.event, context),
        headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    upstream.flush()
    messages = predictions.until(lambda found: any(predictions.value(one)["event_id"] == "nsw-700" for one in found))
    message = next(one for one in messages if predictions.value(one)["event_id"] == "nsw-700")
    traceparent = dict(message.headers())["traceparent"].decode().split("-")

    assert [traceparent[1], traceparent[3]] == [trace_id, "01"]
    assert traceparent[2] != "00f067aa0ba902b7"
