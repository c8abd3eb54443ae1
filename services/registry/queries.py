"""Questions to the projection. They block: callers run them in a thread."""

from collections.abc import Sequence

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from millrace.contracts.rollout_policy import Spaces
from services.registry import paging, rows
from services.registry.history import CHAMPION, champion_of
from services.registry.history_chain import chain
from services.registry.history_line import told
from services.registry.history_views import History
from services.registry.paging import LIMIT
from services.registry.rollout_views import Rollouts, rollouts
from services.registry.tables import Audit, Change, Deployment, Run, Serving, Version
from services.registry.views import (
    Audits,
    AuditView,
    ChampionView,
    ChangeView,
    Deployments,
    DeploymentView,
    ModelDetail,
    ModelView,
    ServingView,
    TrafficView,
    Versions,
    VersionView,
)


class NotKnownError(LookupError):
    """What was asked for is not there; the message names it and what there is."""


def models(session: Session) -> list[ModelView]:
    """Every model that the log speaks of."""
    return [_model(session, name) for name in _names(session)]


def model(session: Session, name: str) -> ModelDetail:
    """One model and what it really serves."""
    known(session, name)
    newest = _newest(session, name)
    traffic = [TrafficView(**part) for part in newest.traffic] if newest else []
    return ModelDetail(**dict(_model(session, name)), traffic=traffic, serving=_serving_now(session, name))


def versions(session: Session, name: str, cursor: str | None = None, limit: int = LIMIT) -> Versions:
    """A page of versions and rejected runs, newest first."""
    known(session, name)
    below, decides = paging.decode("versions", cursor), or_(Change.status == "REGISTERED", Change.version.is_(None))
    found = select(Change).where(Change.model == name, decides).order_by(Change.log_offset.desc()).limit(limit + 1)
    if below is not None:
        found = found.where(Change.log_offset < below)
    shown, following = paging.page("versions", session.scalars(found).all(), lambda row: row.log_offset, limit)
    views = [version_view(session, decision) for decision in shown]
    return Versions(
        model=name,
        versions=[view for view in views if view.version is not None],
        rejected=[view for view in views if view.version is None],
        next=following,
    )


def deployments(session: Session, name: str, cursor: str | None = None, limit: int = LIMIT) -> Deployments:
    """A page of deployments, newest first."""
    known(session, name)
    below = paging.decode("deployments", cursor)
    found = select(Deployment).where(Deployment.model == name).order_by(Deployment.epoch.desc()).limit(limit + 1)
    if below is not None:
        found = found.where(Deployment.epoch < below)
    shown, following = paging.page("deployments", session.scalars(found).all(), lambda row: row.epoch, limit)
    return Deployments(model=name, deployments=[_deployment(session, row) for row in shown], next=following)


def audits(session: Session, name: str, cursor: str | None = None, limit: int = LIMIT) -> Audits:
    """A page of the audit log, newest first."""
    known(session, name)
    below = paging.decode("audit", cursor)
    found = select(Audit).where(Audit.about == name).order_by(Audit.log_offset.desc()).limit(limit + 1)
    if below is not None:
        found = found.where(Audit.log_offset < below)
    shown, following = paging.page("audit", session.scalars(found).all(), lambda row: row.log_offset, limit)
    return Audits(model=name, audits=[AuditView.model_validate(row) for row in shown], next=following)


def history(session: Session, name: str, at_ms: int | None, spaces: Spaces | None) -> History:
    """What served at a time; without a time, what serves and the whole life."""
    known(session, name)
    return told(rows.life(session, name), at_ms, spaces)


def under_way(session: Session, name: str) -> Rollouts:
    """What is tried out now."""
    known(session, name)
    return rollouts(rows.life(session, name, *rows.OF_A_ROLLOUT))


def champion(session: Session, name: str, at_ms: int | None) -> ChampionView:
    """The champion in force at a time (None: now), with the chain of causes that put it there."""
    known(session, name)
    life = rows.life(session, name)
    deployment = life.in_force(at_ms)
    if not life.deployments:
        raise NotKnownError(f"model {name!r} was never deployed, so nothing served")
    if deployment is None:
        first = life.deployments[0].decided_at_ms
        raise NotKnownError(f"nothing of model {name!r} served at {at_ms} ms: its first deployment was at {first} ms")
    part, following = champion_of(deployment), life.after(deployment)
    if part is None:
        raise NotKnownError(f"{deployment.deployment_id}, in force at {at_ms} ms, has no champion")
    return ChampionView(
        model=name,
        at_ms=at_ms,
        version=part.version,
        epoch=deployment.epoch,
        deployment_id=deployment.deployment_id,
        since_ms=deployment.decided_at_ms,
        until_ms=None if following is None else following.decided_at_ms,
        reason=deployment.reason,
        decided_by=deployment.decided_by,
        chain=chain(life, deployment),
        serving=_serving(session, name, deployment.epoch),
    )


