"""How a run ends, and what is said of what went wrong. Pure."""

from millrace.contracts.events import AlertRaised, CheckResult, Traffic, TrainingRunChanged
from services.trainer.train.task import FitResult

CHAMPION_READABLE = "champion-readable"  # the registry knows it by this name
ERROR_MAX = 2000  # characters; an exception may print a whole data set, and a record has a largest size


def succeeded(
    started: TrainingRunChanged,
    result: FitResult,
    digest: str,
    champion: Traffic | None,
    now_ms: int,
    *,
    champion_fault: str | None = None,
) -> TrainingRunChanged:
    """The event that ends a run with a model. ``champion_fault`` says why there was nothing to compare it with."""
    lost = () if champion_fault is None else (_champion_lost(champion_fault),)
    return _ended(
        started,
        now_ms,
        status="SUCCEEDED",
        artifact_sha256=digest,
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
