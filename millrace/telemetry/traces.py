"""Spans of OpenTelemetry traces, exported by OTLP over HTTP. Off, and then without cost, unless there is an endpoint.

    traces = Traces(Collector("http://localhost:4318"), "serving", "serving@host")
    traces.add(span)
    traces.close()

Rules:

- It never waits and never fails. What is to be exported is put aside, and a thread of its own makes the spans, encodes
  and sends them. When more than ``WAITING_MAX`` wait, the newer ones are dropped; what the collector does not take
  after ``TRIES`` is lost. Both are counted, and the first loss of a row is logged.
- The ids come with the spans: those of ``trace.py``. A span that is exported twice is the same span.
- Nothing is read from the environment, and nothing is instrumented: OpenTelemetry only gives the form.
- The library is imported when something is exported for the first time, in the thread.
"""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, Protocol

from millrace.telemetry.log import get_logger

log = get_logger(__name__)
WAITING_MAX = 20_000  # spans; some 20 MB
BATCH = 512  # spans of one request, as OpenTelemetry's own processor has it
GATHER_S = 1.0  # after the first span, so that a request has more than one
TIMEOUT_S = 5.0  # of a request, and of closing
TRIES = 2
PAUSE_S = 1.0  # between two tries
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]


@dataclass(frozen=True, slots=True)
class Span:
    """One step of a trace.

    ``context`` is its own traceparent, ``parent`` that of the step before; None where the trace begins. Times are in
    milliseconds since 1970. ``error`` says what went wrong.
    """

    name: str
    context: bytes
    parent: bytes | None
    start_ms: float
    end_ms: float
    attributes: Attributes = field(default_factory=dict)
    kind: Literal["internal", "consumer"] = "internal"
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Collector:
    """Where spans go. ``endpoint`` is the base address, such as ``http://localhost:4318``; None: nowhere."""

    endpoint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they may hold a secret
    timeout_s: float = TIMEOUT_S
    pause_s: float = PAUSE_S

    @property
    def url(self) -> str | None:
        """The whole address.

        >>> Collector("http://localhost:4318/").url
        'http://localhost:4318/v1/traces'
        """
        if self.endpoint is None:
            return None
        base = self.endpoint.rstrip("/")
        return base if base.endswith("/v1/traces") else f"{base}/v1/traces"


class Exporter(Protocol):
    """Sends spans."""

    def send(self, spans: Sequence[Span]) -> None:
        """Return when the collector has taken them, else raise."""
        ...

    def close(self) -> None:
        """Nothing more is sent."""
        ...


Make = Callable[[], Sequence[Span]]


def _uncounted(outcome: str, count: int) -> None:
    """Nobody counts."""


class Traces:
    """Exports the spans of one process.

    Args:
        collector: where to; without an endpoint everything is off, and no thread is started.
        service: name of the service.
        process: names the process.
        counted: called with ``exported``, ``lost`` or ``dropped``, and how many, from any thread.
    """

    def __init__(
        self, collector: Collector, service: str = "", process: str = "",
        counted: Callable[[str, int], None] = _uncounted,
    ) -> None:  # fmt: skip
        self._collector = collector
        self._resource = {"service.name": f"millrace-{service}", "service.instance.id": process}
        self._counted = counted
        self._news = threading.Condition()
        self._waiting: deque[tuple[int, Make]] = deque()
        self._count = 0  # of waiting spans
        self._in_hand = 0
        self._closed = threading.Event()
        self._failing = False
        self._thread: threading.Thread | None = None

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        return self._collector.endpoint is not None

    def add(self, *spans: Span) -> None:
        """Export these."""
        self.put(len(spans), lambda: spans)

    def put(self, count: int, make: Make) -> None:
        """Export what ``make`` will give, in the thread: so many spans. Does nothing where nothing is exported."""
        if not self.on or not count:
            return
        with self._news:
            full = self._count + count > WAITING_MAX or self._closed.is_set()
            if not full:
                self._waiting.append((count, make))
                self._count += count
                self._news.notify()
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._export_all, name="traces", daemon=True)
                self._thread.start()
        if full:
            self._counted("dropped", count)

    def close(self, timeout_s: float = TIMEOUT_S) -> None:
        """Export what waits, for at most so long; what is not exported then is lost, and counted."""
        with self._news:
            self._closed.set()
            self._news.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        with self._news:
            left, self._waiting, self._count = self._count + self._in_hand, deque(), 0
            self._in_hand = 0
        if left:
            self._lose(left, "they were still waiting when the service ended")

    def _export_all(self) -> None:
        """The thread: until it is closed and nothing waits."""
        exporter: Exporter | None = None
        while made := self._next():
            fault = None
            try:
                exporter = exporter or _exporter(self._collector, self._resource)
                spans = [span for make in made for span in make()]
                for at in range(0, len(spans), BATCH):
                    self._send(exporter, spans[at : at + BATCH])
            except Exception as error:  # noqa: BLE001  # whatever a library or a server does, the service goes on
                fault = f"{type(error).__name__}: {error}"
            with self._news:
                left, self._in_hand = self._in_hand, 0
            if fault is not None and left:
                self._lose(left, fault)
        if exporter is not None:
            exporter.close()

    def _next(self) -> Sequence[Make]:
        """Everything that waits, once something does; nothing at the end."""
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closed.is_set())
        self._closed.wait(GATHER_S)
        with self._news:
            made = [make for _, make in self._waiting]
            self._in_hand, self._count = self._count, 0
            self._waiting.clear()
        return made

    def _send(self, exporter: Exporter, spans: Sequence[Span]) -> None:
        """Send, and if that fails once more, after a pause that closing ends."""
        for left in reversed(range(TRIES)):
            try:
                exporter.send(spans)
            except Exception:  # the network raises many; the last try raises it to the caller, which counts it
                if not left:
                    raise
                self._closed.wait(self._collector.pause_s)
            else:
                break
        with self._news:
            taken = min(len(spans), self._in_hand)  # at the end close() has counted the rest as lost
            self._in_hand -= taken
        self._failing = False
        if taken:
            self._counted("exported", taken)

    def _lose(self, count: int, why: str) -> None:
        if not self._failing:
            log.warning("spans are lost, and so may those be that follow", count=count, reason=why)
        self._failing = True
        self._counted("lost", count)


def _exporter(collector: Collector, resource: Mapping[str, str]) -> Exporter:
    from millrace.telemetry.otlp import OtlpExporter  # noqa: PLC0415  # half a second, and only where it is on

    assert collector.url is not None, "it is off"
    return OtlpExporter(collector.url, MappingProxyType(dict(collector.headers)), resource, collector.timeout_s)
