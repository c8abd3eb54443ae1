"""What the API answers with. Times are milliseconds since 1970-01-01T00:00:00Z; a metric that is no number is null."""

import math
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _numbers(metrics: Any) -> Any:
    return {name: value if math.isfinite(value) else None for name, value in dict(metrics).items()}


Metrics = Annotated[dict[str, float | None], BeforeValidator(_numbers)]


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
    serving: list[ServingView] = Field(description="What serving said about this epoch.")


class CauseView(_View):
    """One link of a causal chain; its cause is the next one."""

    kind: str
    id: str
    what: str
    at_ms: int | None


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


class Versions(_View):
    """All versions of a model, and all rejected runs, newest first."""

    model: str
    versions: list[VersionView]
    rejected: list[VersionView]


class Deployments(_View):
    """All deployments of a model, newest first."""

    model: str
    deployments: list[DeploymentView]
