"""Groups of people are treated alike, as far as the project asks for it; computed by fairlearn.

Each hold-out row says its group (``Rows.groups``), as the event's field that ``gates.fairness`` names. A group with too
few rows is named and not judged, because its rate would be noise; so is, for equalized odds, one in which all have the
same truth. With fewer than two groups left nothing can be compared, and the check fails: whoever names a field wants it
judged.

Reference: fairlearn 0.15, https://fairlearn.org, user guide on fairness metrics.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import CheckResult
from millrace.contracts.gates_policy import Fairness
from services.trainer.train.checks.candidate import About, Candidate
from services.trainer.train.task import FitTask

ABOUT = (About("fairness", ("fairness",), "groups of a protected field that are treated unlike each other"),)


class _Judged(NamedTuple):
    value: float
    said: str


def check(task: FitTask, candidate: Candidate) -> Iterator[CheckResult]:
    """The metric that the project names, over the groups of the field that it names."""
    rule = task.gates.fairness
    if rule is None:
        return
    limit = rule.min if rule.is_ratio else rule.max
    assert limit is not None, "the contract asks for it"
    groups = np.array(task.holdout.groups, dtype=object)
    if len(groups) != len(task.holdout.y):
        message = f"no row says its {rule.field}; the trainer must pass the field as groups of the hold-out rows"
        yield CheckResult(name="fairness", passed=False, value=0.0, limit=limit, message=message)
        return
    left_out = _too_small(rule, groups, task)
    kept = ~np.isin(groups, list(left_out))
    unjudged = f"; not judged: {', '.join(map('{0[0]} ({0[1]})'.format, left_out.items()))}" if left_out else ""
    if len(set(groups[kept])) < 2:
        message = (
            f"fewer than two groups of {rule.field} can be judged{unjudged}; raise training.holdout_rows or lower "
        )
        message += "gates.fairness.rows_min"
        yield CheckResult(name="fairness", passed=False, value=0.0, limit=limit, message=message)
        return
    value, said = _judge(rule, task, candidate, groups, kept)
    passed = value >= limit if rule.is_ratio else value <= limit
    message = f"{said}; {'at least' if rule.is_ratio else 'at most'} {limit:g} is asked for{unjudged}"
    if not passed:
        message += "; look at the groups' training rows and at features that stand for the field"
    yield CheckResult(name="fairness", passed=passed, value=value, limit=limit, message=message)


def _too_small(rule: Fairness, groups: NDArray[Any], task: FitTask) -> dict[str, str]:
    """Groups that are not judged, each with the reason."""
    found = {}
    for name in sorted(set(groups)):
        truths = task.holdout.y[groups == name]
        if len(truths) < rule.rows_min:
            found[name] = f"{len(truths)} rows, {rule.rows_min} are needed"
        elif rule.metric == "equalized_odds_difference" and any(
            len(set(truths == number)) < 2 for number in _favoured(rule, task)
        ):
            found[name] = "all its rows have the same truth"
    return found


def _favoured(rule: Fairness, task: FitTask) -> list[int]:
    """The classes, as numbers, whose share is compared."""
    classes = task.label.classes
    if rule.positive is not None:
        return [classes.index(rule.positive)]
    return [1] if len(classes) == 2 else list(range(len(classes)))


def _judge(
    rule: Fairness, task: FitTask, candidate: Candidate, groups: NDArray[Any], kept: NDArray[np.bool_]
) -> _Judged:
    """The metric, of several classes the worst one's, and in words what it is of each group."""
    from fairlearn import metrics  # noqa: PLC0415  # two seconds of pandas, only where a project asks for it

    truth, answer, named = task.holdout.y[kept], candidate.scores.values[kept], groups[kept].astype(str)
    if rule.metric == "mean_error_difference":
        frame = metrics.MetricFrame(metrics=_mean_error, y_true=truth, y_pred=answer, sensitive_features=named)
        return _Judged(float(frame.difference()), f"mean error by {rule.field}: {_by_group(frame)}")
    of = getattr(metrics, rule.metric)
    found = []
    for number in _favoured(rule, task):
        y_true, y_pred = (truth == number).astype(int), (answer == number).astype(int)
        value = float(of(y_true, y_pred, sensitive_features=named))
        frame = metrics.MetricFrame(
            metrics=metrics.selection_rate, y_true=y_true, y_pred=y_pred, sensitive_features=named
        )
        what = f"{rule.metric} {value:.3g} of {task.label.classes[number]!r} between groups of {rule.field}"
        found.append(_Judged(value if np.isfinite(value) else 1.0, f"{what}, answered to {_by_group(frame)}"))
    return min(found) if rule.is_ratio else max(found)


def _mean_error(y_true: Any, y_pred: Any) -> float:
    return float(np.mean(np.asarray(y_pred) - np.asarray(y_true)))


def _by_group(frame: Any) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in frame.by_group.items())
