"""A/B: two versions, or more, on different events until a fixed number of them have labels; then one look."""

from collections.abc import Mapping

from services.registry.rollout import ab
from services.registry.rollout.guardrails import doubts
from services.registry.rollout.look import CHAMPION, Look
from services.registry.rollout.verdicts import Hold, Promote, RollBack, Verdict


def judge(look: Look) -> Verdict:
    """Promotion of the best arm that is better than the champion; with several, alpha is divided among them."""
    if not look.labelled_now:
        return Hold("no label has come yet")
    worse = _worse(look)
    if worse is not None:
        return worse
    if look.labelled < look.rollout.horizon_rows:
        return Hold(f"{look.labelled} of {look.rollout.horizon_rows} labelled events")
    return _end(look, _outcomes(look))


def _end(look: Look, found: Mapping[str, ab.Outcome]) -> Verdict:
    if not found:
        return RollBack(f"after {look.labelled} labelled events there is nothing to compare: {_rows(look)}", "horizon")
    best = min(found, key=lambda name: found[name].mean)
    alpha = look.guardrails.alpha / _arms(look)
    winner = found[best]
    text = _words(best, winner, look)
    if not (winner.p < alpha and winner.difference < 0):
        return RollBack(f"not shown to be better than the champion: {text}", "horizon")
    doubt = next(doubts(look, best), None)
    if doubt is not None:
        return RollBack(f"{doubt} at the horizon; {text}", "horizon")
    return Promote(best, f"better than the champion: {text}")


def _worse(look: Look) -> RollBack | None:
    """Every arm is shown to be worse than the champion, by more than the margin as far as seen."""
    champion, rules = look.arm(CHAMPION), look.guardrails
    said = []
    for variant in look.tried:
        arm = look.arm(variant)
        p = ab.p_worse(arm, champion)
        difference = _difference(look, variant)
        if p > rules.alpha or difference <= rules.loss_margin:
            return None
        said.append(f"{variant} loses {difference:+.3f} more than the champion after {look.labelled} labelled events "
                    f"(p <= {p:.2g})")  # fmt: skip
    return RollBack("; ".join(said), "metric")


def _difference(look: Look, variant: str) -> float:
    """Of mean losses; for ``rmse`` of their roots, so that the margin has the same unit."""
    power = 0.5 if look.gates.metric == "rmse" else 1.0
    arm, champion = look.arm(variant), look.arm(CHAMPION)
    if not arm.labelled_rows or not champion.labelled_rows:
        return 0.0
    return float((arm.loss_sum / arm.labelled_rows) ** power - (champion.loss_sum / champion.labelled_rows) ** power)


def _outcomes(look: Look) -> dict[str, ab.Outcome]:
    champion, metric = look.arm(CHAMPION), look.gates.metric
    alpha = look.guardrails.alpha / _arms(look)
    arms = {name: look.arm(name) for name in look.tried}
    least = max(ab.ROWS_MIN, look.guardrails.rows_min)
    if champion.labelled_rows < least:
        return {}
    return {name: ab.judge(arm, champion, metric, alpha) for name, arm in arms.items() if arm.labelled_rows >= least}


def _arms(look: Look) -> int:
    """All that were ever tried, also the ones put out, so that it buys the others no greater chance of an error."""
    return len({*look.arms, *look.tried} - {CHAMPION})


def _rows(look: Look) -> str:
    return ", ".join(f"{name} has {look.arm(name).labelled_rows}" for name in (CHAMPION, *look.tried))


def _words(variant: str, found: ab.Outcome, look: Look) -> str:
    rows, others = look.arm(variant).labelled_rows, look.arm(CHAMPION).labelled_rows
    alpha = look.guardrails.alpha / _arms(look)
    return (
        f"{variant} has a mean loss of {found.mean:.4f} over {rows} events, the champion {found.champion_mean:.4f} "
        f"over {others}; difference {found.difference:+.4f}, {100 * (1 - 2 * alpha):.0f} % interval "
        f"[{found.low:+.4f}, {found.high:+.4f}], {found.test} p = {found.p:.2g}, needs {alpha:g}"
    )
