"""Measurements and deployments made by hand, for examples, tests and simulations: what is not said is 0."""

from collections.abc import Sequence
from typing import Any

from millrace.contracts.rollout_events import ArmMeasured, DeploymentDecided, PairMeasured, RolloutMeasured, Traffic

ROLLOUT_ID = "rollout/m/2"
_ARM: dict[str, Any] = {
    "assigned_rows": 0, "answered_rows": 0, "scored_rows": 0, "error_rows": 0, "missing_rows": 0, "scoring_us": 0,
    "labelled_rows": 0, "loss_sum": 0.0, "loss_squares_sum": 0.0,
}  # fmt: skip


def arm(variant: str, *, version: int | None = None, mode: str = "LIVE", **counts: float) -> ArmMeasured:
    """A variant's counts; the champion is version 1, any other 2."""
    number = version if version is not None else 1 if variant == "champion" else 2
    return ArmMeasured(variant=variant, version=number, mode=mode, **{**_ARM, **counts})


def pair(rows: int, *, worse: int = 0, better: int = 0, variant: str = "candidate") -> PairMeasured:
    """The candidate beside the champion on labelled events, judged as right or wrong."""
    return PairMeasured(
        variant=variant, version=2, paired_rows=rows, better_rows=better, worse_rows=worse,
        difference_sum=float(worse - better), difference_squares_sum=float(worse + better),
    )  # fmt: skip


def measured(
    *,
    epoch: int = 2,
    partition: int = 0,
    until_offset: int = 0,
    arms: Sequence[ArmMeasured] = (),
    pairs: Sequence[PairMeasured] = (),
    measured_at_ms: int = 0,
) -> RolloutMeasured:
    """A measurement of the rollout ``ROLLOUT_ID``."""
    return RolloutMeasured(
        evidence_id=f"evidence/m/{ROLLOUT_ID}/{epoch}/{partition}/{until_offset}", model="m", rollout_id=ROLLOUT_ID,
        epoch=epoch, partition=partition, until_offset=until_offset, arms=tuple(arms), pairs=tuple(pairs),
        until_time_ms=0, measured_at_ms=measured_at_ms,
    )  # fmt: skip


def deployed(
    strategy: str, shares: Sequence[tuple[str, float]], *, epoch: int = 2, step: int = 0, mode: str = "LIVE"
) -> DeploymentDecided:
    """A deployment of that rollout at the time 0; the champion gets what the others leave."""
    rest = 1.0 - sum(share for _, share in shares)
    parts = [Traffic(variant="champion", version=1, share=rest, artifact_sha256="a", feature_set="f")]
    parts += [
        Traffic(variant=name, version=2 + at, share=share, artifact_sha256="b", feature_set="f", mode=mode)
        for at, (name, share) in enumerate(shares)
    ]
    return DeploymentDecided(
        deployment_id=f"deployment/m/{epoch}", model="m", epoch=epoch, traffic=tuple(parts), scoring_since_ms=0,
        caused_by="c", reason="r", decided_by="registry", decided_at_ms=0, strategy=strategy, rollout_id=ROLLOUT_ID,
        step=step,
    )  # fmt: skip
