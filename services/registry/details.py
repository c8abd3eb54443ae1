"""One version in full: what its run told, where it served, and its model card. Questions to the projection."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.registry import rows
from services.registry.cards import Card, card
from services.registry.queries import NotKnownError, known, version_view
from services.registry.tables import Change, Deployment, Run, Version
from services.registry.views import CheckView, ServedUnder, VersionDetail


def version(session: Session, model: str, number: int) -> VersionDetail:
    """A version with all that its run told."""
    known(session, model)
    of_it = (Change.model == model, Change.version == number, Change.status == "REGISTERED")
    decision = session.scalars(select(Change).where(*of_it).order_by(Change.log_offset)).first()
    if decision is None:
        there = session.scalars(select(Version.version).where(Version.model == model).order_by(Version.version)).all()
        raise NotKnownError(f"model {model!r} has no version {number}; it has {list(there)}")
    run = session.get(Run, (model, decision.run_id))
    checks = [] if run is None else [CheckView.model_validate(check) for check in run.checks]
    own = {name: getattr(run, name, None) for name in _OF_THE_RUN}
    return VersionDetail(
        **dict(version_view(session, decision)),
        **own,
        model=model,
        served=served(session, model, number),
        checks=checks,
        params={} if run is None else run.params,
        baselines={} if run is None else run.baselines,
    )


_OF_THE_RUN = VersionDetail.model_fields.keys() & {
    "train_rows", "holdout_rows", "family", "window", "backend", "because", "snapshot_id", "table_version",
    "rows_sha256", "code_hash", "config_hash", "lock_hash", "seed", "expectations_id", "record_sha256",
}  # fmt: skip


def served(session: Session, model: str, number: int) -> list[ServedUnder]:
    """The deployments that gave a version traffic, oldest first."""
    rows = session.scalars(select(Deployment).where(Deployment.model == model).order_by(Deployment.epoch)).all()
    ends: list[int | None] = [row.decided_at_ms for row in rows[1:]]
    ends += [None] * bool(rows)  # the last one is in force
    return [
        ServedUnder(
            epoch=row.epoch,
            deployment_id=row.deployment_id,
            variant=part["variant"],
            share=part["share"],
            mode=part["mode"],
            from_ms=row.decided_at_ms,
            until_ms=end,
        )
        for row, end in zip(rows, ends, strict=True)
        for part in row.traffic
        if part["version"] == number
    ]


def model_card(session: Session, model: str, number: int) -> Card:
    """The model card of a version."""
    detail = version(session, model, number)
    run = session.get(Run, (model, detail.run_id))
    return card(
        detail, rows.life(session, model), [] if run is None else run.ranges, [] if run is None else run.excluded
    )
