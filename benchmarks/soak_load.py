"""The load of a soak: events at a steady rate, a few of them bad, and the truth about the good ones seconds later."""

import threading
import time
from collections.abc import Iterator
from io import BytesIO
from random import Random
from typing import Any

from confluent_kafka import KafkaError, Producer
from fastavro import schemaless_writer

from benchmarks.latency_clients import event_id
from benchmarks.latency_stage import ENTITIES, FIELDS, Stage
from millrace.contracts import topics
from millrace.contracts.schemas import Schema, newest

TICK_S = 0.005
BAD_EVERY = 1_000  # one of its fields is out of the range that the project expects
OUT_OF_RANGE = 1e6
PREFIX = "soak"
Pair = tuple[bytes, bytes]


class Records:
    """Makes event and label of each number, the same ones for the same number."""

    def __init__(self, stage: Stage) -> None:
        self._event = Schema.of(stage.project.event_schema).parsed
        self._label = newest("label-observed").parsed
        self._event_header = b"\0" + stage.event_schema_id.to_bytes(4, "big")
        self._label_header = b"\0" + stage.label_schema_id.to_bytes(4, "big")

    def event(self, number: int, at_ms: int) -> Pair:
        """The event as (key, value)."""
        draw = Random(number)
        values = {f"x{field}": draw.gauss(0, 1) for field in range(FIELDS)}
        if is_bad(number):
            values["x0"] = OUT_OF_RANGE
        record = {"id": event_id(PREFIX, number), "entity": _entity(number), "at": at_ms, **values}
        return _entity(number).encode(), _encoded(self._event_header, self._event, record)

    def label(self, number: int, at_ms: int) -> Pair:
        """Its truth, a rule with some noise, as (key, value)."""
        draw = Random(number)
        truth = draw.gauss(0, 1) > 0 if number % 10 else number % 20 == 0
        record = {"event_id": event_id(PREFIX, number), "label": float(truth), "label_time_ms": at_ms}
        return _entity(number).encode(), _encoded(self._label_header, self._label, record)


def is_bad(number: int) -> bool:
    """Whether the event of that number breaks its contract; such a one has no label.

    >>> [number for number in range(3000) if is_bad(number)]
    [999, 1999, 2999]
    """
    return number % BAD_EVERY == BAD_EVERY - 1


def _entity(number: int) -> str:
    return f"entity-{number * 7919 % ENTITIES:04d}"  # 7919 is coprime to ENTITIES: all in turn, neighbours apart


def _encoded(header: bytes, schema: Any, record: dict[str, Any]) -> bytes:
    out = BytesIO()
    out.write(header)
    schemaless_writer(out, schema, record)
    return out.getvalue()


class Load:
    """Sends until told to finish: event ``n`` at ``n / rate`` seconds, and its label ``delay_s`` later.

    ``events`` and ``labels`` are how many of each had their turn, ``worst_late_s`` how late an event was at most.
    """

    def __init__(self, stage: Stage, rate: float, delay_s: float) -> None:
        self._stage = stage
        self._rate = rate
        self._delay_s = delay_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-load", daemon=True)
        self.events = 0
        self.labels = 0
        self.worst_late_s = 0.0
        self.error: BaseException | None = None

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Send no more events; return when all labels are sent. Raises what went wrong."""
        self._ended.set()
        self._thread.join()
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            self._send()
        except Exception as error:  # noqa: BLE001 - kept, and raised by finish()
            self.error = error

    def _send(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self._stage.bootstrap_servers,
                "partitioner": "murmur2_random",
                "linger.ms": 2,
                "enable.idempotence": True,  # a retry must not double an event
            }
        )
        records, failed = Records(self._stage), list[KafkaError]()

        def delivered(error: KafkaError | None, _message: Any) -> None:
            if error is not None:
                failed.append(error)

        events, labels = self._stage.topic(topics.EVENTS), self._stage.topic(topics.LABELS)
        start_s, start_ms = time.monotonic(), time.time_ns() // 1_000_000
        while not (self._ended.is_set() and self.labels == self.events):
            now_s = time.monotonic() - start_s
            for number in self._due(now_s):
                key, value = records.event(number, start_ms + round(number * 1000 / self._rate))
                producer.produce(events, value, key, on_delivery=delivered)
            for number in self._due_labels(now_s):
                if not is_bad(number):
                    at_ms = start_ms + round((number / self._rate + self._delay_s) * 1000)
                    key, value = records.label(number, at_ms)
                    producer.produce(labels, value, key, on_delivery=delivered)
            producer.poll(0)
            time.sleep(TICK_S)
        left = producer.flush(60)
        if left or failed:
            raise RuntimeError(f"{left} records were not sent, {len(failed)} failed: {failed[:1]}")

    def _due(self, now_s: float) -> Iterator[int]:
        """Numbers of the events that are due."""
        if self._ended.is_set():
            return
        self.worst_late_s = max(self.worst_late_s, now_s - self.events / self._rate)
        while self.events <= now_s * self._rate:
            yield self.events
            self.events += 1

    def _due_labels(self, now_s: float) -> Iterator[int]:
        while self.labels < self.events and self.labels <= (now_s - self._delay_s) * self._rate:
            yield self.labels
            self.labels += 1
