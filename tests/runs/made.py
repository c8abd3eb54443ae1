"""Events about runs, made up."""

from typing import Any

from millrace.contracts.events import (
    CheckResult,
    ModelVersionChanged,
    OffsetRange,
    RunProgress,
    TrainingRunChanged,
)

BEGAN_MS = 1_600_000_000_000


def event(
    run_id: str = "run-a", status: Any = "SUCCEEDED", after_s: float = 10.0, **changes: Any
) -> TrainingRunChanged:
    """A word about a run that began at ``BEGAN_MS``."""
    values: dict[str, Any] = {
        "run_id": run_id,
        "model": "tiny",
        "status": status,
        "trigger": "DRIFT",
        "caused_by": "retrain-1",
        "because": "accuracy fell from 0.9 to 0.7",
        "ranges": (OffsetRange(topic="tiny-samples", partition=0, from_offset=3, until_offset=90),),
        "feature_set": "f",
        "code_hash": "code",
        "seed": 7,
        "train_rows": 60,
        "holdout_rows": 20,
        "duration_s": after_s,
        "changed_at_ms": BEGAN_MS + round(after_s * 1000),
    }
    return TrainingRunChanged(**{**values, **changes})


def began(run_id: str = "run-a", at_ms: int = BEGAN_MS, **changes: Any) -> TrainingRunChanged:
    """It began."""
    return event(run_id, "STARTED", 0.0, **{"changed_at_ms": at_ms, **changes})


def progressed(after_s: float, stage: str = "fitting", run_id: str = "run-a", **values: float) -> TrainingRunChanged:
    """It is so far."""
    progress = RunProgress(stage=stage, step=int(after_s), steps=10, message="at work", values=values)
    return event(run_id, "STARTED", after_s, progress=progress)


def succeeded(run_id: str = "run-a", **changes: Any) -> TrainingRunChanged:
    """It gave a model."""
    values: dict[str, Any] = {
        "artifact_sha256": "a" * 64,
        "artifact_bytes": 1000,
        "metrics": {"accuracy": 0.875, "rows": 20.0},
        "champion_version": 1,
        "champion_metrics": {"accuracy": 0.75},
        "baselines": {"majority": 0.5},
        "checks": (
            CheckResult(name="size", passed=True, value=1000.0, limit=5000.0, message="small"),
            CheckResult(name="slice", passed=False, value=0.3, limit=0.1, message="worse where x < 3"),
        ),
        "family": "tree",
        "params": {"depth": "3", "kind": '"gini"'},
        "window": "last:60",
        "rows_sha256": "b" * 64,
    }
    return event(run_id, "SUCCEEDED", 10.0, **{**values, **changes})


def decided(run_id: str = "run-a", version: int | None = 2, status: Any = "REGISTERED") -> ModelVersionChanged:
    """The registry's word about it."""
    return ModelVersionChanged(
        change_id=f"version/tiny/{version or run_id}/{status}",
        model="tiny",
        version=version,
        status=status,
        run_id=run_id,
        artifact_sha256="a" * 64,
        feature_set="f",
        metrics={},
        reasons=("it is better",),
        caused_by=run_id,
        changed_at_ms=BEGAN_MS + 20_000,
    )
