"""What served at a time, by whose word and why; and why nothing else did. Pure questions to a ``Life``."""

from collections.abc import Iterator

from millrace.contracts.events import AuditRecorded, DeploymentDecided, Traffic, TrainingRunChanged
from millrace.contracts.rollout_policy import Spaces
from services.registry.history import ENDED, STOPPED, Life, champion_of
from services.registry.history_chain import chain
from services.registry.history_views import ApprovalView, FreezeView, OtherView, PartitionView, ServedView, ShareView

STOPPED_AS = {"ROLLED_BACK": "rolled back", "ABORTED": "aborted"}


def served(life: Life, at_ms: int | None = None, spaces: Spaces | None = None) -> ServedView:
    """What served at a time; now, if none is given.

    Args:
        life: the model's events.
        at_ms: the time. Decisions count from when they were made, what partitions serve from when it took effect.
        spaces: who has to agree before a version enters, by today's model.yaml; None where that is not at hand. Then a
            version that waits is not told for how many approvals.
    """
    deployment = life.in_force(at_ms)
    traffic = () if deployment is None else deployment.traffic
    approvals = [one for part in traffic for one in life.approvals(part.version, at_ms)]
    following = None if deployment is None else life.after(deployment)
    return ServedView(
        model=life.model,
        at_ms=at_ms,
        epoch=deployment and deployment.epoch,
        deployment_id=deployment and deployment.deployment_id,
        kind=deployment and deployment.kind,
        strategy=deployment and deployment.strategy,
        rollout_id=deployment and deployment.rollout_id,
        step=deployment and deployment.step,
        space=deployment and deployment.space,
        since_ms=deployment and deployment.decided_at_ms,
        until_ms=following and following.decided_at_ms,
        decided_by=deployment and deployment.decided_by,
        reason=deployment and deployment.reason,
        evidence_id=deployment and deployment.evidence_id,
        traffic=[_share(life, part, at_ms) for part in traffic],
        partitions=partitions(life, at_ms),
        approvals=[approval(life, one) for one in approvals],
        chain=[] if deployment is None else chain(life, deployment),
        others=sorted(_others(life, deployment, at_ms, spaces), key=lambda one: -(one.at_ms or 0)),
        frozen=frozen(life, at_ms),
    )


def frozen(life: Life, at_ms: int | None) -> FreezeView | None:
    """The freeze that holds at a time."""
    audit = life.frozen(at_ms)
    if audit is None:
        return None
    return FreezeView(
        by=life.person(audit), reason=_said(life, audit), since_ms=audit.recorded_at_ms, audit_id=audit.audit_id
    )


def approval(life: Life, audit: AuditRecorded) -> ApprovalView:
    """An accepted approval."""
    return ApprovalView(
        version=audit.version,
        space=audit.space,
        by=life.person(audit),
        reason=_said(life, audit),
        at_ms=audit.recorded_at_ms,
        audit_id=audit.audit_id,
    )


def approvers(life: Life, version: int, at_ms: int | None) -> list[str]:
    """Who approved a version: by the registry's own word, else by the approvals themselves."""
    changes = [one for one in life.versions.get(version, []) if at_ms is None or one.changed_at_ms <= at_ms]
    official = [name for change in changes for name in change.approved_by]
    found = official or [life.person(one) for one in life.approvals(version, at_ms)]
    return list(dict.fromkeys(found))


def partitions(life: Life, at_ms: int | None) -> list[PartitionView]:
    """Per partition the newest epoch that took effect by a time, and a later one that could not be loaded."""
    newest: dict[tuple[int, str], PartitionView] = {}
    for effect in sorted(life.effects.values(), key=lambda one: one.epoch):
        if at_ms is None or effect.first_at_ms <= at_ms:
            view = PartitionView(
                partition=effect.partition,
                epoch=effect.epoch,
                version=effect.version,
                status=effect.status,
                from_offset=effect.from_offset,
                since_ms=effect.first_at_ms,
                process=effect.process,
                reason=effect.reason,
            )
            newest[effect.partition, effect.status] = view
    return [
        view
        for (partition, status), view in sorted(newest.items())
        if status == "SERVING" or (partition, "SERVING") not in newest
        or newest[partition, "SERVING"].epoch < view.epoch
    ]  # fmt: skip


def _share(life: Life, part: Traffic, at_ms: int | None) -> ShareView:
    registered = next(iter(life.versions.get(part.version, [])), None)
    return ShareView(
        variant=part.variant,
        version=part.version,
        share=part.share,
        mode=part.mode,
        run_id=registered and registered.run_id,
        source="trained" if registered is None else registered.source,
        approved_by=approvers(life, part.version, at_ms),
    )


