"""What is measured of the samples of one partition: how long events took, how fresh they are, and which are traced."""

from collections.abc import Sequence

import numpy as np

from millrace.bus.context import Context
from millrace.bus.types import Headers
from millrace.telemetry.event_spans import Sampled, ingested, sampled_of
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
        traced = [row for row, header in enumerate(headers) if header]
        records = [one.origin for one in run.arrivals]
        self._sampled = sampled_of(
            traced, records, headers, lambda row: now_ms - (now_s - run.arrivals[row].received_s) * 1000,
            only_examples=not self._context.traces.on,
        )  # fmt: skip
        self.trace_id = self._sampled[0].trace_id if self._sampled else None
        stream = self._context.project.stream
        logged_ms = np.fromiter((record.timestamp_ms for record in records), np.int64, self._rows)
        events = np.flatnonzero(~run.is_label)
        places = {row: place for place, row in enumerate(events.tolist())} if self._sampled else {}
        traces = {places[one.row]: one.trace_id for one in self._sampled if one.row in places}
        waited_s = np.maximum(0, now_ms - logged_ms[events]) / 1000
        EVENT_TO_SAMPLE_SECONDS.observe(stream, waited_s, traces=traces, at_s=now_ms / 1000)
        NEWEST_EVENT_TIMESTAMP_SECONDS.labels(stream, self._number).set(self._newest_s(run, is_label=False))
        NEWEST_LABEL_TIMESTAMP_SECONDS.labels(stream, self._number).set(self._newest_s(run, is_label=True))

    def _newest_s(self, run: Run, *, is_label: bool) -> float:
        """The greatest time so far, of events or of labels."""
        newest_ms = int(run.time_ms.max(initial=0, where=run.is_label == is_label))
        self._newest_ms[is_label] = max(self._newest_ms[is_label], newest_ms)
        return self._newest_ms[is_label] / 1000

    def written(self) -> None:
        """They are committed."""
        sampled, rows, stream = self._sampled, self._rows, self._context.project.stream
        self._sampled, self.trace_id = [], None
        if sampled and self._context.traces.on:
            end_ms = self._context.clock.now_ms()
            self._context.traces.put(len(sampled), lambda: ingested(sampled, stream, rows, end_ms))