def epoch(session: Session, name: str) -> int:
    """Epoch of a model's newest deployment; 0 before the first, and for a model that nobody knows."""
    return session.scalar(select(func.max(Deployment.epoch)).where(Deployment.model == name)) or 0


def knows(session: Session, name: str) -> bool:
    """Whether the log speaks of a model."""
    return name in _names(session)


def _names(session: Session) -> list[str]:
    tables = (Run, Change, Deployment, Audit)  # what was only asked for may be a typing error
    return sorted({name for table in tables for name in session.scalars(select(table.model).distinct()) if name})


def known(session: Session, name: str) -> None:
    """Refuse a model that the log does not speak of: ``NotKnownError``."""
    names = _names(session)
    if name not in names:
        raise NotKnownError(f"no model {name!r} is known; known are {names}")


def _newest(session: Session, name: str) -> Deployment | None:
    found = select(Deployment).where(Deployment.model == name).order_by(Deployment.epoch.desc())
    return session.scalars(found.limit(1)).first()


def _model(session: Session, name: str) -> ModelView:
    newest = _newest(session, name)
    traffic = newest.traffic if newest else []
    rejections = select(func.count()).select_from(Change).where(Change.model == name, Change.version.is_(None))
    registered = select(func.count()).select_from(Version).where(Version.model == name)
    return ModelView(
        model=name,
        champion=next((part["version"] for part in traffic if part["variant"] == CHAMPION), None),
        epoch=newest.epoch if newest else None,
        deployed_at_ms=newest.decided_at_ms if newest else None,
        scoring_since_ms=newest.scoring_since_ms if newest else None,
        reason=newest.reason if newest else None,
        versions=session.scalar(registered) or 0,
        rejected=session.scalar(rejections) or 0,
    )


def version_view(session: Session, decision: Change) -> VersionView:
    """A version, or a rejected run, with the facts of its life."""
    run = session.get(Run, (decision.model, decision.run_id))
    changes: Sequence[Change] = [decision]
    if decision.version is not None:
        of_it = (Change.model == decision.model, Change.version == decision.version)
        changes = session.scalars(select(Change).where(*of_it).order_by(Change.log_offset)).all()
    newest = changes[-1]
    return VersionView(
        version=decision.version,
        status=newest.status,
        run_id=decision.run_id,
        artifact_sha256=decision.artifact_sha256,
        feature_set=decision.feature_set,
        metrics=decision.metrics,
        champion_version=run.champion_version if run else None,
        champion_metrics=run.champion_metrics if run else {},
        trigger=run.trigger if run else None,
        caused_by=run.caused_by if run else None,
        reasons=decision.reasons,
        decided_at_ms=decision.changed_at_ms,
        history=[ChangeView.model_validate(change) for change in changes],
        space=newest.space,
        approved_by=next((change.approved_by for change in reversed(changes) if change.approved_by), []),
        source=decision.source,
        golden_sha256=decision.golden_sha256,
        signature=newest.signature,
        key_id=newest.key_id,
    )


def _deployment(session: Session, row: Deployment) -> DeploymentView:
    own = {name: getattr(row, name) for name in DeploymentView.model_fields if name not in {"traffic", "serving"}}
    return DeploymentView(
        **own, traffic=[TrafficView(**part) for part in row.traffic], serving=_serving(session, row.model, row.epoch)
    )


def _serving(session: Session, name: str, epoch: int) -> list[ServingView]:
    found = select(Serving).where(Serving.model == name, Serving.epoch == epoch)
    rows = session.scalars(found.order_by(Serving.partition, Serving.status))
    return [ServingView.model_validate(row) for row in rows]


def _serving_now(session: Session, name: str) -> list[ServingView]:
    """Per partition and status the newest epoch; a failure is over once that epoch or a later one serves."""
    rows = session.scalars(select(Serving).where(Serving.model == name).order_by(Serving.epoch))
    newest = {(row.partition, row.status): row for row in rows}
    shown = []
    for (partition, status), row in sorted(newest.items()):
        serving = newest.get((partition, "SERVING"))
        if status == "SERVING" or serving is None or serving.epoch < row.epoch:
            shown.append(ServingView.model_validate(row))
    return shown
