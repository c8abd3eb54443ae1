"""The rules for metrics, as checks that yield what is wrong: of what is declared, and of where it is set.

References:
    Prometheus, "Metric and label naming" and "Instrumentation" (prometheus.io/docs/practices).
"""

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from millrace.telemetry.catalogue import Declared

UNITS = ("seconds", "bytes", "ratio")
FOREIGN_UNITS = ("ms", "milliseconds", "us", "minutes", "hours", "days", "kb", "mb", "percent", "pct", "micros")
UNITLESS: Mapping[str, str] = {  # gauges and histograms that count things or name a state, with what the number is
    "millrace_asyncio_tasks": "tasks",
    "millrace_check_passing": "0 or 1",
    "millrace_alert_route_failing": "0 or 1",
    "millrace_training_in_progress": "0 or 1",
    "millrace_lag_records": "records",
    "millrace_stable_lag_records": "records",
    "millrace_waiting_predictions": "predictions",
    "millrace_versions_without_profile": "versions",
    "millrace_model_version": "a version's number",
    "millrace_champion_version": "a version's number",
    "millrace_model_epoch": "an epoch's number",
    "millrace_model_quality": "the unit is that of the metric that the label names",
    "millrace_model_quality_bound": "the same",
    "millrace_prediction_value": "the unit is that of the project's label",
}
LABELS = frozenset({
    "service", "topic", "direction", "partition", "kind", "check", "method", "route", "status", "stream", "reason",
    "flag", "severity", "outcome", "model", "version", "variant", "label", "slice", "source", "metric", "bound",
    "subject", "detector",
})  # fmt: skip  # each has few values; an entity, an event or a person is none of them
SETTERS = frozenset({"labels", "set", "inc", "observe", "info", "time"})


def faults(metrics: Iterable[Declared]) -> Iterator[str]:
    """What is wrong with these metrics, in words that name each."""
    metrics = list(metrics)
    for metric in metrics:
        yield from _name_faults(metric)
        yield from _unit_faults(metric)
        yield from (f"{metric.family}: label {name} is not allowed" for name in metric.labels if name not in LABELS)
        if not re.fullmatch(r"[A-Z0-9].*\.", metric.help):
            yield f"{metric.family}: help must be a sentence, not {metric.help!r}"
    for series, count in Counter(series for metric in metrics for series in metric.series).items():
        if count > 1:
            yield f"{series}: declared {count} times"


def _name_faults(metric: Declared) -> Iterator[str]:
    if not re.fullmatch(r"millrace(_[a-z]+)+", metric.family):
        yield f"{metric.family}: a name is millrace_ and lower-case words"
    if metric.kind != "counter" and metric.family.endswith("_total"):
        yield f"{metric.family}: only counters end in _total"
    if re.search(r"_by_|_per_|_(gauge|counter|histogram)$", metric.family):
        yield f"{metric.family}: labels and kinds are no part of a name"
    if not re.fullmatch(r"[A-Z_]+", metric.constant):
        yield f"{metric.constant}: a metric is a constant"


def _unit_faults(metric: Declared) -> Iterator[str]:
    words = metric.family.split("_")
    for word in words:
        if word in FOREIGN_UNITS:
            yield f"{metric.family}: {word} is no base unit"
    if any(word in UNITS for word in words[:-1]):
        yield f"{metric.family}: the unit comes last"
    if "timestamp" in words and words[-2:] != ["timestamp", "seconds"]:
        yield f"{metric.family}: a point in time ends in _timestamp_seconds"
    if metric.kind in {"gauge", "histogram"} and words[-1] not in UNITS and metric.family not in UNITLESS:
        yield f"{metric.family}: has no unit"


def unset(metrics: Iterable[Declared], folders: Iterable[Path]) -> Iterator[str]:
    """Metrics that nobody sets, and places that give them another number of labels than they have."""
    known = {metric.constant: metric for metric in metrics}
    seen = set[str]()
    for folder in folders:
        for path in folder.rglob("*.py"):
            for constant, labels in _uses(path, known):
                seen.add(constant)
                wanted = len(known[constant].labels)
                if labels is not None and labels != wanted:
                    yield f"{path.name}: {constant} is given {labels} labels, it has {wanted}"
    yield from (f"{constant} is set nowhere" for constant in known if constant not in seen)


def _uses(path: Path, known: Mapping[str, Declared]) -> Iterator[tuple[str, int | None]]:
    """Each metric that a file sets, and how many labels it is given, where that can be read."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        of, attribute = node.func.value, node.func.attr
        if not isinstance(of, ast.Name) or of.id not in known or attribute not in SETTERS:
            continue
        starred = any(isinstance(argument, ast.Starred) for argument in node.args)
        yield of.id, len(node.args) if attribute == "labels" and not starred else None
