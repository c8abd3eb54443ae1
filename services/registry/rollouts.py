"""From one champion to the next, and back: how a decision about traffic becomes events. Pure.

Rules:

- The first version takes over at once, and so does one beside a champion that cannot be compared with it: of other
  features, or whose file is lost. So does what a person asks for at once. Else the project's strategy decides.
- Each step is a new deployment, caused by the one before; the first is caused by the version's entry into test.
- Whoever is rolled back or loses is retired, with the reason, and an alert tells it. The old champion is retired
  when the new one has taken its place, not before.
- What fails a guardrail is rolled back even while the model is frozen; nothing else happens by itself then.
- A version that serving cannot load is rolled back: beside the champion to the champion; as champion to the last one
  that served, if that is of the same features. If there is none, serving keeps what it has loaded. What failed before
  it ever served is not deployed again by itself.
- A champion that has served stays, whatever cannot load it later: then the store or the process fails, which no other
  version would mend. Serving's alert tells it, and people may roll back.
"""

from collections.abc import Mapping

from millrace.contracts.events import DeploymentDecided, ManageModel, Traffic
from services.registry.facts import PRODUCTION, Draft, Policy, alert, audit, change, deployment, part
from services.registry.rollout.judge import Promote, RollBack, Shift, opening, verdict_on
from services.registry.state import ACTOR, CHAMPION, State, Version

SHADOW, LIVE = "SHADOW", "LIVE"
ALONE: Mapping[str, object] = {"share": 1.0, "mode": LIVE, "variant": CHAMPION}


def take_over(
    draft: Draft, policy: Policy, version: Version, request: ManageModel | None, names: tuple[str, ...], cause: str
) -> Draft:
    """Let a version that is ready take over, at once or by a rollout.

    Args:
        draft: what is known.
        policy: the project's strategy.
        version: a version in test.
        request: who asked for it; None if it comes by itself.
        names: who approved.
        cause: id of what let it in.
    """
    reason = "; ".join(version.registered.reasons)
    reason = reason if request is None else f"promoted by {request.requested_by}: {request.reason}"
    reason = f"{reason}; approved by {' and '.join(names)}" if names else reason
    if policy.rollout.strategy == "immediate" or _at_once(draft.state, version, request):
        return _at_once_events(draft, version, reason, names, cause)
    return _started(draft, policy, version, reason)


def _at_once(state: State, version: Version, request: ManageModel | None) -> bool:
    champion = state.in_force
    if champion is None or (request is not None and request.immediate):
        return True
    lost = state.unreadable.get(version.registered.run_id) == champion.version
    failed = champion.version in state.broken
    return lost or failed or champion.feature_set != version.registered.feature_set


def _at_once_events(draft: Draft, version: Version, reason: str, names: tuple[str, ...], cause: str) -> Draft:
    promoted = change(
        draft, version, "PROMOTED", (reason,), space=PRODUCTION, caused_by=cause, approved_by=names
    )  # fmt: skip
    replaced = f"replaced by version {version.number}"
    before, tried = draft.state.champion, draft.state.tried
    draft = draft.add(promoted)
    draft = retired(draft, before, replaced, promoted.change_id)
    for other in tried:
        if other.version != version.number:
            draft = retired(draft, other.version, f"rolled back: {replaced} at once", promoted.change_id)
    decided = deployment(draft, (part(version),), "DEPLOYED", reason, caused_by=promoted.change_id)
    return draft.add(decided, audit(decided, "deploy", version.number))


def _started(draft: Draft, policy: Policy, version: Version, reason: str) -> Draft:
    rollout, champion = policy.rollout, draft.state.in_force
    assert champion is not None, "the first version takes over at once"
    share, mode = opening(rollout)
    variant = f"arm-{version.number}" if rollout.strategy == "bandit" else "candidate"
    traffic = (_with(champion, share=1.0 - share), part(version, variant, share, mode))
    how = "unseen" if mode == SHADOW else f"with a share of {share:.3g}"
    decided = deployment(
        draft,
        traffic,
        "ROLLOUT_STARTED",
        f"{rollout.strategy} of version {version.number} beside version {champion.version} begins {how}: {reason}",
        caused_by=version.changes[-1],  # its entry into test
        strategy=rollout.strategy,
        rollout_id=f"rollout/{draft.state.model}/{draft.state.epoch + 1}",
        unit=rollout.unit,
    )
    return draft.add(decided, audit(decided, "start-rollout", version.number))


