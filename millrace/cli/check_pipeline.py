"""The part of ``millrace check`` that runs the owner's code, in a process of its own.

``python -m millrace.cli.check_pipeline FOLDER ANSWER`` trains on made-up rows exactly as the trainer would and writes
what it found to the file ANSWER, as JSON. A pipeline that prints, hangs, exits or crashes harms only this process.

The rows are made as ingest makes them: random values within the expectations go through the project's own feature
definitions, so a lag is missing in the first rows here just as it will be there.
"""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from millrace.contracts.errors import ProjectError
from millrace.contracts.expectations import Range
from millrace.contracts.feature_spec import Category, Function, IsCategory
from millrace.contracts.project import Project, load_project
from millrace.contracts.training_policy import Family
from millrace.contracts.training_policy import Range as Span
from millrace.features.functions import Floats, Functions, check_pure, load_functions
from millrace.features.online import EntityFeatures
from services.trainer.child import run_task
from services.trainer.train.task import Choice, FitError, FitTask, PipelineSource, Rows

TRAIN_ROWS = 300
HOLDOUT_ROWS = 100
MINUTE_MS = 60_000
MISSING_SHARE = 0.05  # of a field that may be null and that no expectation requires
JUDGED = frozenset({"onnx-parity", "finite-scores"})  # the other checks of a run ask for real data


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known about the values of one field: numbers from ``low`` to ``high``, or one of these ``texts``."""

    low: float
    high: float
    missing_share: float
    integral: bool
    texts: tuple[str, ...] = ()


def synthetic_events(project: Project, count: int) -> list[dict[str, Any]]:
    """The fields of so many random events that features look at. The same for the same project."""
    rng = np.random.default_rng(project.training.seed)
    fields = _fields(project)
    return [{name: _value(field, rng) for name, field in fields.items()} for _ in range(count)]


def synthetic_rows(project: Project, count: int) -> Rows:
    """Rows of features with labels, made from random events of one entity, a minute apart.

    Raises:
        ProjectError: a function of the owner's cannot be run, or is not pure.
    """
    functions = load_functions(project.folder, project.features)
    events = synthetic_events(project, count)
    entity = EntityFeatures(project.features, functions)
    rng = np.random.default_rng(project.training.seed)
    classes = len(project.label.classes)
    labels = rng.permutation(np.arange(count) % classes) if classes else rng.normal(size=count)
    rows = []
    for number, (event, label) in enumerate(zip(events, labels, strict=True)):
        rows.append(entity.row(event, number * MINUTE_MS))
        entity.label(float(label))
    x = np.array(rows, dtype=np.float64)
    _check_functions(project, functions, events, x)
    return Rows(x.astype(np.float32), labels.astype(np.float64))


def _check_functions(project: Project, functions: Functions, events: list[dict[str, Any]], x: Floats) -> None:
    """Each function over the columns that it was given: features declared before it, else fields."""
    columns: dict[str, Floats] = {}
    for name in project.feature_fields:
        columns[name] = np.array([np.nan if event[name] is None else event[name] for event in events], np.float64)
    for place, spec in enumerate(project.features):
        if isinstance(spec, Function):
            check_pure(spec, functions, {name: columns[name] for name in spec.inputs})
        columns[spec.name] = x[:, place]


def _fields(project: Project) -> dict[str, _Field]:
    """The fields that features are computed from."""
    rules = {rule.field: rule for rule in project.expectations if isinstance(rule, Range)}
    needs = {field: kind for _, field, kind in project.feature_needs}
    found = {}
    for declared in project.event_schema["fields"]:
        name, text = declared["name"], json.dumps(declared["type"])
        if name not in needs:
            continue
        rule = rules.get(name)
        low = -1.0 if rule is None or rule.min is None else rule.min
        high = low + 2.0 if rule is None or rule.max is None else rule.max
        if rule is None or rule.max is None:  # so that what a feature waits for happens
            high = max([high, *(2 * above for above in _limits(project, name))])
        optional = '"null"' in text and not (rule is not None and rule.required)
        integral = any(f'"{kind}"' in text for kind in ("int", "long", "boolean"))
        texts = _texts(project, name) if needs[name] == "text" else ()
        found[name] = _Field(min(low, high), high, MISSING_SHARE if optional else 0.0, integral, texts)
    return found


def _limits(project: Project, field: str) -> list[float]:
    """Above which values of the field features look for it."""
    named = [spec for spec in project.features if getattr(spec, "field", None) == field]
    return [above for spec in named if (above := getattr(spec, "above", None)) is not None]


def _texts(project: Project, field: str) -> tuple[str, ...]:
    """What features tell apart in a text, and something else."""
    known = [spec.values for spec in project.features if isinstance(spec, Category) and spec.field == field]
    known += [(spec.equals,) for spec in project.features if isinstance(spec, IsCategory) and spec.field == field]
    return (*dict.fromkeys(text for texts in known for text in texts), "something else")


def _value(field: _Field, rng: np.random.Generator) -> float | str | None:
    if rng.random() < field.missing_share:
        return None
    if field.texts:
        return field.texts[int(rng.integers(len(field.texts)))]
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
    try:
        rows = synthetic_rows(project, TRAIN_ROWS + HOLDOUT_ROWS)
    except ProjectError as error:
        return {"error": str(error)}
    try:
        result = run_task(fit_task(project, rows))
    except FitError as error:
        return {"error": f"{error}{_about_missing(project, rows, str(error))}"}
    failed = [check for check in result.checks if check.name in JUDGED and not check.passed]
    if failed:
        return {"error": "; ".join(f"{check.name}: {check.message}" for check in failed)}
    families = project.training.search.families if project.training.search else ()
    for family in families:
        try:
            run_task(family_task(project, rows, family))
        except (FitError, OSError) as error:
            words = (
                f"training.search.families: {family.name} (build: {family.build}, space {dict(family.space)}): {error}"
            )
            return {"error": words}
    also = f"; so do the families {', '.join(family.name for family in families)}" if families else ""
    size = len(result.artifact)
    message = f"fits {TRAIN_ROWS} made-up rows; its ONNX file ({size:,} bytes) agrees with it{also}"
    return {"error": None, "message": message}


def family_task(project: Project, rows: Rows, family: Family) -> FitTask:
    """The fit of a family with the first of each choice, and the low end of each range."""
    file, _, function = family.build.partition(":")
    path = project.folder / file
    params = {name: space.low if isinstance(space, Span) else space[0] for name, space in family.space.items()}
    return replace(
        fit_task(project, rows),
        families={family.name: PipelineSource(str(path), function, path.read_bytes())},
        fixed=Choice(family.name, params, f"last:{TRAIN_ROWS}"),
    )


def _about_missing(project: Project, rows: Rows, error: str) -> str:
    """Which features can be missing, if that is what the estimator complained about."""
    if "NaN" not in error:
        return ""
    missing = [name for name, column in zip(project.feature_names, rows.x.T, strict=True) if np.isnan(column).any()]
    return f"\nThese features can be missing: {', '.join(missing)}. Put a SimpleImputer first, or change the estimator"


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(json.dumps(try_pipeline(load_project(Path(sys.argv[1])))), encoding="utf-8")
