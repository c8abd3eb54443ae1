"""What follows from the evidence of a rollout: hold, shift traffic, promote or roll back.

Rules:

- A guardrail comes first: errors, missing scores and time need no labels. In an A/B test or a bandit with several arms
  the arm that fails is put out, and the others go on; else it is a rollback.
- Without labels of the present epoch nothing grows and nobody is promoted, except in blue-green, which asks for none.
  After ``give_up_s`` without any the champion has it all again.
- Canary and shadow compare on the same events. Shown to be worse: rollback. A step asks for ``step_rows`` compared
  events of its own epoch and a difference within the margin as far as seen; promotion asks for proof that
  the candidate is not worse by ``loss_margin``. ``rows_max`` compared events of one epoch without a verdict are a
  rollback.
- An A/B test is judged once, at its horizon; a bandit follows its posteriors.
- A verdict is a function of sums, of the deployment and of the time. More errors never soften it.
"""

from collections.abc import Callable, Mapping

from millrace.contracts.events import DeploymentDecided
from millrace.contracts.gates_policy import Gates
from millrace.contracts.rollout_policy import Rollout
from services.registry.rollout import blue_green, canary, horizon, thompson
from services.registry.rollout.evidence import Evidence
from services.registry.rollout.guardrails import failed
from services.registry.rollout.look import CHAMPION, SEVERAL, Look
from services.registry.rollout.verdicts import Guardrail, Hold, Promote, RollBack, Shift, Verdict

__all__ = ["Guardrail", "Hold", "Promote", "RollBack", "Shift", "Verdict", "opening", "verdict_on"]

STRATEGIES: Mapping[str, Callable[[Look], Verdict]] = {
    "canary": canary.steps,
    "shadow": canary.shadow,
    "blue_green": blue_green.judge,
    "ab": horizon.judge,
    "bandit": thompson.judge,
}


def verdict_on(
    rollout: Rollout, gates: Gates, deployment: DeploymentDecided, evidence: Evidence, now_ms: int
) -> Hold | Shift | Promote | RollBack:
    """Judge a rollout that is under way.

    Parameters:
        rollout: what the model project asks for.
        gates: its metric is what losses are measured in.
        deployment: the newest one; its strategy and step are what is under way.
        evidence: what was measured in all epochs of this rollout, and of no other.
        now_ms: wall time.

    >>> from services.registry.rollout.examples import arm, deployed, measured, pair
    >>> rollout = Rollout(strategy="canary", steps=(0.1, 0.5), step_rows=50)
    >>> seen = Evidence().add(measured(arms=[arm("candidate", scored_rows=60)], pairs=[pair(60, worse=2, better=2)]))
    >>> verdict_on(rollout, Gates(first=0.6), deployed("canary", [("candidate", 0.1)]), seen, now_ms=0)
    ... # doctest: +NORMALIZE_WHITESPACE
    Shift(shares={'champion': 0.5, 'candidate': 0.5}, step=1,
        reason='60 compared events under a share of 10.0 %: loss differs by +0.000, within the margin of 0.02')
    """
    if deployment.strategy not in STRATEGIES:
        return Hold(f"strategy {deployment.strategy} tries nothing out")
    if deployment.rollout_id is None:
        return Hold("no rollout is under way")
    look = Look.at(rollout, gates, deployment, evidence, now_ms)
    if not look.tried:
        return RollBack("no variant beside the champion has any traffic", "horizon")
    stopped = _stopped(look)
    if stopped is not None:
        return stopped
    found = STRATEGIES[deployment.strategy](look)
    if isinstance(found, Hold) and look.silent_s >= rollout.give_up_s:
        return _given_up(look) or found
    return found


def opening(rollout: Rollout) -> tuple[float, str]:
    """Share and mode of the candidate in a rollout's first deployment.

    A bandit begins with half: with no evidence each is the best with the same chance. Several arms share it.

    >>> opening(Rollout(strategy="canary", steps=(0.1, 0.5))), opening(Rollout(strategy="shadow"))
    ((0.1, 'LIVE'), (0.0, 'SHADOW'))
    """
    shares = {"canary": rollout.steps[0], "ab": rollout.candidate_share, "bandit": 0.5, "immediate": 1.0}
    share = shares.get(rollout.strategy)
    return (0.0, "SHADOW") if share is None else (share, "LIVE")


def _stopped(look: Look) -> Verdict | None:
    """The rollback, or the shift that puts an arm out, if a variant has failed a guardrail."""
    for variant in look.tried:
        fault = failed(look, variant)
        if fault is None:
            continue
        guardrail, reason = fault
        if len(look.tried) == 1 or look.deployment.strategy not in SEVERAL:
            return RollBack(reason, guardrail)
        shares = {**look.shares, variant: 0.0}
        shares[CHAMPION] = round(1.0 - sum(share for name, share in shares.items() if name != CHAMPION), 6)
        return Shift(shares, look.deployment.step + 1, f"{variant} is put out: {reason}")
    return None


def _given_up(look: Look) -> RollBack | None:
    """Nothing was learned for too long."""
    waited = f"{look.silent_s:.0f} s"
    if look.deployment.strategy == "blue_green":
        if look.arms_now:
            return None
        return RollBack(f"no event was scored in the {waited} since the deployment", "horizon")
    if look.labelled_now:
        return RollBack(f"no further label for {waited}, after {look.labelled_now} labelled events", "no-labels")
    return RollBack(f"no label has come in {waited}", "no-labels")
