"""From event to prediction as one trace: the spans of ingest and serving for sampled events. Pure.

The header of an event, of its sample and of its prediction carries the context (``trace.py``); each span has the id
that its output's header names, and the one of its input's header as its parent.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from millrace.telemetry import trace
from millrace.telemetry.traces import Attributes, Span

EXAMPLES = 5  # of a micro-batch, where no spans are exported and a trace is only an example beside a metric


class Place(Protocol):
    """A record that was read."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def offset(self) -> int:
        """Its offset."""
        ...

    @property
    def timestamp_ms(self) -> int:
        """Its log time."""
        ...


class Sampled(NamedTuple):
    """A sampled event in a micro-batch.

    ``parent`` is the context that its record came with, None if the trace begins here; ``context`` the one that goes
    on. ``row`` is its place in the micro-batch, ``start_ms`` when it was received.
    """

    record: Place
    parent: bytes | None
    context: bytes
    trace_id: str
    row: int
    start_ms: float


Headers = Sequence[tuple[str, bytes]]


class Traced(Place, Protocol):
    """The same, with what it came with."""

    def header(self, name: str) -> bytes | None:
        """The header of that name."""
        ...


def sampled_of(
    rows: Sequence[int], records: Sequence[Traced], headers: Sequence[Headers],
    start_ms: float | Callable[[int], float], *, only_examples: bool,
) -> list[Sampled]:  # fmt: skip
    """The sampled events among these rows of a micro-batch.

    Args:
        rows: those that may be.
        records: of all rows, as they were read.
        headers: of all rows, as they go on.
        start_ms: when they were received, or when each row was.
        only_examples: a few are enough.
    """
    found: list[Sampled] = []
    for row in rows:
        context = next((value for name, value in headers[row] if name == trace.HEADER), None)
        trace_id = trace.sampled_id(context)
        if context is None or trace_id is None:
            continue
        came_with = records[row].header(trace.HEADER)
        parent = None if trace.sampled_id(came_with) is None else came_with
        began_ms = start_ms(row) if callable(start_ms) else start_ms
        found.append(Sampled(records[row], parent, context, trace_id, row, began_ms))
        if only_examples and len(found) == EXAMPLES:
            break
    return found


def ingested(sampled: Sequence[Sampled], stream: str, rows: int, end_ms: int) -> list[Span]:
    """From event received to sample committed, for each of them."""
    said: Attributes = {"millrace.stream": stream, "millrace.batch.rows": rows}
    return [
        Span(f"ingest {one.record.topic}", one.context, one.parent, one.start_ms, end_ms, {**_source(one), **said},
             "consumer")
        for one in sampled
    ]  # fmt: skip


class Answered(NamedTuple):
    """Who answered a sampled event, and under which id."""

    prediction_id: str
    version: int
    variant: str


def predicted(
    sampled: Sequence[Sampled], answered: Sequence[Answered], *, model: str, epoch: int, rows: int, end_ms: int
) -> list[Span]:
    """From sample received to prediction committed, for each of them."""
    said: Attributes = {"millrace.model": model, "millrace.epoch": epoch, "millrace.batch.rows": rows}
    return [
        Span(
            f"predict {model}", one.context, one.parent, one.start_ms, end_ms,
            {
                **_source(one), **said, "millrace.prediction.id": by.prediction_id, "millrace.version": by.version,
                "millrace.variant": by.variant,
            },
            "consumer",
        )
        for one, by in zip(sampled, answered, strict=True)
    ]  # fmt: skip


def _source(one: Sampled) -> dict[str, str | int]:
    """By OpenTelemetry's names for messaging, and how long the record had been in the log."""
    record = one.record
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "millrace.waited_ms": max(0, round(one.start_ms - record.timestamp_ms)),
    }
