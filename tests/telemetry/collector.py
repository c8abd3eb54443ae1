"""An OTLP/HTTP collector for tests: takes spans, decodes them by OpenTelemetry's own schema, and keeps them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from millrace.telemetry.traces import Collector, Traces

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Seen:
    """A span as the collector got it; ids in hexadecimal, ``parent`` empty where there is none."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    error: str | None


class CollectorServer(ThreadingHTTPServer):
    """Keeps what it is sent, once ``go_on`` is set; answers with the next of ``statuses``, with 200 after them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[Seen] = []
        self.requests: list[tuple[str, str | None, int]] = []
        self.statuses: list[int] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.asked = threading.Event()

    @property
    def endpoint(self) -> str:
        """The base address."""
        return f"http://127.0.0.1:{self.server_port}"

    def traces(self, service: str = "test", **more: Any) -> Traces:
        """Traces that come here."""
        return Traces(Collector(self.endpoint, pause_s=0.01), service, f"{service}@test", **more)

    def names(self) -> list[str]:
        """The names of the spans, sorted."""
        return sorted(span.name for span in self.spans)


class Handler(BaseHTTPRequestHandler):
    """Takes requests."""

    def do_POST(self) -> None:  # the library's name
        """Decode and keep."""
        server: CollectorServer = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server.asked.set()
        server.go_on.wait(PATIENCE_S)
        found = list(decoded(ExportTraceServiceRequest.FromString(body)))
        server.requests.append((self.path, self.headers["Authorization"], len(found)))
        status = server.statuses.pop(0) if server.statuses else 200
        if status == 200:
            server.spans += found
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def decoded(request: ExportTraceServiceRequest) -> Iterator[Seen]:
    """The spans of a request."""
    for of_resource in request.resource_spans:
        service = _values(of_resource.resource.attributes)["service.name"]
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield Seen(
                    service, span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                    span.start_time_unix_nano, span.end_time_unix_nano, _values(span.attributes),
                    span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else None,
                )  # fmt: skip


def _values(attributes: Any) -> dict[str, Any]:
    return {one.key: _value(one.value) for one in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(part) for part in value.array_value.values]
    return getattr(value, kind)


@contextmanager
def collecting() -> Iterator[CollectorServer]:
    """A collector on a free port."""
    with CollectorServer() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.go_on.set()
            made.shutdown()
            thread.join()
