"""The gate between a finished training run and a champion: what a candidate must show before it may serve.

Rules:

- Every check of the run passed, and there is at least one: an unchecked model is not a checked one.
- With no champion, the gate's metric reaches ``gates.first``.
- With a champion, the run was compared with *this* champion, on the same rows, and the candidate is better:
  the gain is above 0 and at least ``gates.margin``.
- A champion that cannot be compared is no champion: the gate is ``gates.first``, and the reason says why. That is so
  when it needs another feature set, whose features nobody computes any more, and the run was compared with none; and
  when the run was to be compared with *this* champion and its check ``champion-readable`` says that the file is lost.
  That check is about the champion and refuses no candidate.
- A number that is missing or not finite proves nothing, so it refuses.

A refusal names every rule that failed, with the values seen, so that nobody has to ask twice.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millrace.contracts.events import TrainingRunChanged
from millrace.contracts.gates_policy import Gates

CHAMPION_READABLE = "champion-readable"  # the trainer reports it, when it has failed
SHOWN_DECIMALS = 3
MOST_DECIMALS = 17  # enough to tell any two different doubles apart


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a run is admitted, and why, in words; for a refusal every rule that failed."""

    admitted: bool
    reasons: tuple[str, ...]


def judge(run: TrainingRunChanged, gates: Gates, champion: int | None, champion_features: str | None = None) -> Verdict:
    """Judge a succeeded run.

    How it works: the candidate's metric and the champion's come from the same hold-out rows of the same run, so their
    difference is a paired comparison; sampling noise of the rows is common to both. It assumes that the trainer
    measured both in the same way, which the run's ``champion_version`` states.

    Args:
        run: the run, with its metrics on ``holdout_rows`` rows.
        gates: what the model project asks for. ``margin`` is in units of the metric; its default 0 accepts any gain.
        champion: number of the version that is champion now; None if there is none.
        champion_features: feature set of that version; None for the run's own.

    >>> from millrace.contracts.events import CheckResult
    >>> run = TrainingRunChanged(
    ...     run_id="r",
    ...     model="m",
    ...     status="SUCCEEDED",
    ...     trigger="DRIFT",
    ...     caused_by="c",
    ...     ranges=(),
    ...     feature_set="f",
    ...     code_hash="h",
    ...     seed=7,
    ...     train_rows=4500,
    ...     holdout_rows=500,
    ...     metrics={"accuracy": 0.80},
    ...     champion_version=1,
    ...     champion_metrics={"accuracy": 0.85},
    ...     duration_s=1.0,
    ...     changed_at_ms=0,
    ...     checks=(CheckResult(name="onnx-parity", passed=True, value=0, limit=0, message="equal"),),
    ... )
    >>> judge(run, Gates(first=0.6), champion=1).reasons
    ("accuracy 0.800 does not beat the champion's 0.850 on the same 500 rows",)
    """
    why = _no_comparison(run, champion, champion_features)
    faults = [*_check_faults(run, excused=why is not None)]
    if run.holdout_rows < 1:
        faults.append("it was judged on no rows")
    if why is not None:
        champion = None
    elif run.champion_version != champion:
        faults.append(_stale(run.champion_version, champion))
    faults += _metric_faults(run, gates, champion, why)
    if faults:
        return Verdict(admitted=False, reasons=tuple(faults))
    return Verdict(admitted=True, reasons=(_praise(run, gates, champion, why),))


def _no_comparison(run: TrainingRunChanged, champion: int | None, features: str | None) -> str | None:
    """Why the champion cannot be compared with any run like this one, in words; None if it can, or if there is none."""
    if champion is None:
        return None
    if run.champion_version is None and features not in {None, run.feature_set}:
        return f"version {champion} needs feature set {features} and cannot be compared"
    lost = next((check for check in run.checks if check.name == CHAMPION_READABLE and not check.passed), None)
    if lost is not None and run.champion_version == champion and not run.champion_metrics:
        return f"version {champion} cannot be compared: {lost.message}"
    return None


