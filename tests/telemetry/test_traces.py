"""Traces are exported by OTLP, in the background, and nothing waits for it or fails of it."""

import time
from collections.abc import Iterator

import pytest
import structlog

from millrace.telemetry import traces as subject
from millrace.telemetry.trace import child, ids, root
from millrace.telemetry.traces import Collector, Span, Traces
from tests.telemetry.collector import PATIENCE_S, CollectorServer, collecting


@pytest.fixture
def server() -> Iterator[CollectorServer]:
    """A real HTTP server on a free port."""
    with collecting() as made:
        yield made


class Counted(dict[str, int]):
    """What was counted, by outcome."""

    def __call__(self, outcome: str, count: int) -> None:
        """Add."""
        self[outcome] = self.get(outcome, 0) + count


def span(name: str, parent: bytes | None = None, **more: object) -> Span:
    """A span that lasts from the first to the third millisecond."""
    context = root(name) if parent is None else child(parent, name)
    return Span(name, context, parent, 1.0, 3.5, **more)


def test_a_span_arrives_as_it_was_made(server: CollectorServer) -> None:
    """Ids are those of the contexts, the parent's too; times, attributes, error and service are there."""
    first = span("first", attributes={"text": "a", "whole": 2, "real": 0.5, "yes": True, "list": ["x", "y"]})
    second = span("second", first.context, error="too bad", kind="consumer")
    counted = Counted()
    traces = server.traces("serving", counted=counted)

    traces.add(first, second)
    traces.close(PATIENCE_S)
    one, two = server.spans
    trace_id, span_id = ids(first.context)

    assert (f"{trace_id:032x}", f"{span_id:016x}", "") == (one.trace, one.span, one.parent)
    assert (one.trace, f"{ids(second.context)[1]:016x}", one.span) == (two.trace, two.span, two.parent)
    assert (1_000_000, 3_500_000, "millrace-serving") == (one.start_ns, one.end_ns, one.service)
    assert {"text": "a", "whole": 2, "real": 0.5, "yes": True, "list": ["x", "y"]} == one.attributes
    assert (None, "too bad") == (one.error, two.error)
    assert {"exported": 2} == counted


def test_nothing_is_started_without_an_endpoint() -> None:
    """Off is off: no thread, nothing made, nothing counted."""
    counted = Counted()
    traces = Traces(Collector(), "serving", "p", counted)

    traces.put(1, lambda: pytest.fail("it was made"))
    traces.close()

    assert (False, None, {}) == (traces.on, traces._thread, counted)


def test_spans_are_made_in_the_thread_and_sent_together(server: CollectorServer) -> None:
    """The path only puts them aside; a request has many, and none has more than a batch."""
    traces = server.traces()
    for number in range(3):
        traces.put(500, lambda number=number: [span(f"{number}/{row}") for row in range(500)])
    traces.close(PATIENCE_S)

    assert 1500 == len({seen.span for seen in server.spans})
    assert [512, 512, 476] == [count for _, _, count in server.requests]


def test_headers_are_sent_and_the_environment_is_not_asked(
    server: CollectorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the library's variables nor a proxy changes where spans go, or what they are."""
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "another")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    traces = Traces(Collector(server.endpoint, {"Authorization": "Bearer secret"}), "ingest")

    traces.add(span("a"))
    traces.close(PATIENCE_S)

    assert [("/v1/traces", "Bearer secret", 1)] == server.requests
    assert ["millrace-ingest"] == [seen.service for seen in server.spans]


def test_a_collector_that_hangs_blocks_nothing(server: CollectorServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adding takes no time while it hangs, what is too much is dropped, and closing gives up when told."""
    monkeypatch.setattr(subject, "WAITING_MAX", 10)
    monkeypatch.setattr(subject, "GATHER_S", 0.0)
    counted = Counted()
    traces = server.traces(counted=counted)
    server.go_on.clear()
    traces.add(span("first"))
    assert server.asked.wait(PATIENCE_S)

    began_s = time.monotonic()
    for number in range(1000):
        traces.add(span(str(number)))
    took_s = time.monotonic() - began_s
    traces.close(timeout_s=0.1)

    assert took_s < 1
    assert {"dropped": 990, "lost": 11} == counted


def test_a_dead_collector_is_said_once_and_every_loss_counted() -> None:
    """Nobody listens there: the service goes on, and the log is not filled."""
    with collecting() as gone:
        endpoint = gone.endpoint
    counted = Counted()
    traces = Traces(Collector(endpoint, pause_s=0.01), counted=counted)

    with structlog.testing.capture_logs() as lines:
        traces.add(span("a"))
        traces.put(2, lambda: [object()])  # not even a span
        traces.close(PATIENCE_S)

    assert {"lost": 3} == counted
    assert ["warning"] == [line["log_level"] for line in lines]


def test_what_is_refused_once_is_sent_again(server: CollectorServer) -> None:
    """A collector that restarts loses nothing, if it is quick."""
    counted = Counted()
    server.statuses = [503]
    traces = server.traces(counted=counted)

    traces.add(span("a"))
    traces.close(PATIENCE_S)

    assert {"exported": 1} == counted


def test_nothing_is_taken_after_the_end(server: CollectorServer) -> None:
    """It is dropped, and counted."""
    counted = Counted()
    traces = server.traces(counted=counted)
    traces.close()
    traces.add(span("a"))

    assert ({"dropped": 1}, []) == (counted, server.requests)
