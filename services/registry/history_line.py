"""A model's whole life, one entry per event, oldest first. Pure."""

from collections.abc import Iterator

from millrace.contracts.rollout_policy import Spaces
from services.registry.history import STOPPED, Life, shares, subject_of
from services.registry.history_at import served
from services.registry.history_views import EntryView, History, PartitionView


def told(life: Life, at_ms: int | None, spaces: Spaces | None = None) -> History:
    """What served at a time; without a time, what serves now and the whole life."""
    events = timeline(life) if at_ms is None else []
    return History(model=life.model, served=served(life, at_ms, spaces), events=events)


def timeline(life: Life) -> list[EntryView]:
    """Every event. What happened in the same millisecond stands in the order of cause and effect."""
    lines = [*_training(life), *_asked(life), *_versions(life), *_deployed(life), *_failed(life)]
    return [entry for _, _, entry in sorted(lines, key=lambda line: (line[2].at_ms, line[0], line[1]))]


RETRAIN, RUN, REQUEST, BEFORE, DEPLOYMENT, AFTER, EFFECT = range(7)  # cause and effect in the same millisecond
Line = tuple[int, int, EntryView]  # rank and place among its like, to order what happened at the same time


def _training(life: Life) -> Iterator[Line]:
    for place, retrain in enumerate(life.retrains.values()):
        yield RETRAIN, place, EntryView(
            at_ms=retrain.requested_at_ms, what="retrain asked", id=retrain.request_id, by=retrain.requested_by,
            why=retrain.message, caused_by=retrain.caused_by,
        )  # fmt: skip
    for place, run in enumerate(life.runs.values()):
        why = run.error if run.status == "FAILED" and run.error else run.because or run.trigger
        yield (
            1,
            place,
            EntryView(
                at_ms=run.changed_at_ms,
                what=f"run {run.status.lower()}",
                id=run.run_id,
                why=why,
                caused_by=run.caused_by,
            ),
        )


def _asked(life: Life) -> Iterator[Line]:
    """What people asked, each with its answer; and what else the audit log holds that no other entry tells."""
    answers = {one.caused_by: one for one in reversed(life.audits.values())}  # the first one stands
    for place, request in enumerate(life.requests.values()):
        answer = answers.get(request.request_id)
        told = "not answered" if answer is None else answer.outcome.lower()
        why = request.reason
        if answer is not None and answer.outcome != "ACCEPTED":
            why = f"{request.reason}; refused: {answer.reason}"
        yield REQUEST, place, EntryView(
            at_ms=request.requested_at_ms if answer is None else answer.recorded_at_ms,
            what=f"{request.action.lower()} {told}", id=request.request_id, version=request.version,
            epoch=None if answer is None else answer.epoch, by=request.requested_by, why=why,
        )  # fmt: skip
    elsewhere = {*life.requests, *life.retrains, *life.changes, *(one.deployment_id for one in life.deployments)}
    for place, audit in enumerate(life.audits.values()):
        if audit.caused_by not in elsewhere:
            yield REQUEST, place, EntryView(
                at_ms=audit.recorded_at_ms, what=f"{audit.action} {audit.outcome.lower()}", id=audit.audit_id,
                version=audit.version, epoch=audit.epoch, by=audit.actor, why=audit.reason, caused_by=audit.caused_by,
            )  # fmt: skip


def _versions(life: Life) -> Iterator[Line]:
    """Facts about versions. What follows from a deployment stands after it, and with its rollout."""
    rollouts = dict(_rollouts(life))
    for place, change in enumerate(life.changes.values()):
        follows = change.caused_by in rollouts
        if follows:
            rollouts[change.change_id] = rollouts[change.caused_by]
        space = "" if change.version is None or change.space == "production" else f" ({change.space})"
        yield AFTER if follows else BEFORE, place, EntryView(
            at_ms=change.changed_at_ms, what=f"{change.status.lower()}{space}", id=change.change_id,
            version=change.version, rollout_id=rollouts.get(change.caused_by),
            by=", ".join(change.approved_by) or None, why="; ".join(change.reasons), caused_by=change.caused_by,
        )  # fmt: skip


def _rollouts(life: Life) -> Iterator[tuple[str, str | None]]:
    """Each deployment's rollout; the one that ended a rollout belongs to it."""
    under_way = None
    for one in life.deployments:
        yield one.deployment_id, one.rollout_id or under_way
        under_way = one.rollout_id


def _deployed(life: Life) -> Iterator[Line]:
    rollouts, effects, tried = dict(_rollouts(life)), _effects(life), None
    for place, one in enumerate(life.deployments):
        stopped = tried if one.kind in STOPPED else None
        tried = subject_of(one)
        yield DEPLOYMENT, place, EntryView(
            at_ms=one.decided_at_ms, what=one.kind.lower().replace("_", " "), id=one.deployment_id,
            version=stopped or tried, epoch=one.epoch, rollout_id=rollouts[one.deployment_id], traffic=shares(one),
            by=one.decided_by, why=one.reason, caused_by=one.caused_by, took_effect=effects.get(one.epoch, []),
        )  # fmt: skip


def _failed(life: Life) -> Iterator[Line]:
    """What could not be loaded; where it could, the deployment's own entry says so."""
    for place, effect in enumerate(sorted(life.effects.values(), key=lambda one: (one.epoch, one.partition))):
        if effect.status == "FAILED":
            yield EFFECT, place, EntryView(
                at_ms=effect.first_at_ms, what="loading failed", id=f"serving/{effect.epoch}/{effect.partition}",
                version=effect.version, epoch=effect.epoch, by=effect.process,
                why=f"partition {effect.partition}: {effect.reason}",
            )  # fmt: skip


def _effects(life: Life) -> dict[int, list[PartitionView]]:
    """What each partition made of each epoch."""
    found: dict[int, list[PartitionView]] = {}
    for one in sorted(life.effects.values(), key=lambda one: one.partition):
        if one.status == "SERVING":
            view = PartitionView(
                partition=one.partition, epoch=one.epoch, version=one.version, status=one.status,
                from_offset=one.from_offset, since_ms=one.first_at_ms, process=one.process, reason=one.reason,
            )  # fmt: skip
            found.setdefault(one.epoch, []).append(view)
    return found
