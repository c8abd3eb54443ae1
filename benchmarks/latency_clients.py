"""The clients of the latency measurement, all of another make than the services: confluent-kafka (librdkafka).

One clock: ``time.time_ns`` of this machine, which is the broker's too; its log-append times are in whole milliseconds.
"""

import gc
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from fastavro import schemaless_reader, schemaless_writer

from benchmarks.latency_stage import ENTITIES, FIELDS, Stage
from millrace.contracts.codec import HEADER_BYTES
from millrace.contracts.schemas import Schema, newest

TICK_NS = 1_000_000
QUIET_S = 1.0  # how long a reader that has everything goes on looking for what came twice
DRAIN_AT_MOST = 20_000
Table = dict[str, Any]


@dataclass(frozen=True)
class Sent:
    """When each event was due, and when it was really handed to the client. Nanoseconds since the epoch."""

    due_ns: np.ndarray[Any, Any]
    sent_ns: np.ndarray[Any, Any]


def encode_events(stage: Stage, prefix: str, count: int, at_ms: int, rate: float) -> list[tuple[bytes, bytes]]:
    """Events as (key, value), made before the clock runs. The id tells the number."""
    schema = Schema.of(stage.project.event_schema).parsed
    header = b"\0" + stage.event_schema_id.to_bytes(4, "big")
    events = []
    for number, row in enumerate(fields(count).tolist()):
        entity = f"entity-{number * 7919 % ENTITIES:04d}"  # 7919 is coprime to ENTITIES: all in turn, neighbours apart
        record = {"id": event_id(prefix, number), "entity": entity, "at": at_ms + round(number * 1000 / rate)}
        record |= {f"x{field}": value for field, value in enumerate(row)}
        out = BytesIO()
        out.write(header)
        schemaless_writer(out, schema, record)
        events.append((entity.encode(), out.getvalue()))
    return events


def fields(count: int) -> np.ndarray[Any, Any]:
    """The fields of so many events, of the shape (events, fields)."""
    return np.random.default_rng(2).normal(size=(count, FIELDS))


def event_id(prefix: str, number: int) -> str:
    """The id of the event of that number."""
    return f"{prefix}-{number:08d}"


def send(stage: Stage, topic: str, events: Sequence[tuple[bytes, bytes]], rate: float) -> Sent:
    """Send at an even pace: event ``n`` is due at ``start + n / rate``, and what is late is not sent later still."""
    producer = Producer(
        {
            "bootstrap.servers": stage.bootstrap_servers,
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "socket.nagle.disable": True,
            "acks": "all",
            "queue.buffering.max.messages": 1_000_000,
        }
    )
    producer.list_topics(topic, timeout=10)
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            failed.append(error)

    due = np.round(np.arange(len(events)) * (1e9 / rate)).astype(np.int64) + time.time_ns() + 50_000_000
    sent = np.zeros(len(events), dtype=np.int64)
    gc.disable()
    try:
        _pace(producer, topic, events, due.tolist(), sent, delivered)
        left = producer.flush(60)
    finally:
        gc.enable()
    if left or failed:
        raise RuntimeError(f"{left} events were not sent, {len(failed)} failed: {failed[:1]}")
    return Sent(due, sent)


def _pace(
    producer: Any, topic: str, events: Sequence[tuple[bytes, bytes]], due: Sequence[int],
    sent: np.ndarray[Any, Any], delivered: Any,
) -> None:  # fmt: skip
    number, count = 0, len(events)
    while number < count:
        now = time.time_ns()
        first = number
        while number < count and due[number] <= now:
            key, value = events[number]
            producer.produce(topic, value, key, on_delivery=delivered)
            number += 1
        sent[first:number] = now
        producer.poll(0)
        if number < count:
            pause = max(due[number] - time.time_ns(), TICK_NS)
            time.sleep(pause / 1e9)


class Reader:
    """A read_committed reader of one topic, in a process of its own so that nothing of ours delays it."""

    def __init__(self, stage: Stage, topic: str, schema_name: str, fields: Sequence[str]) -> None:
        self._topic = topic
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, stage.bootstrap_servers, topic, stage.project.partitions, schema_name, tuple(fields))
        self._process: BaseProcess = context.Process(target=_read, args=arguments, daemon=True)
        self._process.start()
        self._answer(30)

    def finish(self, expected: int, timeout_s: float) -> Table:
        """Wait until it has so many records, or the time is over; a column for each field, and receipt and log time."""
        self._pipe.send((expected, timeout_s))
        answer = self._answer(timeout_s + 120)
        self._process.join(10)
        return dict(answer)

    def close(self) -> None:
        """End the process, if it still runs."""
        if self._process.is_alive():
            self._process.terminate()
        self._process.join(10)

    def _answer(self, timeout_s: float) -> Any:
        if not self._pipe.poll(timeout_s):
            self.close()
            raise RuntimeError(f"the reader of {self._topic} does not answer")
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise RuntimeError(f"the reader of {self._topic} failed") from answer  # noqa: TRY004 - it is no wrong type
        return answer


def follow(bootstrap_servers: str, topic: str, partitions: int) -> Consumer:
    """A read_committed consumer at the present end of the topic, that is told of new records without delay."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": f"latency-{topic}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 500,
            "fetch.min.bytes": 1,
            "queued.min.messages": 1_000_000,
            "queued.max.messages.kbytes": 1_000_000,
            "socket.nagle.disable": True,
        }
    )
    starts = []
    for partition in range(partitions):
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        starts.append(TopicPartition(topic, partition, high))
    consumer.assign(starts)
    consumer.poll(0.2)
    return consumer


def _read(
    pipe: Connection, bootstrap_servers: str, topic: str, partitions: int, schema: str, fields: Sequence[str]
) -> None:
    """The reader's process."""
    try:
        consumer = follow(bootstrap_servers, topic, partitions)
        pipe.send("ready")
        batches = _collect(pipe, consumer)
        pipe.send(_columns(batches, newest(schema).parsed, fields))
        consumer.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent must hear of it
        pipe.send(error)


def _collect(pipe: Connection, consumer: Consumer) -> list[tuple[int, list[Any]]]:
    """What arrived together, with the time, until the parent's wish is fulfilled."""
    gc.disable()
    batches: list[tuple[int, list[Any]]] = []
    seen, expected, deadline, quiet_since = 0, None, float("inf"), 0.0
    while time.monotonic() < deadline:
        first = consumer.poll(0.05)
        if first is not None:
            batch = [first, *consumer.consume(DRAIN_AT_MOST, 0)]
            batches.append((time.time_ns(), batch))
            seen += len(batch)
            quiet_since = time.monotonic()
        if expected is None and pipe.poll():
            expected, timeout_s = pipe.recv()
            deadline = time.monotonic() + timeout_s
        if expected is not None and seen >= expected and time.monotonic() - quiet_since > QUIET_S:
            break
    gc.enable()
    return batches


def _columns(batches: list[tuple[int, list[Any]]], schema: Any, fields: Sequence[str]) -> Table:
    received, logged, places, rows = [], [], [], []
    for at, messages in batches:
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            record: Mapping[str, Any] = schemaless_reader(BytesIO(message.value()[HEADER_BYTES:]), schema, None)
            received.append(at)
            logged.append(message.timestamp()[1])
            places.append((message.partition(), message.offset()))
            rows.append([record[field] for field in fields])
    columns: Table = {field: [row[index] for row in rows] for index, field in enumerate(fields)}
    columns["received_ns"] = np.array(received, dtype=np.int64)
    columns["logged_ms"] = np.array(logged, dtype=np.int64)
    columns["place"] = places
    return columns