def proceed(draft: Draft, policy: Policy) -> Draft:
    """What follows from the evidence of the rollout under way, and from the time."""
    now, frozen = draft.state.deployment, draft.state.frozen is not None
    if now is None or now.rollout_id is None:
        return draft
    evidence = draft.state.measured()
    match verdict_on(policy.rollout, policy.gates, now, evidence, draft.now_ms):
        case RollBack() as verdict:
            return rolled_back(draft, verdict.reason, now.deployment_id, evidence_id=evidence.newest_id)
        case Shift() as verdict if not frozen or _only_less(now, verdict.shares):
            return _shifted(draft, now, verdict)
        case Promote() as verdict if not frozen:
            return _promoted(draft, now, verdict)
        case _:
            return draft


def _only_less(now: DeploymentDecided, shares: Mapping[str, float]) -> bool:
    return all(shares.get(one.variant, 0.0) <= one.share for one in now.traffic if one.variant != CHAMPION)


def _shifted(draft: Draft, now: DeploymentDecided, verdict: Shift) -> Draft:
    traffic: list[Traffic] = []
    out: list[Traffic] = []
    for one in now.traffic:
        share = verdict.shares.get(one.variant, 0.0)
        mode = LIVE if share > 0 else one.mode
        keeps = one.variant == CHAMPION or share > 0 or mode == SHADOW
        (traffic if keeps else out).append(_with(one, share=share, mode=mode))
    kind, action = ("REBALANCED", "rebalance") if now.strategy == "bandit" else ("ADVANCED", "advance")
    decided = deployment(
        draft, tuple(traffic), kind, verdict.reason, caused_by=now.deployment_id, strategy=now.strategy,
        rollout_id=now.rollout_id, step=verdict.step, unit=now.unit, evidence_id=draft.state.measured().newest_id,
    )  # fmt: skip
    draft = draft.add(decided, audit(decided, action, draft.state.tried[0].version))
    for one in out:
        draft = retired(draft, one.version, f"rolled back: {verdict.reason}", decided.deployment_id)
    return draft


def _promoted(draft: Draft, now: DeploymentDecided, verdict: Promote) -> Draft:
    winner = next(one for one in now.traffic if one.variant == verdict.variant)
    if winner.variant == CHAMPION:
        return rolled_back(draft, verdict.reason, now.deployment_id, evidence_id=draft.state.measured().newest_id)
    before = draft.state.champion
    decided = deployment(
        draft, (_with(winner, **ALONE),), "PROMOTED", verdict.reason, caused_by=now.deployment_id,
        strategy=now.strategy, unit=now.unit, step=now.step, evidence_id=draft.state.measured().newest_id,
    )  # fmt: skip
    draft = draft.add(decided)
    draft, cause = _reigns(draft, winner.version, verdict.reason, decided)
    draft = retired(draft, before, f"replaced by version {winner.version}", cause)
    for other in now.traffic:
        if other.version not in {winner.version, before}:
            draft = retired(draft, other.version, f"version {winner.version} did better", cause)
    return draft.add(audit(decided, "promote", winner.version))


def _reigns(draft: Draft, number: int, reason: str, decided: DeploymentDecided) -> tuple[Draft, str]:
    """The fact that a version is champion because of a deployment, and its id; who approved is told again."""
    version = draft.state.versions.get(number)
    if version is None or (version.status == "PROMOTED" and version.space == PRODUCTION):
        return draft, decided.deployment_id
    words = [word for word in draft.state.approvals if word.version == number]
    names = dict.fromkeys(word.actor for word in words if word.recorded_at_ms > version.ended_at_ms)
    fact = change(
        draft, version, "PROMOTED", (reason,), space=PRODUCTION, caused_by=decided.deployment_id, approved_by=names
    )
    return draft.add(fact), fact.change_id


def retired(draft: Draft, number: int | None, reason: str, cause: str) -> Draft:
    """With a version's end, if it has not ended."""
    version = draft.state.versions.get(number or 0)
    if version is None or version.ended:
        return draft
    return draft.add(change(draft, version, "RETIRED", (reason,), space=version.space, caused_by=cause))


