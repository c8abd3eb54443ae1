"""Canary and shadow: the candidate beside the champion on the same events."""

from services.registry.rollout.guardrails import doubts
from services.registry.rollout.look import CHAMPION, Look
from services.registry.rollout.paired import Comparison, compare
from services.registry.rollout.verdicts import Hold, Promote, RollBack, Shift, Verdict


def steps(look: Look) -> Verdict:
    """The next step after ``step_rows`` compared events of this epoch; after the last step, promotion."""
    shares, step = look.rollout.steps, look.deployment.step
    return _judge(look, look.rollout.step_rows, shares[step + 1] if step + 1 < len(shares) else None)


def shadow(look: Look) -> Verdict:
    """Promotion after ``shadow_rows`` compared events."""
    return _judge(look, look.rollout.shadow_rows, None)


def _judge(look: Look, rows_wanted: int, next_share: float | None) -> Verdict:
    variant, rules = look.tried[0], look.guardrails
    pair, now = look.pairs.get(variant), look.pairs_now.get(variant)
    rows_now = 0 if now is None else now.paired_rows
    if pair is None or pair.paired_rows == 0:
        return Hold("no label has come yet")
    seen = compare(pair, look.gates.metric, rules.loss_margin, look.arms.get(CHAMPION))
    if seen.is_worse(rules.alpha):
        return RollBack(f"worse than the champion: {_words(seen)} (p <= {seen.p_worse:.2g})", "metric")
    verdict = _forward(look, seen, rows_now, rows_wanted, next_share)
    # Counted since the last step: a registry that was away finds any number of events compared before it.
    if isinstance(verdict, Hold) and rows_now >= look.rollout.rows_max:
        return RollBack(f"no verdict after {rows_now} compared events: {verdict.reason}", "horizon")
    return verdict


def _forward(look: Look, seen: Comparison, rows_now: int, rows_wanted: int, next_share: float | None) -> Verdict:
    variant, alpha = look.tried[0], look.guardrails.alpha
    share = look.shares[variant]
    if rows_now < rows_wanted:
        return Hold(f"{rows_now} of {rows_wanted} compared events under a share of {100 * share:.1f} %: {_words(seen)}")
    doubt = next(doubts(look, variant), None)
    if doubt is not None:
        return Hold(doubt)
    if next_share is not None:
        if seen.difference > seen.margin:
            return Hold(f"not shown to be worse, but it looks so: {_words(seen)}")
        reason = (
            f"{rows_now} compared events under a share of {100 * share:.1f} %: loss differs by "
            f"{seen.difference:+.3f}, within the margin of {seen.margin:g}"
        )
        return Shift({CHAMPION: round(1.0 - next_share, 6), variant: next_share}, look.deployment.step + 1, reason)
    if not seen.is_good(alpha):
        return Hold(f"not shown to be within the margin (p <= {seen.p_good:.2g}, needs {alpha:g}): {_words(seen)}")
    return Promote(variant, f"not worse than the champion: {_words(seen)} (p <= {seen.p_good:.2g})")


def _words(seen: Comparison) -> str:
    return f"loss differs by {seen.difference:+.3f} on the same {seen.rows} events, margin {seen.margin:.3g}"
