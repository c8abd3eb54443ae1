"""What needs no labels: errors, missing scores and time, judged on counts.

Each share is tested on the whole rollout with half of alpha, and on the present epoch with the rest, which is dealt out
over the steps as 1/2, 1/6, 1/12, … (they sum to 1). So a version that was sound for long and then fails is found as
soon as a new one, and all looks at all steps together err with a chance of at most alpha for each guardrail.

Time is no test but a ratio of sums, of the rollout and of its epoch. Sums are small where models are quick: on a busy
machine one stalled micro-batch outweighs hundreds. So it asks for several micro-batches, and for an excess that no
stall explains.
"""

from collections.abc import Iterator
from typing import Literal

from millrace.contracts.rollout_events import ArmMeasured
from millrace.contracts.rollout_policy import Guardrails
from services.registry.rollout import binomial
from services.registry.rollout.look import CHAMPION, Look, attempted
from services.registry.rollout.verdicts import Guardrail

Counted = Literal["errors", "missing"]
COUNTED: tuple[Counted, ...] = ("errors", "missing")
BATCHES_MIN = 10
EXCESS_US_MIN = 50_000  # a scheduler gives others 10 to 20 ms at a time; measured here: 22 ms for a sound version
WORDS = {"errors": "error share", "missing": "share of missing scores"}


def failed(look: Look, variant: str) -> tuple[Guardrail, str] | None:
    """The first guardrail that this variant failed, and why; None if it is within all.

    >>> from millrace.contracts.gates_policy import Gates
    >>> from millrace.contracts.rollout_policy import Rollout
    >>> from services.registry.rollout.evidence import Evidence
    >>> from services.registry.rollout.examples import arm, deployed, measured
    >>> seen = Evidence().add(measured(arms=[arm("candidate", scored_rows=200, error_rows=8)]))
    >>> canary = deployed("canary", [("candidate", 0.1)])
    >>> failed(Look.at(Rollout(strategy="canary"), Gates(first=0.6), canary, seen, 0), "candidate")
    ('errors', 'error share 4.0 % of 200 events is above 1.0 %')
    """
    alpha, step = look.guardrails.alpha / 2, look.deployment.step
    for what in COUNTED:
        limit = limit_of(look, what)
        for arm, level in (
            (look.arm(variant), alpha),
            (look.arm_now(variant), alpha / ((step + 1) * (step + 2))),
        ):
            if binomial.is_above(faults_of(arm, what), attempted(arm), limit, level):
                return what, _share(what, arm, limit)
    for arm, champion in ((look.arm(variant), look.arm(CHAMPION)), (look.arm_now(variant), look.arm_now(CHAMPION))):
        slow = _slow(look.guardrails, arm, champion)
        if slow is not None:
            return "latency", slow
    return None


def doubts(look: Look, variant: str) -> Iterator[str]:
    """Why its share may not grow yet, although no guardrail has failed."""
    arm, least = look.arm(variant), look.guardrails.rows_min
    if attempted(arm) < least:
        yield f"{variant} has scored {attempted(arm)} of the {least} events before which its faults are not judged"
    for what in COUNTED:
        if faults_of(arm, what) > limit_of(look, what) * attempted(arm):
            yield f"{_share(what, arm, limit_of(look, what))}, which may be chance"


def limit_of(look: Look, what: Counted) -> float:
    """The share that is allowed."""
    rules = look.guardrails
    return rules.error_share_max if what == "errors" else rules.missing_share_max


def faults_of(arm: ArmMeasured, what: Counted) -> int:
    """How many there were."""
    return arm.error_rows if what == "errors" else arm.missing_rows


def _share(what: Counted, arm: ArmMeasured, limit: float) -> str:
    rows = attempted(arm)
    seen = faults_of(arm, what) / max(rows, 1)
    return f"{WORDS[what]} {100 * seen:.1f} % of {rows} events is above {100 * limit:.1f} %"


def _slow(rules: Guardrails, arm: ArmMeasured, champion: ArmMeasured) -> str | None:
    """Its time per event beside the champion's. Batches were not counted before they were asked for: 0 is unknown."""
    if 0 < arm.scoring_batches < BATCHES_MIN:
        return None
    if min(arm.scored_rows, champion.scored_rows) < max(rules.rows_min, 1) or champion.scoring_us <= 0:
        return None
    ours, theirs = arm.scoring_us / arm.scored_rows, champion.scoring_us / champion.scored_rows
    excess_us = (ours - theirs) * arm.scored_rows
    if ours <= rules.scoring_ratio_max * theirs or excess_us < EXCESS_US_MIN:
        return None
    return (
        f"scoring takes {ours:.0f} us an event over {arm.scored_rows} events, {ours / theirs:.1f} times the champion's "
        f"{theirs:.0f} us; at most {rules.scoring_ratio_max:g} times is allowed"
    )
