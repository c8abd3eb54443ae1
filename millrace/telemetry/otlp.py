"""Spans in OpenTelemetry's form, sent by OTLP over HTTP (protobuf). Used by ``traces.py`` alone, in its thread.

The SDK makes ids itself, and its exporter reads the environment; here the ids are given, so spans are put together as
the SDK's ``ReadableSpan``, encoded by its encoder, and posted by a session that knows no environment either.

References:
    OpenTelemetry Protocol Specification 1.x, "OTLP/HTTP".
"""

from collections.abc import Mapping, Sequence

import requests
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from millrace.telemetry.trace import ids
from millrace.telemetry.traces import Span

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
KINDS = {"internal": SpanKind.INTERNAL, "consumer": SpanKind.CONSUMER}
NS_PER_MS = 1_000_000
SCOPE = InstrumentationScope("millrace")


class OtlpExporter:
    """Posts spans to one address.

    Args:
        url: the whole address, with ``/v1/traces``.
        headers: sent with each request, such as an authorization.
        resource: what is said of the process.
        timeout_s: after which a request is given up.
    """

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, str], timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._resource = Resource(dict(resource))
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies and no .netrc: the address is the address
        self._session.headers.update({**headers, "Content-Type": "application/x-protobuf"})

    def send(self, spans: Sequence[Span]) -> None:
        """Return when the collector has taken them. Raises what requests raises, an answer other than 2xx included."""
        body = encode_spans([readable(span, self._resource) for span in spans]).SerializeToString()
        answer = self._session.post(self._url, data=body, timeout=self._timeout_s)
        answer.raise_for_status()

    def close(self) -> None:
        """Close the connection."""
        self._session.close()


def readable(span: Span, resource: Resource) -> ReadableSpan:
    """The span in the SDK's form, with our ids."""
    trace_id, span_id = ids(span.context)
    parent = None
    if span.parent is not None:
        parent = SpanContext(*ids(span.parent), is_remote=True, trace_flags=SAMPLED)
    return ReadableSpan(
        name=span.name,
        context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=SAMPLED),
        parent=parent,
        resource=resource,
        attributes=dict(span.attributes),
        kind=KINDS[span.kind],
        status=Status() if span.error is None else Status(StatusCode.ERROR, span.error),
        start_time=round(span.start_ms * NS_PER_MS),
        end_time=round(max(span.start_ms, span.end_ms) * NS_PER_MS),
        instrumentation_scope=SCOPE,
    )
