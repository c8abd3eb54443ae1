"""One look at a rollout: what was asked for, what is deployed, what is known, and when."""

from collections.abc import Mapping
from dataclasses import dataclass

from millrace.contracts.events import DeploymentDecided
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_events import ArmMeasured, PairMeasured
from millrace.contracts.rollout_policy import Guardrails, Rollout
from services.registry.rollout.evidence import Evidence

CHAMPION = "champion"
SEVERAL = ("ab", "bandit")  # strategies that may try more than one version
PAIRED = ("canary", "shadow")  # strategies that compare on the same events
_NOTHING = {
    "version": 0, "mode": "LIVE", "assigned_rows": 0, "answered_rows": 0, "scored_rows": 0, "error_rows": 0,
    "missing_rows": 0, "scoring_us": 0, "labelled_rows": 0, "loss_sum": 0.0, "loss_squares_sum": 0.0,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What a verdict is made of. ``arms`` and ``pairs`` are sums over the whole rollout, ``*_now`` of this epoch."""

    rollout: Rollout
    gates: Gates
    deployment: DeploymentDecided
    evidence: Evidence
    now_ms: int
    arms: Mapping[str, ArmMeasured]
    arms_now: Mapping[str, ArmMeasured]
    pairs: Mapping[str, PairMeasured]
    pairs_now: Mapping[str, PairMeasured]

    @classmethod
    def at(
        cls, rollout: Rollout, gates: Gates, deployment: DeploymentDecided, evidence: Evidence, now_ms: int
    ) -> "Look":
        """The evidence summed once."""
        epoch = deployment.epoch
        arms, pairs = evidence.arms(), evidence.pairs()
        only = all(measured == epoch for measured, _ in evidence.measured)  # then nothing has to be summed twice
        arms_now, pairs_now = (arms, pairs) if only else (evidence.arms(epoch), evidence.pairs(epoch))
        return cls(rollout, gates, deployment, evidence, now_ms, arms, arms_now, pairs, pairs_now)

    @property
    def guardrails(self) -> Guardrails:
        """What the project allows."""
        return self.rollout.guardrails

    @property
    def shares(self) -> dict[str, float]:
        """What each variant has now; one that was put out has 0."""
        return {part.variant: part.share for part in self.deployment.traffic}

    @property
    def tried(self) -> list[str]:
        """The variants beside the champion; in A/B tests and bandits those that still have a share."""
        others = [part for part in self.deployment.traffic if part.variant != CHAMPION]
        if self.deployment.strategy in SEVERAL:
            others = [part for part in others if part.share > 0]
        return [part.variant for part in others]

    def arm(self, variant: str) -> ArmMeasured:
        """Its sums over the whole rollout; zeros if nothing was measured."""
        return self.arms.get(variant) or nothing(variant)

    def arm_now(self, variant: str) -> ArmMeasured:
        """Its sums in this epoch; zeros if nothing was measured."""
        return self.arms_now.get(variant) or nothing(variant)

    @property
    def labelled(self) -> int:
        """Labelled events of the whole rollout: those that were compared, or, if none are, those of each variant."""
        return _labelled(self.arms, self.pairs, paired=self.deployment.strategy in PAIRED)

    @property
    def labelled_now(self) -> int:
        """The same of this epoch."""
        return _labelled(self.arms_now, self.pairs_now, paired=self.deployment.strategy in PAIRED)

    @property
    def silent_s(self) -> float:
        """Seconds since the deployment, or since labels came for its epoch."""
        since = max(self.deployment.decided_at_ms, self.evidence.labelled_at_ms.get(self.deployment.epoch, 0))
        return (self.now_ms - since) / 1000


def attempted(arm: ArmMeasured) -> int:
    """Events that it tried to score. Those without an answer count, whether or not they are among ``scored_rows``."""
    return max(arm.scored_rows, arm.error_rows + arm.missing_rows)


def nothing(variant: str) -> ArmMeasured:
    """A variant of which nothing is known."""
    return ArmMeasured.model_validate({"variant": variant, **_NOTHING})


def _labelled(arms: Mapping[str, ArmMeasured], pairs: Mapping[str, PairMeasured], *, paired: bool) -> int:
    if paired:
        return max((pair.paired_rows for pair in pairs.values()), default=0)
    return sum(arm.labelled_rows for arm in arms.values())
