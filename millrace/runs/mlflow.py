"""A run in MLflow's words: experiment, tags, parameters, metrics with their history, files. Pure.

Times are the events', so the same run is said in the same words each time, and exporting it again changes nothing. Each
point of the history gets its own millisecond before the run's end, because MLflow orders points by time as well.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millrace.runs.fold import Run
from millrace.runs.record import numbers, table

ID_TAG = "millrace.run_id"
"""By which an exported run is found again."""
STATUS = {"STARTED": "RUNNING", "SUCCEEDED": "FINISHED", "FAILED": "FAILED"}
VALUE_MAX = 4000  # characters of a tag or a parameter; MLflow takes 6,000 and more
FORBIDDEN = re.compile(r"[^\w\-. /]")
"""What MLflow refuses in a name."""
TAGS = (
    "model", "trigger", "caused_by", "because", "source", "family", "window", "backend", "seed", "feature_set",
    "code_hash", "config_hash", "lock_hash", "rows_sha256", "snapshot_id", "table_version", "train_rows",
    "holdout_rows", "champion_version", "artifact_sha256", "golden_sha256", "record_sha256", "error",
)  # fmt: skip


class Metric(NamedTuple):
    """One measured value."""

    key: str
    value: float
    timestamp: int
    step: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What MLflow is told. ``end_ms`` is None while the run is under way."""

    experiment: str
    name: str
    status: str
    start_ms: int
    end_ms: int | None
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Sequence[Metric]
    files: Mapping[str, bytes]


def exported(run: Run, files: Mapping[str, bytes]) -> Exported:
    """The run with the files of its record."""
    last = run.last
    params = {
        "family": last.family,
        "window": last.window,
        "seed": str(last.seed),
        **{name: _unquoted(value) for name, value in last.params.items()},
    }
    return Exported(
        experiment=last.model,
        name=run.run_id,
        status=STATUS[last.status],
        start_ms=run.began_ms,
        end_ms=last.changed_at_ms if run.ended else None,
        tags=_tags(run),
        params={named(name): value[:VALUE_MAX] for name, value in params.items() if value},
        metrics=tuple(dict.fromkeys(one for one in _metrics(run, files) if math.isfinite(one.value))),
        files=files,
    )


def named(name: str) -> str:
    """A name as MLflow takes it.

    >>> named("slice[x<3]")
    'slice_x_3_'
    """
    return FORBIDDEN.sub("_", name)[:250]


def _unquoted(text: str) -> str:
    """A parameter is JSON in the event; a text goes without its quotes.

    >>> _unquoted('"gini"'), _unquoted("0.5")
    ('gini', '0.5')
    """
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str) else text


def _tags(run: Run) -> dict[str, str]:
    last = run.last
    said: dict[str, object] = {name: getattr(last, name) for name in TAGS}
    said |= {
        "run_id": run.run_id,
        "version": run.version,
        "decision": run.decision,
        "ranges": " ".join(
            f"{part.topic}/{part.partition}/{part.from_offset}-{part.until_offset}" for part in last.ranges
        ),
        "checks_failed": ", ".join(dict.fromkeys(check.name for check in last.checks if not check.passed)),
    }
    tags = {f"millrace.{name}": str(value)[:VALUE_MAX] for name, value in said.items() if value not in (None, "")}
    why = "; ".join(filter(None, [last.because, *run.reasons, last.error or ""]))
    return {
        **tags,
        "mlflow.source.name": "millrace",
        "mlflow.source.type": "JOB",
        "mlflow.note.content": why[:VALUE_MAX],
    }


def _metrics(run: Run, files: Mapping[str, bytes]) -> Iterator[Metric]:
    """What was told while it worked, the history of its record, and how it ended."""
    last, end_ms = run.last, run.last.changed_at_ms
    for place, told in enumerate(run.progress):
        for name, value in told.progress.values.items():
            yield Metric(named(f"progress/{told.progress.stage}/{name}"), value, told.at_ms, place)
    steps = table(files, "history.csv")
    for column in ("train_loss", "validation_loss"):
        points = numbers(steps, column)
        for place, (step, value) in enumerate(points):
            yield Metric(column, value, end_ms - len(points) + place, step)
    for prefix, values in (
        ("", last.metrics),
        ("champion_", last.champion_metrics),
        ("baseline_", last.baselines),
        ("importance/", {row["feature"]: float(row["share"]) for row in table(files, "importances.csv")}),
    ):
        for name, value in values.items():
            yield Metric(named(prefix + name), value, end_ms, 0)
    for check in last.checks:
        yield Metric(named(f"check/{check.name}"), check.value, end_ms, 0)
    if run.ended:
        yield Metric("duration_s", last.duration_s, end_ms, 0)
