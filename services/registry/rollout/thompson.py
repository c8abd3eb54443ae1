"""A bandit: shares follow the chance to be the best; at the horizon the best one takes it all."""

from services.registry.rollout import bandit
from services.registry.rollout.guardrails import doubts
from services.registry.rollout.look import CHAMPION, Look
from services.registry.rollout.verdicts import Hold, Promote, RollBack, Shift, Verdict


def judge(look: Look) -> Verdict:
    """New shares every ``rebalance_rows`` labelled events of an epoch; an end after ``horizon_rows`` of all epochs."""
    rollout, now = look.rollout, look.labelled_now
    if not now:
        return Hold("no label has come yet")
    if look.labelled >= rollout.horizon_rows:
        return _end(look)
    if now < rollout.rebalance_rows:
        return Hold(f"{now} of {rollout.rebalance_rows} labelled events since the last shares")
    arms = {name: look.arm(name) for name in (CHAMPION, *look.tried)}
    found = bandit.shares(arms, look.gates.metric, rollout.min_share)
    reason = f"after {look.labelled} labelled events: {_words(look)}"
    return Shift({**dict.fromkeys(look.shares, 0.0), **found}, look.deployment.step + 1, reason)


def _end(look: Look) -> Verdict:
    names = (CHAMPION, *look.tried)
    best = min(names, key=lambda name: bandit.expected_loss(look.arm(name), look.gates.metric))
    text = f"after {look.labelled} labelled events: {_words(look)}"
    if best == CHAMPION:
        return RollBack(f"the champion is the best {text}", "horizon")
    rows, least = look.arm(best).labelled_rows, look.guardrails.rows_min
    few = f"only {rows} of its events have labels, {least} are needed" if rows < least else None
    doubt = few or next(doubts(look, best), None)
    if doubt is not None:
        return RollBack(f"{best} is the best {text}; but {doubt}", "horizon")
    return Promote(best, f"the best {text}")


def _words(look: Look) -> str:
    return ", ".join(
        f"{name} {bandit.expected_loss(look.arm(name), look.gates.metric):.4f} ({look.arm(name).labelled_rows} events)"
        for name in (CHAMPION, *look.tried)
    )