def _check_faults(run: TrainingRunChanged, *, excused: bool) -> Iterator[str]:
    checks = [check for check in run.checks if not (excused and check.name == CHAMPION_READABLE)]
    if not checks:
        yield "no check was reported, so nothing shows that it may serve"
    for check in checks:
        if not check.passed:
            yield f"check {check.name} failed: {check.value:g} against a limit of {check.limit:g}: {check.message}"


def _stale(compared: int | None, champion: int | None) -> str:
    said = "no champion" if compared is None else f"version {compared}"
    now = "there is no champion now" if champion is None else f"version {champion} is champion now"
    return f"it was compared with {said}, but {now}"


def _metric_faults(run: TrainingRunChanged, gates: Gates, champion: int | None, why: str | None) -> Iterator[str]:
    """What is wrong with the gate's metric. A comparison with somebody else says nothing, so it is left out."""
    name = gates.metric
    candidate, fault = _finite(run.metrics, name, "the run")
    if fault is not None:
        yield fault
    if champion is None:
        if fault is None and gates.gain(candidate, gates.first) < 0:
            seen, needed = _apart(candidate, gates.first)
            side = "below" if gates.higher_is_better else "above"
            yield f"{_first(run, why)}: {name} {seen} is {side} the {needed} that gates.first asks for ({_rows(run)})"
        return
    if run.champion_version != champion:
        return
    other, other_fault = _finite(run.champion_metrics, name, "the champion's measurement")
    if other_fault is not None:
        yield other_fault
    if fault is None and other_fault is None:
        yield from _comparison_fault(run, gates, candidate, other)


def _comparison_fault(run: TrainingRunChanged, gates: Gates, candidate: float, other: float) -> Iterator[str]:
    gain = gates.gain(candidate, other)
    seen, champions = _apart(candidate, other)
    if gain <= 0:
        yield f"{gates.metric} {seen} does not beat the champion's {champions} on the same {_rows(run)}"
    elif gain + _rounding(candidate, other) < gates.margin:
        gained, needed = _apart(gain, gates.margin)
        yield (
            f"{gates.metric} {seen} beats the champion's {champions} by {gained} on the same {_rows(run)}, "
            f"less than the {needed} that gates.margin asks for"
        )


def _praise(run: TrainingRunChanged, gates: Gates, champion: int | None, why: str | None) -> str:
    candidate = run.metrics[gates.metric]
    if champion is None:
        seen, needed = _apart(candidate, gates.first)
        side = "least" if gates.higher_is_better else "most"
        return f"{_first(run, why)}: {gates.metric} {seen} is at {side} {needed}"
    seen, champions = _apart(candidate, run.champion_metrics[gates.metric])
    return f"{gates.metric} {seen} beats the {champions} of version {champion} on the same {_rows(run)}"


def _first(run: TrainingRunChanged, why: str | None) -> str:
    return "first model" if why is None else f"judged like a first model of feature set {run.feature_set}, as {why}"


def _finite(metrics: Mapping[str, float], name: str, whose: str) -> tuple[float, str | None]:
    value = metrics.get(name)
    if value is None:
        return math.nan, f"{whose} has no {name}, the gate's metric; it has {sorted(metrics)}"
    if not math.isfinite(value):
        return math.nan, f"{whose} has {name} {value}, which is not a finite number"
    return value, None


def _rounding(left: float, right: float) -> float:
    """What subtracting two decimal fractions may lose: 0.7 - 0.6 is a little less than 0.1."""
    return 4 * sys.float_info.epsilon * max(abs(left), abs(right))


def _apart(left: float, right: float) -> tuple[str, str]:
    """Both numbers with as many decimals as it takes to see that they differ, but at least three."""
    for decimals in range(SHOWN_DECIMALS, MOST_DECIMALS):
        shown = f"{left:.{decimals}f}", f"{right:.{decimals}f}"
        if left == right or shown[0] != shown[1]:
            return shown
    return repr(left), repr(right)


def _rows(run: TrainingRunChanged) -> str:
    return f"{run.holdout_rows} rows"
