"""No part of the rows pays for the gain of the others."""

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import CheckResult
from millrace.contracts.gates_policy import Slice
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.checks.drops import drop
from services.trainer.train.judge import measure
from services.trainer.train.score import Scores
from services.trainer.train.task import Features, FitTask, Labels

ABOUT = (
    About(
        "slice-<feature>", ("slices", "slice_margin", "slice_rows_min"), "a gain that some part of the rows pays for"
    ),
)


class Part(NamedTuple):
    """Some of the rows, with a name for people."""

    name: str
    rows: NDArray[np.bool_]


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """For each declared slice the worst of its parts: against the champion's there, or, without one, the whole."""
    if task.gates.slice_margin is None:
        return
    for declared in task.gates.slices:
        yield _judge(task, candidate, declared, task.gates.slice_margin)


def parts_of(declared: Slice, column: Features) -> list[Part]:
    """The parts that a slice makes of a feature's values, empty ones left out."""
    name, missing = declared.feature, np.isnan(column)
    parts = [Part(f"{name} missing", missing)]
    if declared.values:
        rest = ~missing & ~np.isin(column, np.array(declared.values, dtype=np.float32))
        parts += [Part(f"{name} = {value:g}", column == np.float32(value)) for value in declared.values]
        parts.append(Part(f"{name} another value", rest))
    else:
        known = column[~missing]
        edges = np.asarray(declared.bins, dtype=np.float32)
        if isinstance(declared.bins, int):
            shares = np.arange(1, declared.bins) / declared.bins
            edges = np.unique(np.quantile(known, shares)) if len(known) else np.empty(0, np.float32)
        ends = [-np.inf, *edges.tolist(), np.inf]
        for low, high in itertools.pairwise(ends):
            parts.append(Part(f"{low:.4g} < {name} <= {high:.4g}", (column > low) & (column <= high)))
    return [part for part in parts if part.rows.any()]


def _judge(task: FitTask, candidate: Candidate, declared: Slice, limit: float) -> CheckResult:
    gates, metric = task.gates, task.gates.metric
    small, drops = [], []
    for part in parts_of(declared, task.holdout.x[:, task.feature_names.index(declared.feature)]):
        if (count := int(part.rows.sum())) < gates.slice_rows_min:
            small.append(f"{part.name} ({count})")
            continue
        reached = _metric(candidate.scores, task.holdout.y, part, metric)
        if candidate.champion_scores is None:
            reference, whose = candidate.metrics[metric], "all rows have"
        else:
            reference, whose = _metric(candidate.champion_scores, task.holdout.y, part, metric), "the champion there"
        said = f"{metric} {reached:.4g} on {count} rows with {part.name}, {whose} {reference:.4g}"
        drops.append((drop(task, reached, reference), said))
    worst, said = max(drops, default=(0.0, "no part has enough rows"))
    message = f"worst: {said}; worse by {worst:.3g}, allowed {limit:g}"
    if worst > limit:
        message += "; train on more rows like these, or raise gates.slice_margin"
    if small:
        message += f"; fewer than {gates.slice_rows_min} rows, not judged: {', '.join(small)}"
    name = f"slice-{declared.feature}"
    return CheckResult(name=name, passed=worst <= limit, value=worst, limit=limit, message=message)


def _metric(scores: Scores, y: Labels, part: Part, metric: str) -> float:
    return measure(Scores(scores.values[part.rows], scores.probabilities[part.rows]), y[part.rows])[metric]