def _others(
    life: Life, deployment: DeploymentDecided | None, at_ms: int | None, spaces: Spaces | None
) -> Iterator[OtherView]:
    """Each version and run of that time that is not in the traffic, with the event that says why."""
    served_now = set() if deployment is None else {part.version for part in deployment.traffic}
    for version, changes in life.versions.items():
        known = at_ms is None or changes[0].changed_at_ms <= at_ms
        if version not in served_now and known:
            yield _idle(life, version, at_ms, spaces)
    for change in life.rejected.values():
        if at_ms is None or change.changed_at_ms <= at_ms:
            yield OtherView(
                version=change.version, run_id=change.run_id, state="rejected", why="; ".join(change.reasons),
                id=change.change_id, at_ms=change.changed_at_ms,
            )  # fmt: skip
    for run in life.runs.values():
        decision = life.decision(run.run_id)
        undecided = decision is None or (at_ms is not None and decision.changed_at_ms > at_ms)
        state = _run_state(run, at_ms) if undecided else None
        if state is not None:
            yield OtherView(
                version=None, run_id=run.run_id, state=state[0], why=state[1], id=run.run_id, at_ms=run.changed_at_ms
            )


def _run_state(run: TrainingRunChanged, at_ms: int | None) -> tuple[str, str] | None:
    """Where an undecided run stood; None if it had not begun."""
    if at_ms is None or run.changed_at_ms <= at_ms:
        match run.status:
            case "FAILED":
                return "failed", run.error or "it failed without a word"
            case "SUCCEEDED":
                return "waiting", "the run succeeded, and nobody has decided about it yet"
            case _:
                return "under way", "the run had not ended"
    if run.changed_at_ms - run.duration_s * 1000 <= at_ms:
        return "under way", "the run had not ended"
    return None


def _idle(life: Life, version: int, at_ms: int | None, spaces: Spaces | None) -> OtherView:
    """Why a registered version did not serve: the newest of what dropped, retired, or never let it in."""
    changes = [one for one in life.versions[version] if at_ms is None or one.changed_at_ms <= at_ms]
    run_id, dropped = changes[0].run_id, _dropped(life, version, at_ms)
    if dropped is not None and dropped.kind in STOPPED:
        return OtherView(
            version=version, run_id=run_id, state=STOPPED_AS[dropped.kind], why=dropped.reason,
            id=dropped.deployment_id, evidence_id=dropped.evidence_id, at_ms=dropped.decided_at_ms,
        )  # fmt: skip
    if changes[-1].status in ENDED:
        return OtherView(
            version=version, run_id=run_id, state=changes[-1].status.lower(), why="; ".join(changes[-1].reasons),
            id=changes[-1].change_id, at_ms=changes[-1].changed_at_ms,
        )  # fmt: skip
    if dropped is not None:
        champion = champion_of(dropped)
        by = "" if champion is None else f"by version {champion.version}: "
        return OtherView(
            version=version, run_id=run_id, state="replaced", why=f"{by}{dropped.reason}", id=dropped.deployment_id,
            evidence_id=dropped.evidence_id, at_ms=dropped.decided_at_ms,
        )  # fmt: skip
    return _waiting(life, version, at_ms, spaces)


def _dropped(life: Life, version: int, at_ms: int | None) -> DeploymentDecided | None:
    """The newest deployment that took a version out of the traffic."""
    found, was_in = None, False
    for one in life.deployments:
        if at_ms is not None and one.decided_at_ms > at_ms:
            break
        is_in = any(part.version == version for part in one.traffic)
        if was_in and not is_in:
            found = one
        was_in = is_in
    return found


def _waiting(life: Life, version: int, at_ms: int | None, spaces: Spaces | None) -> OtherView:
    """What a version waits for that nothing ever deployed: a person, a rollout's end, the end of a freeze."""
    newest = [one for one in life.versions[version] if at_ms is None or one.changed_at_ms <= at_ms][-1]
    return OtherView(
        version=version, run_id=newest.run_id, state="waiting", why="; ".join(_waits_for(life, version, at_ms, spaces)),
        id=newest.change_id, at_ms=newest.changed_at_ms,
    )  # fmt: skip


def _waits_for(life: Life, version: int, at_ms: int | None, spaces: Spaces | None) -> Iterator[str]:
    given = life.approvals(version, at_ms)
    for name in () if spaces is None else ("development", "test", "production"):
        here = {life.person(one) for one in given if (one.space or "production") == name}
        needed = getattr(spaces, name).approvals
        if len(here) < needed:
            names = f", given by {', '.join(sorted(here))}" if here else ""
            yield f"waiting for approval of {name}: {len(here)} of {needed}{names}"
    freeze = frozen(life, at_ms)
    if freeze is not None:
        yield f"frozen by {freeze.by}: {freeze.reason}"
    deployment = life.in_force(at_ms)
    if deployment is not None and deployment.rollout_id is not None:
        yield f"{deployment.rollout_id} is under way"
    words = ", ".join(f"{life.person(one)} for {one.space or 'production'}" for one in given)
    yield f"registered and never deployed{f', approved by {words}' if words else ''}"


def _said(life: Life, audit: AuditRecorded) -> str:
    """The words of whoever asked; the registry's own where nobody did."""
    request = life.requests.get(audit.caused_by or "")
    return audit.reason if request is None else request.reason
