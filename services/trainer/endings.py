"""How a run ends, and what is said of what went wrong. Pure."""

import json
import math
from typing import NamedTuple

from millrace.contracts.events import AlertRaised, CheckResult, RunProgress, Traffic, TrainingRunChanged
from services.trainer.core import Held
from services.trainer.state import DAY_MS
from services.trainer.train.task import FitResult

CHAMPION_READABLE = "champion-readable"  # the registry knows it by this name
ERROR_MAX = 2000  # characters; an exception may print a whole data set, and a record has a largest size


class Kept(NamedTuple):
    """What the artefact store has of a run, by SHA-256."""

    artifact: str
    golden: str | None = None
    record: str | None = None


def succeeded(
    started: TrainingRunChanged,
    result: FitResult,
    kept: Kept,
    champion: Traffic | None,
    now_ms: int,
    *,
    metric: str,
    champion_fault: str | None = None,
) -> TrainingRunChanged:
    """The event that ends a run with a model.

    ``metric`` is the gate's, ``champion_fault`` says why there was no champion's file to compare it with.
    A file from elsewhere that was judged on its sample alone has no rows of the log: its hold-out is the sample.
    """
    lost = () if champion_fault is None else (_champion_lost(champion_fault),)
    choice = result.choice
    return _ended(
        started,
        now_ms,
        status="SUCCEEDED",
        holdout_rows=started.holdout_rows or int(result.metrics.get("rows", 0)),
        family=choice.family,
        params={name: json.dumps(value) for name, value in sorted(choice.params.items())},
        window=choice.window if choice.window != "last" else f"last:{started.train_rows}",
        baselines={name: metrics[metric] for name, metrics in result.baselines.items() if metric in metrics},
        golden_sha256=kept.golden,
        record_sha256=kept.record,
        artifact_sha256=kept.artifact,
        artifact_bytes=len(result.artifact),
        metrics=dict(result.metrics),
        champion_version=champion.version if champion else None,
        champion_metrics=dict(result.champion_metrics),
        checks=(*result.checks, *lost),
    )


def _champion_lost(fault: str) -> CheckResult:
    """Not about the candidate: it tells the registry why a run that names its champion has no metrics of it."""
    return CheckResult(name=CHAMPION_READABLE, passed=False, value=0.0, limit=1.0, message=fault)


def failed(started: TrainingRunChanged, error: str, now_ms: int) -> TrainingRunChanged:
    """The event that ends a run without a model."""
    return _ended(started, now_ms, status="FAILED", error=error[:ERROR_MAX])


def _ended(started: TrainingRunChanged, now_ms: int, **changes: object) -> TrainingRunChanged:
    duration_s = max(0, now_ms - started.changed_at_ms) / 1000
    return started.model_copy(update={"duration_s": duration_s, "changed_at_ms": now_ms, **changes})


def progressed(started: TrainingRunChanged, progress: RunProgress, now_ms: int) -> TrainingRunChanged:
    """The event that says how far a run is."""
    values = {name: value for name, value in progress.values.items() if math.isfinite(value)}
    said = progress.model_copy(update={"message": progress.message[:ERROR_MAX], "values": values})
    return _ended(started, now_ms, progress=said)


def alert(failure: TrainingRunChanged) -> AlertRaised:
    """What the operator is told. A warning: the last good model goes on serving."""
    return AlertRaised(
        alert_id=f"alert/training-failed/{failure.run_id}/{failure.caused_by}",
        service="trainer",
        severity="WARNING",
        reason="training-failed",
        subject=failure.run_id,
        message=f"{failure.trigger} run for {failure.caused_by}: {failure.error}",
        raised_at_ms=failure.changed_at_ms,
    )


def over_budget(model: str, held: Held, now_ms: int) -> AlertRaised:
    """What the operator is told, once a day, when a cause waits because enough runs have begun."""
    return AlertRaised(
        alert_id=f"alert/training-budget/{model}/{now_ms // DAY_MS}",
        service="trainer",
        severity="WARNING",
        reason="training-budget",
        subject=model,
        message=f"{held.runs_per_day} runs have begun within a day, as many as training.triggers.runs_per_day allows; "
        f"this waits: {held.because} ({held.caused_by}). millrace retrain is not held back",
        raised_at_ms=now_ms,
    )


def unreadable_record(model: str, topic: str, offset: int, error: str, now_ms: int) -> AlertRaised:
    """What the operator is told about a control record that is no event: it had no effect."""
    return AlertRaised(
        alert_id=f"alert/unreadable-record/trainer/{model}/{topic}/{offset}",
        service="trainer",
        severity="WARNING",
        reason="unreadable-record",
        subject=f"{topic} offset {offset}",
        message=f"the record was left out; if it asked for something, ask again: {error[:ERROR_MAX]}",
        raised_at_ms=now_ms,
    )
