"""From drift to deployment as one trace: each service makes the span of the facts that it writes. Pure.

    drift (monitor)
      request (trainer: from the request to the end of waiting for its run)
        run (trainer), with a child for each stage
          version (registry: from the run's end to the decision about it)
            deployment (registry: each that brings the version further, or takes it back)
              serve (serving: from the decision to the first events that were answered, in each partition)

The trace id is derived from the drift's id; where a person or the clock asked, from the request's; where nobody did,
from the run's. Every span id is derived from the id of its fact. The trainer knows both requests and runs; from a run
on the context goes in the header of the records, because later services do not know what caused the request.
"""

from collections.abc import Iterable
from typing import NamedTuple

from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    ModelVersionChanged,
    RetrainModel,
    TrainingRunChanged,
)
from millrace.telemetry import trace
from millrace.telemetry.traces import Attributes, Span


class Stage(NamedTuple):
    """A part of a run."""

    name: str
    start_ms: int
    end_ms: int


def request_context(request: RetrainModel) -> bytes:
    """A request's place in the trace of its drift, or the beginning of its own."""
    cause = None if request.caused_by is None else trace.root(request.caused_by)
    return trace.child(cause, request.request_id) or trace.root(request.request_id)


def run_context(run: TrainingRunChanged, request: RetrainModel | None) -> bytes:
    """A run's place in the trace of its request, or the beginning of its own."""
    cause = None if request is None else request_context(request)
    return trace.child(cause, run.run_id) or trace.root(run.run_id)


def next_context(before: bytes | None, fact_id: str) -> bytes:
    """The place of what follows; a beginning, if what was before has no trace."""
    return trace.child(before, fact_id) or trace.root(fact_id)


def trace_id(drift_id: str) -> str:
    """The trace of a drift, for a line of the log."""
    return f"{trace.ids(trace.root(drift_id))[0]:032x}"


def drift(found: DriftDetected) -> Span:
    """A detector's verdict; it takes no time."""
    said: Attributes = {
        "millrace.model": found.model,
        "millrace.version": found.version,
        "millrace.drift.id": found.drift_id,
        "millrace.drift.subject": found.subject,
        "millrace.drift.detector": found.detector,
        "millrace.drift.severity": found.severity,
        "millrace.partition": found.partition,
        "millrace.offset": found.sample_offset,
    }
    context = trace.root(found.drift_id)
    return Span(f"drift {found.subject}", context, None, found.detected_at_ms, found.detected_at_ms, said)


def run(ended: TrainingRunChanged, request: RetrainModel | None, stages: Iterable[Stage] = ()) -> list[Span]:
    """A run that has ended, its stages, and before it the request that it answers, if there was one."""
    context = run_context(ended, request)
    start_ms = ended.changed_at_ms - ended.duration_s * 1000
    said: Attributes = {
        "millrace.model": ended.model,
        "millrace.run.id": ended.run_id,
        "millrace.run.trigger": ended.trigger,
        "millrace.run.status": ended.status,
        "millrace.run.train_rows": ended.train_rows,
        "millrace.run.backend": ended.backend,
    }
    before = [] if request is None else [_request(request, start_ms)]
    cause = None if request is None else request_context(request)
    error = (ended.error or "failed") if ended.status == "FAILED" else None
    whole = Span(f"train {ended.model}", context, cause, start_ms, ended.changed_at_ms, said, error=error)
    parts = [
        Span(
            stage.name, next_context(context, f"{ended.run_id}/{place}"), context, stage.start_ms,
            min(stage.end_ms, ended.changed_at_ms),  # noted after the event was made
        )
        for place, stage in enumerate(stages)
    ]  # fmt: skip
    return [*before, whole, *parts]


def _request(request: RetrainModel, until_ms: float) -> Span:
    said: Attributes = {
        "millrace.model": request.model,
        "millrace.request.id": request.request_id,
        "millrace.request.reason": request.reason,
        "millrace.request.by": request.requested_by,
    }
    cause = None if request.caused_by is None else trace.root(request.caused_by)
    return Span("retrain request", request_context(request), cause, request.requested_at_ms, until_ms, said)


def version(decided: ModelVersionChanged, run_ended_ms: int, of_run: bytes | None) -> Span:
    """What the registry made of a run; ``of_run`` is the context of the run."""
    said: Attributes = {
        "millrace.model": decided.model,
        "millrace.version": 0 if decided.version is None else decided.version,
        "millrace.version.status": decided.status,
        "millrace.version.reasons": "; ".join(decided.reasons),
        "millrace.run.id": decided.run_id,
    }
    context = next_context(of_run, decided.change_id)
    return Span(f"decide {decided.model}", context, of_run, run_ended_ms, decided.changed_at_ms, said)


def deployment(decided: DeploymentDecided, since_ms: int, of_version: bytes | None) -> Span:
    """A deployment; ``since_ms`` is when what it follows was decided, ``of_version`` the context of the version."""
    said: Attributes = {
        "millrace.model": decided.model,
        "millrace.epoch": decided.epoch,
        "millrace.deployment.id": decided.deployment_id,
        "millrace.deployment.kind": decided.kind,
        "millrace.deployment.strategy": decided.strategy,
        "millrace.deployment.by": decided.decided_by,
        "millrace.deployment.reason": decided.reason,
        "millrace.traffic": [f"{part.variant}={part.version}:{part.share:g}" for part in decided.traffic],
    }
    context = next_context(of_version, decided.deployment_id)
    return Span(f"deploy {decided.model}", context, of_version, since_ms, decided.decided_at_ms, said)


def served(
    decided: DeploymentDecided, of_deployment: bytes, *, partition: int, offset: int, now_ms: int
) -> Span:  # fmt: skip
    """The first events of a partition are answered under a deployment; ``of_deployment`` is its context."""
    said: Attributes = {
        "millrace.model": decided.model,
        "millrace.epoch": decided.epoch,
        "millrace.version": decided.traffic[0].version,
        "millrace.partition": partition,
        "millrace.offset": offset,
    }
    context = next_context(of_deployment, f"{decided.deployment_id}/{partition}")
    return Span(f"serve {decided.model}", context, of_deployment, decided.decided_at_ms, now_ms, said)
