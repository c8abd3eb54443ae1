"""Events of deployments and rollouts: what is decided, what was measured, what people ask for. See ``events.py``."""

from typing import Literal

from millrace.contracts.event_base import Event, Value

ManageAction = Literal[
    "UNKNOWN", "APPROVE", "REJECT", "PROMOTE", "ROLLBACK", "ABORT", "FREEZE", "UNFREEZE", "KILL", "RETIRE"
]


class Traffic(Value):
    """The part of one version in a deployment."""

    variant: str
    version: int
    share: float
    artifact_sha256: str
    feature_set: str
    mode: str = "LIVE"
    golden_sha256: str | None = None
    signature: str | None = None
    key_id: str | None = None


class DeploymentDecided(Event):
    """The traffic that each version shall get from now on."""

    schema_name = "deployment-decided"

    deployment_id: str
    model: str
    epoch: int
    traffic: tuple[Traffic, ...]
    scoring_since_ms: int
    caused_by: str
    reason: str
    decided_by: str
    decided_at_ms: int
    kind: str = "DEPLOYED"
    strategy: str = "immediate"
    rollout_id: str | None = None
    step: int = 0
    unit: str = "entity"
    space: str = "production"
    evidence_id: str | None = None


class VariantScored(Value):
    """What one variant did with a frame's rows."""

    variant: str
    version: int
    mode: str
    assigned_rows: int
    answered_rows: int
    scored_rows: int
    error_rows: int
    missing_rows: int
    scoring_us: int
    scoring_batches: int = 0


class ArmMeasured(Value):
    """One variant of a rollout in one partition since an epoch began."""

    variant: str
    version: int
    mode: str
    assigned_rows: int
    answered_rows: int
    scored_rows: int
    error_rows: int
    missing_rows: int
    scoring_us: int
    labelled_rows: int
    loss_sum: float
    loss_squares_sum: float
    scoring_batches: int = 0


class PairMeasured(Value):
    """A variant and the champion on the same labelled events."""

    variant: str
    version: int
    paired_rows: int
    better_rows: int
    worse_rows: int
    difference_sum: float
    difference_squares_sum: float


class RolloutMeasured(Event):
    """What a partition has seen of a rollout since an epoch of it began."""

    schema_name = "rollout-measured"

    evidence_id: str
    model: str
    rollout_id: str
    epoch: int
    partition: int
    until_offset: int
    arms: tuple[ArmMeasured, ...]
    pairs: tuple[PairMeasured, ...]
    until_time_ms: int
    measured_at_ms: int


class ManageModel(Event):
    """A person's request to the registry."""

    schema_name = "manage-model"

    request_id: str
    model: str
    action: ManageAction
    version: int | None
    space: str | None
    expected_epoch: int | None
    immediate: bool
    reason: str
    requested_by: str
    requested_at_ms: int
