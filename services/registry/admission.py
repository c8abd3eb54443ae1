"""What becomes of a finished run: a version in development, or a rejection with its reasons. Pure."""

from millrace.contracts.events import ModelVersionChanged, TrainingRunChanged, VersionStatus
from services.registry.facts import DEVELOPMENT, Draft, Policy, alert
from services.registry.promote import judge


def admit(draft: Draft, policy: Policy, run: TrainingRunChanged, artifact_fault: str | None) -> Draft:
    """Judge one of ``pending``.

    Args:
        draft: what is known.
        policy: what the model project asks for.
        run: the run.
        artifact_fault: what is wrong with its files in the store, in words; None if they are whole.
    """
    state = draft.state
    verdict = judge(run, policy.gates, state.champion, None if state.in_force is None else state.in_force.feature_set)
    if run.artifact_sha256 is None:
        artifact_fault = "the run names no artefact"
    if verdict.admitted and artifact_fault is None:
        version = max(state.versions, default=0) + 1
        return draft.add(_decision(draft, run, version, "REGISTERED", verdict.reasons))
    faults = (*(() if verdict.admitted else verdict.reasons), *(() if artifact_fault is None else (artifact_fault,)))
    draft = draft.add(_decision(draft, run, None, "REJECTED", faults))
    if artifact_fault is None:
        return draft
    message = f"run {run.run_id} is rejected: {artifact_fault}; the last good version keeps serving, train again"
    return draft.add(alert(draft, "artifact-refused", run.run_id, message))


def _decision(
    draft: Draft, run: TrainingRunChanged, version: int | None, status: VersionStatus, reasons: tuple[str, ...]
) -> ModelVersionChanged:
    return ModelVersionChanged(
        change_id=f"version/{run.model}/{run.run_id if version is None else version}/{status}",
        model=run.model,
        version=version,
        status=status,
        run_id=run.run_id,
        artifact_sha256=run.artifact_sha256,
        feature_set=run.feature_set,
        metrics=run.metrics,
        reasons=reasons,
        caused_by=run.run_id,
        changed_at_ms=draft.now_ms,
        space=DEVELOPMENT,
        source=run.source,
        golden_sha256=run.golden_sha256,
    )
