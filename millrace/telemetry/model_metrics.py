"""From the facts about a model to its metrics, so that each service sets them in the same way.

Series of versions that are no more would stay for ever: of each model the newest ``VERSIONS_KEPT`` are kept.
"""

from collections.abc import Iterable
from typing import Any

from millrace.contracts.events import DriftDetected, ModelMetricsMeasured, RetrainModel
from millrace.telemetry.metrics import (
    DRIFTS,
    MODEL_ACCURACY,
    MODEL_QUALITY,
    MODEL_QUALITY_BOUND,
    PREDICTION_SCORE,
    PREDICTION_VALUE,
    PREDICTIONS,
    RETRAIN_REQUESTS,
)

VERSIONS_KEPT = 5
PER_VERSION = (MODEL_ACCURACY, MODEL_QUALITY, MODEL_QUALITY_BOUND, PREDICTIONS, PREDICTION_SCORE, PREDICTION_VALUE)


def measured(event: ModelMetricsMeasured) -> None:
    """What the monitor measured of a version."""
    version = str(event.version)
    place = (event.model, version, event.variant, event.slice, event.source)
    is_new = _is_new(event.model, version)
    for name, value in event.metrics.items():
        MODEL_QUALITY.labels(*place, name).set(value)
    for bound, values in (("low", event.low), ("high", event.high)):
        for name, value in values.items():
            MODEL_QUALITY_BOUND.labels(*place, name, bound).set(value)
    if "accuracy" in event.metrics and not event.slice and not event.variant and event.source == "labels":
        MODEL_ACCURACY.labels(event.model, version).set(event.metrics["accuracy"])
    if is_new:
        forget_old_versions(event.model)


def drifted(event: DriftDetected) -> None:
    """What a detector found."""
    DRIFTS.labels(event.model, event.severity, event.subject, event.detector).inc()


def asked(event: RetrainModel) -> None:
    """The monitor asks for a retrain."""
    RETRAIN_REQUESTS.labels(event.model).inc()


def forget_old_versions(model: str) -> None:
    """Drop the series of all but the newest versions of the model."""
    for metric in PER_VERSION:
        keys = [key for key in _keys(metric) if key[0] == model]
        kept = sorted({int(key[1]) for key in keys})[-VERSIONS_KEPT:]
        for key in keys:
            if int(key[1]) not in kept:
                metric.remove(*key)


def _is_new(model: str, version: str) -> bool:
    return not any(key[:2] == (model, version) for key in _keys(MODEL_QUALITY))


def _keys(metric: Any) -> Iterable[tuple[str, ...]]:
    """The label values of a metric's series; model and version are the first two."""
    if hasattr(metric, "keys"):
        return list(metric.keys())
    return list(metric._metrics)  # noqa: SLF001  # the library has no other way to list them
