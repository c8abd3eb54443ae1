"""One training run from rows to judgement: search, export, score the exported file, baselines, checks, records.

All metrics are of the ONNX file, because it is what will serve; the estimator itself is only asked whether it agrees.
The same task gives the same bytes, provided that the pipeline takes its randomness from the seed it is given, and that
a search is repeated by what it settled on (``task.fixed``), because its budget is in seconds. Threads do not matter to
histogram gradient boosting (tried with 1 and 2); where they do, their number has to be kept.

A file from elsewhere goes the same way without the first step: it is scored as it is, also on the sample of records
that came with it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from millrace.contracts.events import CheckResult, RunProgress
from millrace.contracts.golden import ROWS, Golden
from millrace.contracts.profile import encode_rows
from services.trainer.train.checks import Clock, check
from services.trainer.train.checks.candidate import Candidate
from services.trainer.train.export import export
from services.trainer.train.imported import require_servable, score_imported
from services.trainer.train.judge import measure, require_metric
from services.trainer.train.record import make_record
from services.trainer.train.score import Scores, score
from services.trainer.train.search import Build, Found, baselines, search
from services.trainer.train.skops_model import from_skops, is_skops
from services.trainer.train.task import Choice, FitError, FitResult, FitTask, Report

__all__ = ("Build", "train")
IMPORTED = Choice("imported", {}, "")
TESTS = ("scoring the ONNX file", "baselines", "checks")


class _Made(NamedTuple):
    """A model before its judgement."""

    artifact: bytes
    scores: Scores
    found: Found | None


def train(task: FitTask, builds: Mapping[str, Build], report: Report, clock: Clock | None = None) -> FitResult:
    """Run the task; ``builds`` has the project's pipeline and each family that the search names.

    ``clock`` has monotonic seconds, for the one check that measures time; without it that check is absent.

    Raises:
        FitError: the rows or the estimator do not fit the project, or the imported file does not.
        Exception: whatever the owner's code raises.
    """
    require_metric(task)
    task = _as_onnx(task)
    made = _imported(task) if task.imported is not None else _fitted(task, builds, report)
    _testing(report, 1)
    metrics = measure(made.scores, task.holdout.y)
    champion = _champion_scores(task)
    champion_metrics = {} if champion is None else measure(champion, task.holdout.y)
    compared = baselines(task)
    _testing(report, 2, metrics)
    candidate = Candidate(
        estimator=None if made.found is None else made.found.estimator,
        artifact=made.artifact,
        scores=made.scores,
        champion_scores=champion,
        metrics=metrics,
        champion_metrics=champion_metrics,
        baselines=compared,
        history=() if made.found is None else made.found.history,
        vetoes=task.vetoes,
    )
    checks = check(task, candidate, clock)
    sample_metrics, sample_checks = _sample(task)
    checks, everything = (*checks, *sample_checks), {**metrics, **sample_metrics}
    _testing(report, 3, metrics)
    return FitResult(
        artifact=made.artifact,
        metrics=everything,
        champion_metrics=champion_metrics,
        checks=checks,
        choice=IMPORTED if made.found is None else made.found.choice,
        baselines=compared,
        golden=_golden(task, made.scores).to_bytes(),
        answers=_answers(made.scores),
        record=make_record(task, candidate, made.found, checks, metrics=everything, timed=clock is not None),
    )


def _fitted(task: FitTask, builds: Mapping[str, Build], report: Report) -> _Made:
    _require_classes(task)
    found = search(task, builds, report)
    _testing(report, 0)
    written = found.to_onnx(task)
    artifact = export(found.estimator, task) if written is None else written
    return _Made(artifact, score(artifact, task.holdout.x, len(task.label.classes)), found)


def _as_onnx(task: FitTask) -> FitTask:
    """The task, with an imported skops file as the ONNX file that it becomes here."""
    if task.imported is None or not is_skops(task.imported):
        return task
    estimator = from_skops(task.imported, task.skops_allowed)
    width = getattr(estimator, "n_features_in_", None)
    if width != len(task.feature_names):
        raise FitError(f"the imported estimator takes {width} features, the project has {len(task.feature_names)}")
    try:
        return replace(task, imported=export(estimator, task))
    except Exception as error:  # skl2onnx raises whatever it likes for what it cannot convert
        raise FitError(f"{type(estimator).__name__} cannot be converted to ONNX: {error}") from error


def _imported(task: FitTask) -> _Made:
    assert task.imported is not None, "asked only then"
    require_servable(task.imported, task)
    return _Made(task.imported, score_imported(task.imported, task.holdout.x, task), None)


def _sample(task: FitTask) -> tuple[dict[str, float], tuple[CheckResult, ...]]:
    """Metrics of an imported file on the records that came with it, and whether they reach the gate; {} without any."""
    if task.imported is None or task.sample is None:
        return {}, ()
    metric, gates = task.gates.metric, task.gates
    metrics = measure(score_imported(task.imported, task.sample.x, task), task.sample.y)
    value = metrics[metric]
    message = f"{metric} {value:.4g} on the {len(task.sample.y)} records that came with the file, gates.first is"
    passed = CheckResult(
        name="sample-reaches-gate", passed=gates.gain(value, gates.first) >= 0, value=value, limit=gates.first,
        message=f"{message} {gates.first:g}",
    )  # fmt: skip
    return {f"sample_{name}": one for name, one in metrics.items()}, (passed,)


def _golden(task: FitTask, scores: Scores) -> Golden:
    """Rows spread over the hold-out, with the file's own answers."""
    rows = len(task.holdout.y)
    at = np.unique(np.linspace(0, rows - 1, min(ROWS, rows)).round().astype(np.int64))
    return Golden(task.holdout.x[at], scores.values[at], scores.probabilities[at])


def _answers(scores: Scores) -> bytes:
    """What the file says of all hold-out rows."""
    said = {f"score_{index}": column for index, column in enumerate(scores.probabilities.T)}
    return encode_rows({"value": scores.values, **said})


def _champion_scores(task: FitTask) -> Scores | None:
    """The champion on the very same rows; None without a champion."""
    if task.champion is None:
        return None
    try:
        return score(task.champion, task.holdout.x, len(task.label.classes))
    except Exception as error:  # no common base in onnxruntime; a comparison that fails must not pass for none
        raise FitError(f"the champion cannot be scored on the hold-out rows: {error}") from error


def _require_classes(task: FitTask) -> None:
    known: set[Any] = set(task.train.y.tolist())
    missing = [name for index, name in enumerate(task.label.classes) if index not in known]
    if missing:
        raise FitError(f"none of the {len(task.train.y)} training rows has the label {', '.join(map(repr, missing))}")


def _testing(report: Report, step: int, values: Mapping[str, float] | None = None) -> None:
    doing = TESTS[step] if step < len(TESTS) else "tested"
    report(RunProgress(stage="testing", step=step, steps=len(TESTS), message=doing, values=dict(values or {})))
