"""What is counted on the way of the records, at a cost for each micro-batch and next to none for a record."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from millrace.telemetry.metrics import BATCH_SECONDS, RECORD_BYTES, RECORDS_IN, RECORDS_OUT

T = TypeVar("T")
SIZED = 64  # records of a micro-batch whose size is looked at


class Valued(Protocol):
    """A record."""

    @property
    def value(self) -> bytes | None:
        """What it holds."""
        ...


def taken_records(service: str, topic: str, records: Sequence[Valued]) -> None:
    """These records came from the bus."""
    RECORDS_IN.labels(service, topic).inc(len(records))
    _sizes(service, topic, "in", [record.value for record in _few(records)], len(records))


def taken(service: str, topic: str, values: Sequence[bytes | None]) -> None:
    """These values of records came from the bus."""
    RECORDS_IN.labels(service, topic).inc(len(values))
    _sizes(service, topic, "in", _few(values), len(values))


def written(service: str, topic: str, values: Sequence[bytes | None]) -> None:
    """These values of records go to the bus."""
    RECORDS_OUT.labels(service, topic).inc(len(values))
    _sizes(service, topic, "out", _few(values), len(values))


def _few(items: Sequence[T]) -> Sequence[T]:
    """At most ``SIZED`` of them, evenly spread."""
    return items[:: max(1, -(-len(items) // SIZED))]


def _sizes(service: str, topic: str, direction: str, values: Sequence[bytes | None], count: int) -> None:
    """Each of the values stands for as many of the ``count``."""
    if values:
        sizes = [0 if value is None else len(value) for value in values]
        RECORD_BYTES.observe((service, topic, direction), sizes, weight=count / len(sizes))


@dataclass(slots=True)
class Batch:
    """A micro-batch in hand; ``trace_id`` of a sampled event in it, once one was seen."""

    trace_id: str | None = None


@contextmanager
def timed_batch(service: str) -> Iterator[Batch]:
    """Measure how long a micro-batch takes, with a trace for an example if it has one."""
    batch, began_s = Batch(), time.perf_counter()
    try:
        yield batch
    finally:
        example = None if batch.trace_id is None else {"trace_id": batch.trace_id}
        BATCH_SECONDS.labels(service).observe(time.perf_counter() - began_s, example)
