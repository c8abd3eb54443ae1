"""Blue-green: at once, after events that were scored unseen and without fault. Asks for no labels."""

from services.registry.rollout.guardrails import doubts
from services.registry.rollout.look import Look, attempted
from services.registry.rollout.verdicts import Hold, Promote, RollBack, Verdict


def judge(look: Look) -> Verdict:
    """Promotion after ``shadow_rows`` scored events."""
    variant, rollout = look.tried[0], look.rollout
    arm = look.arm(variant)
    rows = attempted(arm)
    if rows < rollout.shadow_rows:
        return Hold(f"{rows} of {rollout.shadow_rows} events scored unseen")
    doubt = next(doubts(look, variant), None)
    if doubt is None:
        return Promote(
            variant, f"{rows} events scored unseen, {arm.error_rows} errors, {arm.missing_rows} missing scores"
        )
    if rows >= rollout.rows_max:
        return RollBack(f"no verdict after {rows} scored events: {doubt}", "horizon")
    return Hold(doubt)
