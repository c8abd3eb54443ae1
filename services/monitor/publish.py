"""What the monitor writes: each event's topic, and what is counted about it."""

from collections.abc import Iterable, Mapping

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
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DRIFTS, MODEL_ACCURACY, RECORDS_OUT, RETRAIN_REQUESTS

log = get_logger(__name__)

TOPICS: Mapping[type[Event], TopicRow] = {
    ModelMetricsMeasured: topics.MODEL_METRICS,
    DriftDetected: topics.DRIFT_EVENTS,
    RetrainModel: topics.RETRAIN_REQUESTS,
    RolloutMeasured: topics.ROLLOUT_EVIDENCE,
    AlertRaised: topics.ALERTS,
}
WRITES = tuple(TOPICS.values())


def out_records(context: Context, events: Iterable[Event]) -> list[OutRecord]:
    """The events as records, keyed by the model."""
    key = context.project.model.encode()
    named = ((topic_name(TOPICS[type(event)], context.project), event) for event in events)
    return [OutRecord(topic, key, context.codec.encode(topic, event)) for topic, event in named]


def count(events: Iterable[Event]) -> None:
    """Bring metrics up to date, and log what an operator would look for, once the events are written."""
    for event in events:
        RECORDS_OUT.labels("monitor", TOPICS[type(event)].suffix).inc()
        match event:
            case ModelMetricsMeasured(metrics=metrics) if "accuracy" in metrics:
                MODEL_ACCURACY.labels(event.model, str(event.version)).set(metrics["accuracy"])
            case DriftDetected():
                DRIFTS.labels(event.model, event.severity).inc()
                log.info("drift", drift=event.drift_id, severity=event.severity, before=event.before, after=event.after)
            case RetrainModel():
                RETRAIN_REQUESTS.labels(event.model).inc()
                log.info("retrain asked for", request=event.request_id, why=event.message)
            case _:
                pass
