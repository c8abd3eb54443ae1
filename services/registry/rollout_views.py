"""The rollout under way, with what was measured of it. Pure."""

import math
from collections.abc import Iterable

from pydantic import Field

from millrace.contracts.events import ArmMeasured, PairMeasured, RolloutMeasured
from services.registry.history import Life
from services.registry.history_at import frozen, served
from services.registry.history_views import FreezeView, HistoryView, ShareView


class ArmView(HistoryView):
    """A variant over all partitions since the epoch began."""

    variant: str
    version: int
    mode: str
    assigned_rows: int
    answered_rows: int
    scored_rows: int
    error_rows: int
    missing_rows: int
    labelled_rows: int = Field(description="Events that it answered and whose label is known.")
    loss: float | None = Field(description="Mean loss on these, in the unit of the gate's metric; less is better.")
    scoring_us_per_row: float | None


class PairView(HistoryView):
    """A variant and the champion on the same labelled events, over all partitions since the epoch began."""

    variant: str
    version: int
    paired_rows: int
    better_rows: int
    worse_rows: int
    difference: float | None = Field(description="Mean of the variant's loss minus the champion's; below 0 is better.")


class RolloutView(HistoryView):
    """A rollout under way."""

    rollout_id: str
    strategy: str
    kind: str = Field(description="What the newest deployment decided.")
    step: int
    epoch: int
    unit: str
    began_at_ms: int
    step_began_at_ms: int
    reason: str
    traffic: list[ShareView]
    arms: list[ArmView] = Field(description="The evidence of this epoch, summed over the partitions.")
    pairs: list[PairView]
    total_arms: list[ArmView] = Field(description="The same since the rollout began, over all of its epochs.")
    total_pairs: list[PairView]
    evidence_ids: list[str] = Field(description="The measurements of this epoch.")
    measured_at_ms: int | None = Field(description="When the newest of them was made.")


class Rollouts(HistoryView):
    """What is tried out now, and whether anything may happen by itself."""

    model: str
    epoch: int | None
    rollouts: list[RolloutView] = Field(description="None, or one: a model has one rollout at a time.")
    frozen: FreezeView | None


def rollouts(life: Life) -> Rollouts:
    """The rollout that the newest deployment belongs to, if any."""
    newest = life.in_force(None)
    under_way = [] if newest is None or newest.rollout_id is None else [_rollout(life, newest.rollout_id)]
    return Rollouts(
        model=life.model, epoch=None if newest is None else newest.epoch, rollouts=under_way, frozen=frozen(life, None)
    )


def _rollout(life: Life, rollout_id: str) -> RolloutView:
    steps = life.rollout_of(rollout_id)
    newest = steps[-1]
    everything = [one for (of, _, _), one in life.evidence.items() if of == rollout_id]
    measured = [one for one in everything if one.epoch == newest.epoch]
    return RolloutView(
        rollout_id=rollout_id,
        strategy=newest.strategy,
        kind=newest.kind,
        step=newest.step,
        epoch=newest.epoch,
        unit=newest.unit,
        began_at_ms=steps[0].decided_at_ms,
        step_began_at_ms=newest.decided_at_ms,
        reason=newest.reason,
        traffic=served(life).traffic,
        arms=arms(measured),
        pairs=pairs(measured),
        total_arms=arms(everything),
        total_pairs=pairs(everything),
        evidence_ids=sorted(one.evidence_id for one in measured),
        measured_at_ms=max((one.measured_at_ms for one in measured), default=None),
    )


def arms(measured: Iterable[RolloutMeasured]) -> list[ArmView]:
    """Each variant, summed."""
    by_variant: dict[tuple[str, int], list[ArmMeasured]] = {}
    for one in measured:
        for arm in one.arms:
            by_variant.setdefault((arm.variant, arm.version), []).append(arm)
    return [_arm(variant, version, parts) for (variant, version), parts in by_variant.items()]


def _arm(variant: str, version: int, parts: list[ArmMeasured]) -> ArmView:
    labelled, scored = sum(one.labelled_rows for one in parts), sum(one.scored_rows for one in parts)
    return ArmView(
        variant=variant,
        version=version,
        mode=parts[-1].mode,
        assigned_rows=sum(one.assigned_rows for one in parts),
        answered_rows=sum(one.answered_rows for one in parts),
        scored_rows=scored,
        error_rows=sum(one.error_rows for one in parts),
        missing_rows=sum(one.missing_rows for one in parts),
        labelled_rows=labelled,
        loss=_mean(sum(one.loss_sum for one in parts), labelled),
        scoring_us_per_row=_mean(sum(one.scoring_us for one in parts), scored),
    )


def pairs(measured: Iterable[RolloutMeasured]) -> list[PairView]:
    """Each variant against the champion, summed."""
    by_variant: dict[tuple[str, int], list[PairMeasured]] = {}
    for one in measured:
        for pair in one.pairs:
            by_variant.setdefault((pair.variant, pair.version), []).append(pair)
    return [_pair(variant, version, parts) for (variant, version), parts in by_variant.items()]


def _pair(variant: str, version: int, parts: list[PairMeasured]) -> PairView:
    rows = sum(one.paired_rows for one in parts)
    return PairView(
        variant=variant,
        version=version,
        paired_rows=rows,
        better_rows=sum(one.better_rows for one in parts),
        worse_rows=sum(one.worse_rows for one in parts),
        difference=_mean(sum(one.difference_sum for one in parts), rows),
    )


def _mean(total: float, rows: int) -> float | None:
    """The mean; None of no rows, or where the sum is no number."""
    return total / rows if rows and math.isfinite(total) else None
