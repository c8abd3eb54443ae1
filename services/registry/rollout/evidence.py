"""What is known of a rollout: the newest measurement of each epoch and partition, and their sums.

Measurements are cumulative, so the newest replaces the older ones, and an old one that is read again changes nothing.
Everything else is a sum over partitions: their order does not matter.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TypeVar

from millrace.contracts.rollout_events import ArmMeasured, PairMeasured, RolloutMeasured

ARM_SUMS = (
    "assigned_rows", "answered_rows", "scored_rows", "error_rows", "missing_rows", "scoring_us", "labelled_rows",
    "loss_sum", "loss_squares_sum", "scoring_batches",
)  # fmt: skip
Part = TypeVar("Part", ArmMeasured, PairMeasured)
PAIR_SUMS = ("paired_rows", "better_rows", "worse_rows", "difference_sum", "difference_squares_sum")


@dataclass(frozen=True, slots=True)
class Evidence:
    """The measurements of one rollout.

    Parameters:
        measured: the newest by (epoch, partition).
        labelled_at_ms: when the labelled rows of an epoch last grew, by epoch; wall time of the monitor. It only says
            how long to wait for more: who begins from stored measurements knows the newest, and waits from that on.
            So two that differ in nothing else are equal.

    >>> from services.registry.rollout.examples import arm, measured
    >>> first = measured(partition=0, until_offset=10, arms=[arm("candidate", scored_rows=8, error_rows=1)])
    >>> other = measured(partition=1, until_offset=30, arms=[arm("candidate", scored_rows=5)])
    >>> newer = measured(partition=0, until_offset=20, arms=[arm("candidate", scored_rows=18, error_rows=2)])
    >>> evidence = Evidence().add(newer).add(other).add(first)  # the last one is old
    >>> seen = evidence.arms()["candidate"]
    >>> seen.scored_rows, seen.error_rows
    (23, 2)
    """

    measured: Mapping[tuple[int, int], RolloutMeasured] = field(default_factory=dict)
    labelled_at_ms: Mapping[int, int] = field(default_factory=dict, compare=False)

    def add(self, event: RolloutMeasured) -> "Evidence":
        """With that measurement, unless a newer one of its epoch and partition is known."""
        place = (event.epoch, event.partition)
        known = self.measured.get(place)
        if known is not None and event.until_offset < known.until_offset:
            return self
        labelled = dict(self.labelled_at_ms)
        if _labelled(event) > (0 if known is None else _labelled(known)):
            labelled[event.epoch] = max(event.measured_at_ms, labelled.get(event.epoch, 0))
        return Evidence({**self.measured, place: event}, labelled)

    def arms(self, epoch: int | None = None) -> Mapping[str, ArmMeasured]:
        """The sums of each variant in that epoch, or in all of them."""
        return _sums((arm for event in self._of(epoch) for arm in event.arms), ARM_SUMS)

    def pairs(self, epoch: int | None = None) -> Mapping[str, PairMeasured]:
        """The sums of each variant beside the champion in that epoch, or in all of them."""
        return _sums((pair for event in self._of(epoch) for pair in event.pairs), PAIR_SUMS)

    @property
    def newest_id(self) -> str | None:
        """Id of what was measured last; None before the first measurement."""
        if not self.measured:
            return None
        return max(self.measured.values(), key=lambda one: (one.measured_at_ms, one.epoch, one.partition)).evidence_id

    def _of(self, epoch: int | None) -> Iterator[RolloutMeasured]:
        """In the order of epoch and partition, so that sums of doubles are equal however the events came."""
        return (self.measured[place] for place in sorted(self.measured) if epoch in {None, place[0]})


def _sums(parts: Iterator[Part], names: Sequence[str]) -> Mapping[str, Part]:
    """By variant; what is no sum is that of the newest epoch."""
    found: dict[str, list[Part]] = {}
    for part in parts:
        found.setdefault(part.variant, []).append(part)
    return {variant: some[0] if len(some) == 1 else _sum(some, names) for variant, some in found.items()}


def _sum(some: Sequence[Part], names: Sequence[str]) -> Part:
    columns = zip(*map(attrgetter(*names), some), strict=True)
    return some[-1].model_copy(update=dict(zip(names, map(sum, columns), strict=True)))


def _labelled(event: RolloutMeasured) -> int:
    return sum(arm.labelled_rows for arm in event.arms) + sum(pair.paired_rows for pair in event.pairs)
