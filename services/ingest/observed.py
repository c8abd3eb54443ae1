"""What is measured of the samples of one partition: how long events took, how fresh they are, and which are traced."""

from collections.abc import Sequence

import numpy as np

from millrace.bus.context import Context
from millrace.bus.types import Headers
from millrace.telemetry import trace
from millrace.telemetry.event_spans import Sampled, ingested
from millrace.telemetry.metrics import (
    EVENT_TO_SAMPLE_SECONDS,
    NEWEST_EVENT_TIMESTAMP_SECONDS,
    NEWEST_LABEL_TIMESTAMP_SECONDS,
)
from services.ingest.samples import Run


class Observed:
    """One partition's samples. ``trace_id`` is that of a sampled event in the run in hand."""

    def __init__(self, context: Context, number: int) -> None:
        self._context = context
        self._number = str(number)
        self._sampled: list[Sampled] = []
        self._rows = 0
        self._newest_ms = {False: 0, True: 0}  # event time of events, label time of labels
        self.trace_id: str | None = None

    def run(self, run: Run, headers: Sequence[Headers], now_s: float, now_ms: int) -> None:
        """These samples are about to be written, with these headers."""
        self._rows = len(run.arrivals)
        self._sampled = [
            one for row, header in enumerate(headers) if header and (one := _sampled(run, row, header, now_s, now_ms))
        ]
        self.trace_id = self._sampled[0].trace_id if self._sampled else None
        stream = self._context.project.stream
        logged_ms = np.fromiter((one.origin.timestamp_ms for one in run.arrivals), np.int64, self._rows)
        events = np.flatnonzero(~run.is_label)
        places = {row: place for place, row in enumerate(events.tolist())} if self._sampled else {}
        traces = {places[one.row]: one.trace_id for one in self._sampled if one.row in places}
        waited_s = np.maximum(0, now_ms - logged_ms[events]) / 1000
        EVENT_TO_SAMPLE_SECONDS.observe(stream, waited_s, traces=traces, at_s=now_ms / 1000)
        for is_label, gauge in ((False, NEWEST_EVENT_TIMESTAMP_SECONDS), (True, NEWEST_LABEL_TIMESTAMP_SECONDS)):
            times_ms = run.time_ms[run.is_label == is_label]
            if len(times_ms):
                self._newest_ms[is_label] = max(self._newest_ms[is_label], int(times_ms.max()))
                gauge.labels(stream, self._number).set(self._newest_ms[is_label] / 1000)

    def written(self) -> None:
        """They are committed."""
        sampled, rows, stream = self._sampled, self._rows, self._context.project.stream
        self._sampled, self.trace_id = [], None
        if sampled and self._context.traces.on:
            end_ms = self._context.clock.now_ms()
            self._context.traces.put(len(sampled), lambda: ingested(sampled, stream, rows, end_ms))


def _sampled(run: Run, row: int, header: Headers, now_s: float, now_ms: int) -> Sampled | None:
    """The sample in this row, if the spans of its trace are wanted."""
    ((_, context),) = header
    trace_id = trace.sampled_id(context)
    if trace_id is None:
        return None
    arrival = run.arrivals[row]
    came_with = arrival.origin.header(trace.HEADER) if arrival.origin.headers else None
    parent = came_with if trace.sampled_id(came_with) is not None else None
    received_ms = now_ms - (now_s - arrival.received_s) * 1000
    return Sampled(arrival.origin, parent, context, trace_id, row, received_ms)