def rolled_back(
    draft: Draft,
    reason: str,
    cause: str,
    *,
    target: Traffic | None = None,
    kind: str = "ROLLED_BACK",
    by: str = ACTOR,
    evidence_id: str | None = None,
) -> Draft:
    """All traffic to the champion, or to another version that was champion; all others of it are retired."""
    now, champion = draft.state.deployment, target or draft.state.in_force
    assert now is not None, "something is deployed"
    assert champion is not None, "every deployment has a champion"
    decided = deployment(
        draft, (_with(champion, **ALONE),), kind, reason, caused_by=cause, decided_by=by, strategy=now.strategy,
        unit=now.unit, evidence_id=evidence_id,
    )  # fmt: skip
    others = [one.version for one in now.traffic if one.version != champion.version]
    draft, _ = _reigns(draft.add(decided), champion.version, reason, decided)
    word = "aborted" if kind == "ABORTED" else "rolled back"
    for number in others:
        draft = retired(draft, number, f"{word}: {reason}", decided.deployment_id)
    if by != ACTOR:
        return draft
    told = f"version {', '.join(map(str, others))} is rolled back, version {champion.version} has it all: {reason}"
    draft = draft.add(audit(decided, "roll-back", champion.version))
    return draft.add(alert(draft, "rolled-back", decided.deployment_id, told))


def restored(draft: Draft, policy: Policy) -> Draft:
    """With what is in force decided again, under a greater epoch than that of a deployment that somebody has forged."""
    now, foreign = draft.state.deployment, draft.state.foreign
    if now is None:
        return draft
    if foreign is not None and draft.state.is_usurped:
        why, cause = f"{foreign.deployment_id} was not decided by this registry", foreign.deployment_id
    elif policy.signs and any(one.signature is None for one in now.traffic):  # an older registry's: serving refuses it
        why, cause = f"{now.deployment_id} was not signed", now.deployment_id
    else:
        return draft
    decided = deployment(
        draft,
        tuple(_with(one) for one in now.traffic),
        "RESTORED",
        f"{why}; what was in force goes on",
        caused_by=cause,
        strategy=now.strategy,
        rollout_id=now.rollout_id,
        step=now.step,
        unit=now.unit,
    )
    return draft.add(decided, audit(decided, "restore", now.traffic[0].version))


def answer_failures(draft: Draft) -> Draft:
    """What follows when serving reports that it cannot load what is in force."""
    state, now = draft.state, draft.state.deployment
    if now is None:
        return draft
    parts = [one for one in now.traffic if one.variant != CHAMPION or one.version not in state.served]
    places = [(state.epoch, one.version) for one in parts]
    found = [state.failed[place] for place in places if place in state.failed]
    if not found:
        return draft
    report = found[-1]  # of those beside the champion, if one of them failed
    reason = f"{report.process} cannot load version {report.version}: {report.reason}"
    if now.rollout_id is not None:
        return rolled_back(draft, reason, now.deployment_id)
    target = last_good(state)
    return draft if target is None else rolled_back(draft, reason, now.deployment_id, target=target)


def last_good(state: State) -> Traffic | None:
    """The last champion but the present one that serving has put in force."""
    good = [one for one in reversed(state.reigns) if one.version in state.served and _may_return(state, one)]
    return next((one for one in good if one.version != state.champion), None)


def before(state: State) -> Traffic | None:
    """The champion before the present one first became it, passing over those that serving could not load."""
    first = next((place for place, one in enumerate(state.reigns) if one.version == state.champion), 0)
    return next((one for one in reversed(state.reigns[:first]) if _may_return(state, one)), None)


def _may_return(state: State, one: Traffic) -> bool:
    champion, version = state.in_force, state.versions.get(one.version)
    rejected = version is not None and version.status == "REJECTED"
    same = champion is not None and champion.feature_set == one.feature_set
    return same and not rejected and one.version not in state.broken


def _with(one: Traffic, **changes: object) -> Traffic:
    """The part with changes. It is signed anew when it is written."""
    return one.model_copy(update={**changes, "signature": None, "key_id": None})
