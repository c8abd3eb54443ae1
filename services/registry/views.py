"""What the API answers with. Times are milliseconds since 1970-01-01T00:00:00Z; a metric that is no number is null."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from services.registry.history_views import CauseView


def _numbers(metrics: Any) -> Any:
    return {name: value if math.isfinite(value) else None for name, value in dict(metrics).items()}


def _number(value: Any) -> Any:
    return value if value is None or math.isfinite(value) else None


Metrics = Annotated[dict[str, float | None], BeforeValidator(_numbers)]
Number = Annotated[float | None, BeforeValidator(_number)]


class _View(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class ModelView(_View):
    """A model in one line: what serves, since when, and why."""

    model: str
    champion: int | None = Field(description="Version in force; null before the first deployment.")
    epoch: int | None = Field(description="Epoch of the newest deployment.")
    deployed_at_ms: int | None
    scoring_since_ms: int | None = Field(description="Samples appended before it are not scored.")
    reason: str | None = Field(description="Why the newest deployment was decided.")
    versions: int = Field(description="How many versions were registered.")
    rejected: int = Field(description="How many runs were rejected.")


class ServingView(_View):
    """What a serving process said about one partition under one epoch."""

    partition: int
    epoch: int
    version: int
    status: str = Field(description="SERVING, or FAILED: it could not load it and the last good version goes on.")
    process: str
    from_offset: int = Field(description="First samples offset scored under this epoch.")
    reason: str | None
    first_at_ms: int = Field(description="When it took effect.")
    reported_at_ms: int = Field(description="When it was last said.")


class TrafficView(_View):
    """The part of one version in a deployment."""

    variant: str
    version: int
    share: float
    artifact_sha256: str
    feature_set: str
    mode: str = Field("LIVE", description="LIVE, or SHADOW: it scores unseen, with a share of 0.")
    golden_sha256: str | None = None
    signature: str | None = Field(None, description="Ed25519 signature, base64; null where versions are not signed.")
    key_id: str | None = None


class ModelDetail(ModelView):
    """A model with what each partition really serves."""

    traffic: list[TrafficView]
    serving: list[ServingView] = Field(description="Per partition the newest epoch that took effect or failed to.")


class ChangeView(_View):
    """One fact in the life of a version."""

    change_id: str
    status: str
    reasons: list[str]
    caused_by: str
    changed_at_ms: int
    space: str = Field(description="Space that the fact is about.")
    approved_by: list[str]


class CheckView(_View):
    """One named test of a candidate."""

    name: str
    passed: bool
    value: Number
    limit: Number
    message: str


class VersionView(_View):
    """A version, or a run that was rejected and got no number."""

    version: int | None
    status: str
    run_id: str
    artifact_sha256: str | None
    feature_set: str
    metrics: Metrics
    champion_version: int | None = Field(description="Version that the run was compared with.")
    champion_metrics: Metrics
    trigger: str | None = Field(description="Kind of cause of the run; null if its record is not known.")
    caused_by: str | None = Field(description="Id of the snapshot or retrain request that caused the run.")
    reasons: list[str] = Field(description="Why it was admitted or rejected.")
    decided_at_ms: int
    history: list[ChangeView]
    space: str = Field("production", description="Space that its newest fact is about.")
    approved_by: list[str] = Field(default_factory=list, description="Who approved it, when somebody last had to.")
    source: str = Field("trained", description="trained, or imported.")
    golden_sha256: str | None = None
    signature: str | None = Field(None, description="Its signature for the space; null where versions are not signed.")
    key_id: str | None = None


class VersionDetail(VersionView):
    """A version with all that its run told."""

    model: str
    served: list["ServedUnder"] = Field(description="The deployments that gave it traffic, oldest first.")
    checks: list[CheckView]
    train_rows: int | None
    holdout_rows: int | None
    family: str | None
    params: dict[str, str]
    window: str | None
    baselines: Metrics
    backend: str | None
    because: str | None = Field(description="In words, what caused the run.")
    snapshot_id: str | None
    table_version: int | None
    rows_sha256: str | None
    code_hash: str | None
    config_hash: str | None
    lock_hash: str | None
    seed: int | None
    expectations_id: str | None
    record_sha256: str | None


class ServedUnder(_View):
    """A deployment that gave a version traffic."""

    epoch: int
    deployment_id: str
    variant: str
    share: float
    mode: str
    from_ms: int
    until_ms: int | None = Field(description="When the next deployment was decided; null if it is in force.")


class DeploymentView(_View):
    """A deployment and what became of it."""

    deployment_id: str
    epoch: int
    traffic: list[TrafficView]
    scoring_since_ms: int
    caused_by: str
    reason: str
    decided_by: str
    decided_at_ms: int
    kind: str = Field(description="DEPLOYED, ROLLOUT_STARTED, ADVANCED, REBALANCED, PROMOTED, ROLLED_BACK or ABORTED.")
    strategy: str
    rollout_id: str | None
    step: int
    unit: str
    space: str
    evidence_id: str | None
    serving: list[ServingView] = Field(description="What serving said about this epoch.")


class ChampionView(_View):
    """What served at a time, and why."""

    model: str
    at_ms: int | None = Field(description="The time that was asked for; null for now.")
    version: int
    epoch: int
    deployment_id: str
    since_ms: int = Field(description="When it was decided; `serving` says when it took effect.")
    until_ms: int | None = Field(description="When the next deployment was decided; null if it is in force.")
    reason: str
    decided_by: str
    chain: list[CauseView] = Field(description="From the deployment back to what triggered the training run.")
    serving: list[ServingView]


class Models(_View):
    """All models in the log."""

    models: list[ModelView]


Next = Annotated[str | None, Field(description="Cursor of the next page; null on the last one.")]


class Versions(_View):
    """Versions of a model, and rejected runs, newest first. A page counts both together."""

    model: str
    versions: list[VersionView]
    rejected: list[VersionView]
    next: Next = None


class Deployments(_View):
    """Deployments of a model, newest first."""

    model: str
    deployments: list[DeploymentView]
    next: Next = None


class AuditView(_View):
    """Who did what, or asked for what and was refused, and why."""

    audit_id: str
    actor: str
    action: str
    subject: str
    reason: str
    caused_by: str | None = Field(description="Id of the request or the event behind it.")
    recorded_at_ms: int
    version: int | None
    epoch: int | None = Field(description="Epoch that came of it; null if none did.")
    outcome: str = Field(description="ACCEPTED, or REFUSED: the reason says why.")
    space: str | None


class Audits(_View):
    """The audit log of a model, newest first."""

    model: str
    audits: list[AuditView]
    next: Next = None
