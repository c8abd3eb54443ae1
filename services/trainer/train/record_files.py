"""The tables and texts of a run's record. Pure; equal content gives equal bytes."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from millrace.contracts.events import CheckResult
from services.trainer.train.checks import speed
from services.trainer.train.checks.candidate import Candidate, Step
from services.trainer.train.checks.importances import Importance
from services.trainer.train.record_initial import class_of, params_of
from services.trainer.train.score import Scores
from services.trainer.train.search import Found, Trial
from services.trainer.train.task import Choice, FitTask

CELLS_MAX = 400_000  # of the hold-out's table, some 4 MB; of more, the newest rows are kept
TRIALS_MAX = 10_000
TIMED = frozenset(about.name for about in speed.ABOUT)
"""Checks whose value is another one each time."""

README = """The record of a training run of Millrace.

All files but resources.json are the same when the run is done again from the same rows.

run.json                 what was trained: rows, choice, parameters, metrics, baselines, checks, hashes
history.csv              how the loss fell: step, loss on training rows, loss on hold-out rows
trials.csv               what the search tried: family, parameters, window, value in cross-validation, state
holdout.csv              each hold-out row, the oldest first: label, answers and probabilities of candidate and champion
importances.csv          by how much the loss grows when a feature's values are shuffled
resources.json           what it took: processor and wall time in seconds, memory and disk in bytes, graphics cards;
                         seconds of each trial; checks that measure time
loss.svg                 the history                 reliability.svg / residuals.svg    are its answers what they say
importances.svg          what it looks at            trials.svg                         the search
holdout.svg              the gate's metric over the hold-out rows, candidate and champion
model.onnx               the model, as it serves
estimator-initial.json   the estimator before the fit: its class and parameters
model-initial.onnx       the first stage of a boosting model

A file that does not apply is absent; what was left out for its size is named in run.json under left_out.
"""


def csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    r"""A table as text.

    >>> csv(("name", "x"), [("a,b", 1.0), ("c", None)])
    b'name,x\n"a,b",1\nc,\n'
    """
    lines = [",".join(map(_cell, header)), *(",".join(map(_cell, row)) for row in rows)]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.8g}"  # float32 has no more
    said = str(value)
    return '"' + said.replace('"', '""') + '"' if any(mark in said for mark in ',"\n\r') else said


def json_bytes(content: Any) -> bytes:
    """Sorted and indented; what is no number is null."""
    return (json.dumps(_plain(content), indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def history(steps: Sequence[Step]) -> bytes:
    """``history.csv``."""
    return csv(
        ("step", "train_loss", "validation_loss"), ((one.step, one.train_loss, one.validation_loss) for one in steps)
    )


def trials(done: Sequence[Trial]) -> bytes:
    """``trials.csv``. Parameters are JSON, because families have different ones."""
    header = ("number", "family", "params", "window", "value", "fold_values", "state", "reason")
    return csv(
        header,
        (
            (
                one.number,
                one.family,
                json.dumps(dict(one.params), sort_keys=True),
                one.window,
                one.value,
                " ".join(f"{value:.8g}" for value in one.fold_values),
                one.state,
                one.reason,
            )
            for one in done[-TRIALS_MAX:]
        ),
    )


def importances(found: Sequence[Importance]) -> bytes:
    """``importances.csv``, in the features' order."""
    return csv(("feature", "loss_increase", "share"), found)


def holdout(task: FitTask, candidate: Candidate) -> tuple[bytes, int]:
    """``holdout.csv``, and how many of the oldest rows were left out."""
    both = [("", candidate.scores)]
    if candidate.champion_scores is not None:
        both.append(("champion_", candidate.champion_scores))
    classes = task.label.classes
    header = ["row", "label"]
    for prefix, _ in both:
        header += [f"{prefix}value", *(f"{prefix}score_{name}" for name in classes)]
    rows = len(task.holdout.y)
    left_out = max(0, rows - CELLS_MAX // len(header))
    columns = [range(left_out, rows), _named(task.holdout.y[left_out:], classes)]
    for _, scores in both:
        columns += _columns(scores, classes, left_out)
    return csv(header, zip(*columns, strict=True)), left_out


def _columns(scores: Scores, classes: Sequence[str], first: int) -> list[Sequence[Any]]:
    return [_named(scores.values[first:], classes), *scores.probabilities[first:].T.tolist()]


def _named(values: Any, classes: Sequence[str]) -> list[Any]:
    """Classes by their names, numbers as they are."""
    if not classes:
        return [float(value) for value in values]
    known = dict(enumerate(classes))
    return [known.get(int(value), str(value)) if np.isfinite(value) else str(value) for value in values]


def run(
    task: FitTask,
    candidate: Candidate,
    choice: Choice,
    checks: Sequence[CheckResult],
    metrics: Mapping[str, float],
    left_out: Sequence[str],
) -> bytes:
    """``run.json``."""
    estimator = candidate.estimator
    sources = {"pipeline": task.pipeline, **task.families}
    return json_bytes(
        {
            "run_id": task.run_id,
            "model": task.model,
            "source": "trained" if task.imported is None else "imported",
            "label": {"task": task.label.task, "classes": task.label.classes},
            "features": task.feature_names,
            "metric": task.gates.metric,
            "seed": task.seed,
            "rows": {"train": len(task.train.y), "holdout": len(task.holdout.y), "gap": task.gap_rows,
                     "since_drift": task.since_drift},
            "choice": {"family": choice.family, "params": choice.params, "window": choice.window},
            "estimator": {"class": None if estimator is None else class_of(estimator), "params": params_of(estimator)},
            "metrics": metrics,
            "champion_metrics": candidate.champion_metrics,
            "baselines": candidate.baselines,
            "checks": [check.model_dump() for check in checks if check.name not in TIMED],
            "vetoes": task.vetoes,
            "hashes": {
                "artifact": _sha256(candidate.artifact),
                "champion": None if task.champion is None else _sha256(task.champion),
                "feature_set": task.feature_set,
                "sources": {name: _sha256(source.text) for name, source in sources.items()},
            },
            "left_out": left_out,
        }
    )  # fmt: skip


def timed(found: Found | None, checks: Sequence[CheckResult]) -> dict[str, Any]:
    """What of a run differs each time, besides what the machine says."""
    return {
        "trial_seconds": {str(one.number): round(one.seconds, 3) for one in (() if found is None else found.trials)},
        "checks": [check.model_dump() for check in checks if check.name in TIMED],
    }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
