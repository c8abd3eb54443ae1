"""The part of ``millrace check`` that runs the owner's code, in a process of its own.

``python -m millrace.cli.check_pipeline FOLDER ANSWER`` trains on made-up rows exactly as the trainer would and writes
what it found to the file ANSWER, as JSON. A pipeline that prints, hangs, exits or crashes harms only this process.

The rows are made as ingest makes them: random values within the expectations go through the project's own feature
definitions, so a lag is missing in the first rows here just as it will be there.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace.contracts.expectations import Range
from millrace.contracts.project import Project, load_project
from millrace.features.online import EntityFeatures
from services.trainer.child import run_task
from services.trainer.train.task import FitError, FitTask, PipelineSource, Rows

TRAIN_ROWS = 300
HOLDOUT_ROWS = 100
MISSING_SHARE = 0.05  # of a field that may be null and that no expectation requires
JUDGED = frozenset({"onnx-parity", "finite-scores"})  # the other checks of a run ask for real data


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known about the values of one field."""

    low: float
    high: float
    missing_share: float
    integral: bool


def synthetic_rows(project: Project, count: int) -> Rows:
    """Rows of features with labels, made from random events of one entity. The same for the same project."""
    rng = np.random.default_rng(project.training.seed)
    fields = _fields(project)
    entity = EntityFeatures(project.features)
    classes = len(project.label.classes)
    labels = rng.permutation(np.arange(count) % classes) if classes else rng.normal(size=count)
    rows = []
    for label in labels:
        rows.append(entity.row({name: _value(field, rng) for name, field in fields.items()}))
        entity.label(float(label))
    return Rows(np.array(rows, dtype=np.float32), labels.astype(np.float64))


def _fields(project: Project) -> dict[str, _Field]:
    """The fields that features are computed from."""
    rules = {rule.field: rule for rule in project.expectations if isinstance(rule, Range)}
    used = {spec.field for spec in project.features if hasattr(spec, "field")}
    found = {}
    for declared in project.event_schema["fields"]:
        name, text = declared["name"], json.dumps(declared["type"])
        if name not in used:
            continue
        rule = rules.get(name)
        low = -1.0 if rule is None or rule.min is None else rule.min
        high = low + 2.0 if rule is None or rule.max is None else rule.max
        optional = '"null"' in text and not (rule is not None and rule.required)
        integral = any(f'"{kind}"' in text for kind in ("int", "long", "boolean"))
        found[name] = _Field(min(low, high), high, MISSING_SHARE if optional else 0.0, integral)
    return found


def _value(field: _Field, rng: np.random.Generator) -> float | None:
    if rng.random() < field.missing_share:
        return None
    value = float(rng.uniform(field.low, field.high))
    return float(round(value)) if field.integral else value


def fit_task(project: Project, rows: Rows) -> FitTask:
    """The task that the trainer would be given for these rows."""
    file, _, function = project.training.pipeline.partition(":")
    path = project.folder / file
    return FitTask(
        model=project.model,
        feature_set=project.feature_set,
        feature_names=project.feature_names,
        label=project.label,
        gates=project.gates,
        seed=project.training.seed,
        pipeline=PipelineSource(str(path), function or "build", path.read_bytes()),
        train=Rows(rows.x[:TRAIN_ROWS], rows.y[:TRAIN_ROWS]),
        holdout=Rows(rows.x[TRAIN_ROWS:], rows.y[TRAIN_ROWS:]),
        champion=None,
        rows_min=len(rows.y),
        timeout_s=project.training.timeout_s,
    )


def try_pipeline(project: Project) -> dict[str, Any]:
    """Fit, export and compare: ``error`` says what is wrong, or is None; then ``message`` says what was seen."""
    rows = synthetic_rows(project, TRAIN_ROWS + HOLDOUT_ROWS)
    try:
        result = run_task(fit_task(project, rows))
    except FitError as error:
        return {"error": f"{error}{_about_missing(project, rows, str(error))}"}
    failed = [check for check in result.checks if check.name in JUDGED and not check.passed]
    if failed:
        return {"error": "; ".join(f"{check.name}: {check.message}" for check in failed)}
    size = len(result.artifact)
    return {"error": None, "message": f"fits {TRAIN_ROWS} made-up rows; its ONNX file ({size:,} bytes) agrees with it"}


def _about_missing(project: Project, rows: Rows, error: str) -> str:
    """Which features can be missing, if that is what the estimator complained about."""
    if "NaN" not in error:
        return ""
    missing = [name for name, column in zip(project.feature_names, rows.x.T, strict=True) if np.isnan(column).any()]
    return f"\nThese features can be missing: {', '.join(missing)}. Put a SimpleImputer first, or change the estimator"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(try_pipeline(load_project(Path(sys.argv[1])))), encoding="utf-8")
