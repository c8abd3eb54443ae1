"""From many rollouts to rates, and from rates to a verdict: is what was promised kept?

What is promised. *Canary and shadow*: a candidate that is worse by the margin or more is promoted with a chance of at
most alpha; one that is no worse, and within its share of errors, is stopped by a guardrail with a chance of at most
alpha for each guardrail that it comes near to. *A/B*: one that is no better is promoted with a chance of at most
alpha, and one that is no worse stopped as above. *Bandit*: it promises no error rate; it must lose less than sending
half of the events to each. Where events come in bunches the assumptions do not hold and nothing is promised: what then
happens is told. A rate is over its promise when chance explains it with three standard errors no more.
"""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from benchmarks.rollouts_drive import Ended
from benchmarks.rollouts_worlds import POLICIES, World

SIGMAS = 3.0
TOO_LONG = ("horizon", "open")  # no guardrail: nothing was shown in time
Figures = dict[str, Any]


def figures(policy: str, world: World, ends: Sequence[Ended]) -> Figures:
    """What came out in one world under one policy."""
    count = len(ends)
    by = Counter(end.how for end in ends)
    promoted, stopped = by["promoted"], count - by["promoted"] - sum(by[name] for name in TOO_LONG)
    touched = sum(end.touched for end in ends)
    return {
        "seeds": count,
        "promoted_share": promoted / count,
        "rolled_back_share": (count - promoted - by["open"]) / count,
        "ended_by": {name: seen / count for name, seen in sorted(by.items())},
        "rows_to_decision_median": statistics.median(end.rows for end in ends),
        "touched_share": touched / sum(end.events for end in ends),
        "touched_events_median": statistics.median(end.touched for end in ends),
        "false_promotion": _rate(promoted / count, is_bad(policy, world), promised_promotion(policy, world), count),
        "false_rollback": _rate(stopped / count, is_sound(policy, world), promised_rollback(policy, world), count),
        "regret": _regret(policy, world, ends),
    }


def is_bad(policy: str, world: World) -> bool:
    """Whether promoting it is an error: worse by the margin, or failing more often than allowed."""
    rules = POLICIES[policy].guardrails
    limit = 0.0 if policy == "ab" else -rules.loss_margin
    worse = world.gain < 0 if policy == "bandit" else world.gain <= limit
    return worse or world.errors > rules.error_share_max


def is_sound(policy: str, world: World) -> bool:
    """Whether a guardrail that stops it errs."""
    return world.gain >= 0 and world.errors <= POLICIES[policy].guardrails.error_share_max


def promised_promotion(policy: str, world: World) -> float | None:
    """The promised bound on false promotions; None if none is promised."""
    if policy == "bandit" or not is_bad(policy, world):
        return None
    rules = POLICIES[policy].guardrails
    by_metric = world.gain <= (0.0 if policy == "ab" else -rules.loss_margin)
    return rules.alpha if by_metric else None


def promised_rollback(policy: str, world: World) -> float | None:
    """The promised bound on false rollbacks: alpha for each guardrail that a sound candidate comes near to."""
    if not is_sound(policy, world) or world.bunch:
        return None
    return POLICIES[policy].guardrails.alpha * (1 + (world.errors > 0))


def faults(policies: dict[str, dict[str, Figures]]) -> list[str]:
    """Each promise that was broken, in words."""
    found = []
    for policy, worlds in policies.items():
        for world, seen in worlds.items():
            for what in ("false_promotion", "false_rollback"):
                rate = seen[what]
                if rate is not None and rate["exceeded"]:
                    found.append(f"{policy}, {world}: {what} {rate['rate']:.4f} is above the promised "
                                 f"{rate['promised']:g} by more than chance")  # fmt: skip
            regret = seen["regret"]
            if regret is not None and regret["bandit"] > regret["uniform"]:
                found.append(f"{policy}, {world}: regret {regret['bandit']:.1f} is above {regret['uniform']:.1f}, that "
                             "of half and half")  # fmt: skip
    return found


def _rate(rate: float, applies: bool, promised: float | None, count: int) -> Figures | None:  # noqa: FBT001
    """The rate beside its promise; None where it would be no error.

    >>> _rate(0.06, True, 0.05, 2000)["exceeded"], _rate(0.07, True, 0.05, 2000)["exceeded"]
    (False, True)
    """
    if not applies:
        return None
    error = 0.0 if promised is None else math.sqrt(promised * (1 - promised) / count)
    exceeded = promised is not None and rate > promised + SIGMAS * error
    return {"rate": rate, "promised": promised, "standard_error": error, "exceeded": exceeded}


def _regret(policy: str, world: World, ends: Sequence[Ended]) -> Figures | None:
    """Right answers lost against always asking the better version, in the mean of all seeds."""
    if policy != "bandit" or not world.gap or world.errors:
        return None
    worse = [end.touched if world.gain < 0 else end.events - end.touched for end in ends]
    events = statistics.fmean(end.events for end in ends)
    return {
        "bandit": world.gap * statistics.fmean(worse),
        "uniform": world.gap * events / 2,
        "best_fixed_arm": 0.0,
        "events": events,
    }
