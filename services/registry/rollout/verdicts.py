"""What may follow from the evidence of a rollout."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Guardrail = Literal["errors", "missing", "latency", "metric", "horizon", "no-labels"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing changes for now."""

    reason: str


@dataclass(frozen=True, slots=True)
class Shift:
    """New shares, by variant, the champion's too: a canary's next step, a bandit's rebalance, or an arm put out."""

    shares: Mapping[str, float]
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """That variant's version becomes champion."""

    variant: str
    reason: str


@dataclass(frozen=True, slots=True)
class RollBack:
    """The champion has it all again. ``guardrail`` is what failed."""

    reason: str
    guardrail: Guardrail


Verdict = Hold | Shift | Promote | RollBack
