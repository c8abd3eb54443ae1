"""From a deployment back to the drift event behind it, as far as the log tells. Pure."""

from collections.abc import Sequence

from millrace.contracts.events import DeploymentDecided
from services.registry.history import Life, shares, subject_of
from services.registry.history_views import CauseView


def chain(life: Life, deployment: DeploymentDecided) -> list[CauseView]:
    """Each link is caused by the next one: deployment, measurement, request, promotion, registration, run, trigger.

    A person's request ends its own line of causes; what follows it is where the version comes from.
    """
    links = [_deployed(deployment)]
    if deployment.evidence_id is not None:
        links.append(_link(life, deployment.evidence_id)[0])
    _follow(life, deployment.caused_by, links)
    version = subject_of(deployment)
    if version is not None and not any(link.kind == "training run" for link in links):
        registered = next(iter(life.versions.get(version, [])), None)
        if registered is not None:
            _follow(life, registered.change_id, links)
    return links


def _follow(life: Life, cause: str | None, links: list[CauseView]) -> None:
    """Add the links from a cause on, until one is unknown or was told already."""
    while cause is not None and all(link.id != cause for link in links):
        link, cause = _link(life, cause)
        links.append(link)


def _link(life: Life, cause: str) -> tuple[CauseView, str | None]:
    """What has this id, and the id of its own cause; None where the line ends."""
    if (change := life.changes.get(cause)) is not None:
        named = f"version {change.version}" if change.version is not None else f"run {change.run_id}"
        what = f"{named} {change.status}: {'; '.join(change.reasons)}"
        return CauseView(kind="version", id=cause, what=what, at_ms=change.changed_at_ms), change.caused_by
    if (run := life.runs.get(cause)) is not None:
        rows = f"{run.train_rows} rows trained on, judged on {run.holdout_rows}, seed {run.seed}, code {run.code_hash}"
        return CauseView(kind="training run", id=cause, what=rows, at_ms=run.changed_at_ms), _trigger(life, cause)
    if (retrain := life.retrains.get(cause)) is not None:
        what = f"{retrain.reason} by {retrain.requested_by}: {retrain.message}"
        view = CauseView(kind="retrain request", id=cause, what=what, at_ms=retrain.requested_at_ms)
        return view, retrain.caused_by
    return _of_a_rollout(life, cause)


def _of_a_rollout(life: Life, cause: str) -> tuple[CauseView, str | None]:
    if (request := life.requests.get(cause)) is not None:
        what = f"{request.action} asked by {request.requested_by}: {request.reason}"
        return CauseView(kind="request", id=cause, what=what, at_ms=request.requested_at_ms), None
    if (audit := life.audits.get(cause)) is not None:
        what = f"{audit.action} {audit.outcome} by {audit.actor}: {audit.reason}"
        return CauseView(kind="audit", id=cause, what=what, at_ms=audit.recorded_at_ms), audit.caused_by
    deployed = next((one for one in life.deployments if one.deployment_id == cause), None)
    steps = life.rollout_of(cause) if deployed is None else life.rollout_of(deployed.rollout_id)
    if deployed is not None and deployed in steps[1:]:  # many steps are one link
        return _rollout(steps), steps[0].deployment_id
    if deployed is not None:
        return _deployed(deployed), deployed.caused_by
    if steps:
        measured = next((one for one in life.evidence.values() if one.evidence_id == cause), None)
        at_ms = None if measured is None else measured.measured_at_ms
        return CauseView(kind="measurement", id=cause, what=f"of {steps[0].rollout_id}", at_ms=at_ms), steps[
            0
        ].deployment_id
    return _unknown(life, cause), None


def _rollout(steps: Sequence[DeploymentDecided]) -> CauseView:
    """The steps of a rollout as one link."""
    first, last = steps[0], steps[-1]
    what = f"{first.strategy} rollout in {len(steps)} steps, epochs {first.epoch} to {last.epoch}; {shares(last)}"
    return CauseView(kind="rollout", id=first.rollout_id or "", what=what, at_ms=last.decided_at_ms)


def _unknown(life: Life, cause: str) -> CauseView:
    """An id that the control topics do not explain: a snapshot, a drift event where those were not read."""
    if (drift := life.drifts.get(cause)) is not None:
        what = f"{drift.detector} on {drift.subject}: {drift.before:g} became {drift.after:g}"
        return CauseView(kind="drift event", id=cause, what=what, at_ms=drift.detected_at_ms)
    if any(retrain.caused_by == cause for retrain in life.retrains.values()):
        return CauseView(kind="drift event", id=cause, what="", at_ms=None)
    run = next((run for run in life.runs.values() if run.caused_by == cause), None)
    return CauseView(kind="cause" if run is None else "trigger", id=cause, what="" if run is None else run.trigger,
                     at_ms=None)  # fmt: skip


def _trigger(life: Life, run_id: str) -> str:
    return life.runs[run_id].caused_by


def _deployed(deployment: DeploymentDecided) -> CauseView:
    return CauseView(
        kind="deployment", id=deployment.deployment_id, what=deployment.reason, at_ms=deployment.decided_at_ms
    )
