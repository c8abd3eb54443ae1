"""Questions to the projection. They block: callers run them in a thread."""

from collections import defaultdict
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.registry.core import CHAMPION
from services.registry.tables import Change, Deployment, Run, Serving, Version
from services.registry.views import (
    CauseView,
    ChampionView,
    ChangeView,
    DeploymentView,
    ModelDetail,
    ModelView,
    ServingView,
    TrafficView,
    VersionView,
)


class NotKnownError(LookupError):
    """What was asked for is not there; the message names it and what there is."""


def models(session: Session) -> list[ModelView]:
    """Every model that the log speaks of."""
    return [_model(session, name) for name in _names(session)]


def model(session: Session, name: str) -> ModelDetail:
    """One model and what it really serves."""
    _must_know(session, name)
    newest = _deployments(session, name)[:1]
    traffic = [TrafficView(**part) for deployment in newest for part in deployment.traffic]
    return ModelDetail(**dict(_model(session, name)), traffic=traffic, serving=_serving_now(session, name))


def versions(session: Session, name: str) -> tuple[list[VersionView], list[VersionView]]:
    """Versions and rejected runs, newest first."""
    _must_know(session, name)
    runs = {run.run_id: run for run in session.scalars(select(Run).where(Run.model == name))}
    history: defaultdict[int, list[Change]] = defaultdict(list)
    rejected = []
    for change in session.scalars(select(Change).where(Change.model == name).order_by(Change.log_offset)):
        if change.version is None or change.status == "REJECTED":
            rejected.append(_version(change, [change], runs.get(change.run_id)))
        else:
            history[change.version].append(change)
    numbered = [_version(changes[0], changes, runs.get(changes[0].run_id)) for _, changes in sorted(history.items())]
    return numbered[::-1], rejected[::-1]


def deployments(session: Session, name: str) -> list[DeploymentView]:
    """All deployments, newest first."""
    _must_know(session, name)
    return [
        DeploymentView(
            deployment_id=row.deployment_id,
            epoch=row.epoch,
            traffic=[TrafficView(**part) for part in row.traffic],
            scoring_since_ms=row.scoring_since_ms,
            caused_by=row.caused_by,
            reason=row.reason,
            decided_by=row.decided_by,
            decided_at_ms=row.decided_at_ms,
            serving=_serving(session, name, row.epoch),
        )
        for row in _deployments(session, name)
    ]


def champion(session: Session, name: str, at_ms: int | None) -> ChampionView:
    """The champion in force at a time (None: now), with the chain of causes that put it there."""
    _must_know(session, name)
    known = _deployments(session, name)
    if not known:
        raise NotKnownError(f"model {name!r} was never deployed, so nothing served")
    place = next((n for n, row in enumerate(known) if at_ms is None or row.decided_at_ms <= at_ms), None)
    if place is None:
        first = known[-1].decided_at_ms
        raise NotKnownError(f"nothing of model {name!r} served at {at_ms} ms: its first deployment was at {first} ms")
    row = known[place]
    number = next((int(part["version"]) for part in row.traffic if part["variant"] == CHAMPION), None)
    if number is None:
        raise NotKnownError(f"{row.deployment_id}, in force at {at_ms} ms, has no champion")
    return ChampionView(
        model=name,
        at_ms=at_ms,
        version=number,
        epoch=row.epoch,
        deployment_id=row.deployment_id,
        since_ms=row.decided_at_ms,
        until_ms=known[place - 1].decided_at_ms if place else None,
        reason=row.reason,
        decided_by=row.decided_by,
        chain=_chain(session, row),
        serving=_serving(session, name, row.epoch),
    )


def _names(session: Session) -> list[str]:
    found = {name for table in (Run, Change, Deployment) for name in session.scalars(select(table.model).distinct())}
    return sorted(found)


def _must_know(session: Session, name: str) -> None:
    names = _names(session)
    if name not in names:
        raise NotKnownError(f"no model {name!r} is known; known are {names}")


def _deployments(session: Session, name: str) -> Sequence[Deployment]:
    found = select(Deployment).where(Deployment.model == name).order_by(Deployment.epoch.desc())
    return session.scalars(found).all()


def _model(session: Session, name: str) -> ModelView:
    newest = next(iter(_deployments(session, name)), None)
    traffic = newest.traffic if newest else []
    rejections = select(func.count()).select_from(Change).where(Change.model == name, Change.status == "REJECTED")
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


def _version(decision: Change, changes: list[Change], run: Run | None) -> VersionView:
    return VersionView(
        version=decision.version,
        status=changes[-1].status,
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


def _chain(session: Session, deployment: Deployment) -> list[CauseView]:
    """Deployment, promotion, registration, run, trigger; as far back as the log tells."""
    chain = [
        CauseView(
            kind="deployment", id=deployment.deployment_id, what=deployment.reason, at_ms=deployment.decided_at_ms
        )
    ]
    cause = deployment.caused_by
    while (change := _change(session, cause)) is not None and all(link.id != cause for link in chain):
        what = f"version {change.version} {change.status}: {'; '.join(change.reasons)}"
        chain.append(CauseView(kind="version", id=cause, what=what, at_ms=change.changed_at_ms))
        cause = change.caused_by
    run = session.get(Run, (deployment.model, cause))
    if run is None:
        return chain
    rows = f"{run.train_rows} rows trained on, judged on {run.holdout_rows}, seed {run.seed}, code {run.code_hash}"
    chain.append(CauseView(kind="training run", id=cause, what=rows, at_ms=run.changed_at_ms))
    return [*chain, CauseView(kind="trigger", id=run.caused_by, what=run.trigger, at_ms=None)]


def _change(session: Session, change_id: str) -> Change | None:
    return session.scalars(select(Change).where(Change.change_id == change_id).order_by(Change.log_offset)).first()
