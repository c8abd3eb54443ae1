"""What the monitor writes: each event's topic, and what is counted about it."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from millrace.bus.context import Context
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.events import (
    AlertRaised,
    DriftDetected,
    Event,
    ModelMetricsMeasured,
    RetrainModel,
    RolloutMeasured,
)
from millrace.contracts.topics import TopicRow, topic_name
from millrace.telemetry import counting, loop_spans, model_metrics
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import (
    LABELLED_EVENT_TIMESTAMP_SECONDS,
    LABELS,
    MISSING_LABELS,
    MONITOR_STATE_BYTES,
    MONITOR_STATES_SAVED,
    WAITING_PREDICTIONS,
)
from services.monitor.evidence import Uncompared
from services.monitor.join import Counts
from services.monitor.measure import Measured
from services.monitor.partition import Partition, differences

log = get_logger(__name__)
OUTCOMES: Mapping[str, str] = {
    "joined": "joined",
    "corrected": "corrected",
    "duplicate": "duplicate",
    "unknown": "late",
    "unusable": "unusable",
    "forgotten_unlabelled": "forgotten",
}
"""What the join counts, and the word for it in the metric."""

TOPICS: Mapping[type[Event], TopicRow] = {
    ModelMetricsMeasured: topics.MODEL_METRICS,
    DriftDetected: topics.DRIFT_EVENTS,
    RetrainModel: topics.RETRAIN_REQUESTS,
    RolloutMeasured: topics.ROLLOUT_EVIDENCE,
    AlertRaised: topics.ALERTS,
}
WRITES = (*TOPICS.values(), topics.MONITOR_STATE)


def out_records(context: Context, events: Iterable[Event]) -> list[OutRecord]:
    """The events as records, keyed by the model."""
    key = context.project.model.encode()
    named = ((topic_name(TOPICS[type(event)], context.project), event) for event in events)
    return [OutRecord(topic, key, context.codec.encode(topic, event)) for topic, event in named]


def count(context: Context, events: Iterable[Event]) -> None:
    """Bring metrics up to date, and log what an operator would look for, once the events are written."""
    newest: dict[Hashable, ModelMetricsMeasured] = {}  # of what is measured in many windows the last one stays
    for event in events:
        match event:
            case ModelMetricsMeasured():
                newest[event.version, event.variant, event.slice, event.source] = event
            case DriftDetected():
                model_metrics.drifted(event)
                context.traces.add(loop_spans.drift(event))
                log.info(
                    "drift", drift=event.drift_id, severity=event.severity, before=event.before, after=event.after,
                    trace_id=loop_spans.trace_id(event.drift_id),
                )  # fmt: skip
            case RetrainModel():
                model_metrics.asked(event)
                log.info("retrain asked for", request=event.request_id, why=event.message)
            case _:
                pass
    for measured in newest.values():
        model_metrics.measured(measured)


def count_written(records: Iterable[OutRecord]) -> None:
    """Count what was written, by topic."""
    values: dict[str, list[bytes | None]] = {}
    for record in records:
        values.setdefault(record.topic, []).append(record.value)
    for topic, written in values.items():
        counting.written("monitor", topic, written)


def count_saved(context: Context, partition: int, records: Iterable[OutRecord]) -> None:
    """A state was saved as these records."""
    model = context.project.model
    MONITOR_STATES_SAVED.labels(model).inc()
    MONITOR_STATE_BYTES.labels(model, str(partition)).set(sum(len(record.value or b"") for record in records))


class Told:
    """What was told of each partition's labels so far."""

    def __init__(self, context: Context) -> None:
        self._model = context.project.model
        self._counts: dict[int, Counts] = {}
        self._labelled_ms: dict[int, int] = {}

    def tell(self, partition: Partition, findings: Iterable[object]) -> None:
        """What the newest frame changed: labels by outcome, what waits, and what cannot be compared."""
        number, counts = partition.number, partition.watch.counts
        before = self._counts.get(number, Counts())
        for name, rows in differences(before, counts).items():
            if name in OUTCOMES and rows > 0:
                LABELS.labels(self._model, OUTCOMES[name]).inc(rows)
        self._counts[number] = replace(counts)
        WAITING_PREDICTIONS.labels(self._model, str(number)).set(partition.watch.waiting)
        if counts.forgotten:
            missing = counts.forgotten_unlabelled / counts.forgotten
            MISSING_LABELS.labels(self._model, str(number)).set(missing)
        for found in findings:
            self._tell_of(number, found)

    def begin(self, partition: Partition) -> None:
        """What the partition's state has counted by now was told by whoever saved it, or is of the past."""
        self._counts[partition.number] = replace(partition.watch.counts)

    def _tell_of(self, number: int, found: object) -> None:
        match found:
            case Uncompared():
                log.warning("version is not compared with its training rows", version=found.version, why=found.why)
            case Measured(source="labels"):
                newest_ms = max(found.until_time_ms, self._labelled_ms.get(number, 0))
                self._labelled_ms[number] = newest_ms
                LABELLED_EVENT_TIMESTAMP_SECONDS.labels(self._model, str(number)).set(newest_ms / 1000)
            case _:
                pass
