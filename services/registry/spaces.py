"""How a version gets from development through test into production, and whose agreement it needs. Pure.

Rules:

- A version enters a space once as many different people as the space's policy asks for have approved; with none asked
  for, by itself. It waits until then. Who is not among ``approvers`` does not count.
- Asking for a promotion is approving of it, for the space that is named and those before it.
- By itself only a version that is newer than the champion enters, that serving never failed to load, and while nobody
  has frozen the model. What a person asked to promote enters in any case.
- Entering test is a fact of its own; so is becoming champion, which is entering production. Between them lies the
  rollout. One is under way at a time: who is ready meanwhile waits for its end.
- What takes over without being tried against the champion on events was compared with this one in its run.
- Of several that are ready by themselves the newest waits on, the others are retired, with the reason.
"""

from collections.abc import Iterator

from millrace.contracts.events import AuditRecorded, ManageModel, ModelVersionChanged
from millrace.contracts.rollout_policy import SPACES, Space
from services.registry.facts import DEVELOPMENT, PRODUCTION, TEST, Draft, Policy, alert, change
from services.registry.rollouts import take_over
from services.registry.state import State, Version

COMING = frozenset({"REGISTERED", "PROMOTED"})


UNCOMPARED = frozenset({"immediate", "blue_green"})  # strategies that do not compare on events what is to take over


def policy_of(policy: Policy, space: str) -> Space:
    """What the project asks for before a version enters."""
    found: Space = getattr(policy.spaces, space)
    return found


def approved(state: State, policy: Policy, version: Version, space: str) -> dict[str, AuditRecorded]:
    """Who has approved that the version enters, each with the first word that counts."""
    counted = policy_of(policy, space).approvers
    found: dict[str, AuditRecorded] = {}
    for word in state.approvals:
        since = word.version == version.number and word.recorded_at_ms > version.ended_at_ms
        if since and _covers(word, space) and (not counted or word.actor in counted):
            found.setdefault(word.actor, word)
    return found


def _covers(word: AuditRecorded, space: str) -> bool:
    named = word.space or PRODUCTION
    if word.action == "promote":
        return SPACES.index(space) <= SPACES.index(named)
    return space == named


def ahead(version: Version) -> tuple[str, ...]:
    """The spaces that it has yet to enter; development too while it is there. Who comes back enters test again."""
    if version.space == DEVELOPMENT:
        return SPACES
    return (TEST, PRODUCTION) if version.ended else (PRODUCTION,)


def awaited(state: State, policy: Policy, version: Version) -> str | None:
    """The next space for which an approval is missing; None if none is."""
    return next((space for space in ahead(version) if not _agreed(state, policy, version, space)), None)


def _agreed(state: State, policy: Policy, version: Version, space: str) -> bool:
    return len(approved(state, policy, version, space)) >= policy_of(policy, space).approvals


def asked(state: State, version: Version, space: str = PRODUCTION) -> ManageModel | None:
    """The newest accepted request to promote it into that space or beyond, since it last ended."""
    for word in reversed(state.approvals):
        since = word.version == version.number and word.recorded_at_ms > version.ended_at_ms
        if since and word.action == "promote" and _covers(word, space):
            return state.requests.get(word.caused_by or "")
    return None


def waiting(state: State, policy: Policy) -> tuple[Version, ...]:
    """The versions that wait for an approval and may still get it, newest first."""
    champion, tried = state.champion, {part.version for part in state.tried}
    versions = (state.versions[number] for number in sorted(state.versions, reverse=True))
    return tuple(
        version
        for version in versions
        if version.number not in {champion, *tried}
        and ((not version.ended and version.number > (champion or 0)) or asked(state, version, DEVELOPMENT))
        and awaited(state, policy, version)
    )


def enter(draft: Draft, policy: Policy) -> Draft:
    """Let in whoever may: into test, and the first of those that are ready into production."""
    named = {word.version for word in draft.state.approvals}
    for number in sorted(draft.state.versions):
        version = draft.state.versions[number]
        if number in named or (version.space == DEVELOPMENT and not version.ended):
            draft = _into_test(draft, policy, version)
    ready = [version for version in draft.state.versions.values() if _is_ready(draft.state, policy, version)]
    by_hand = [version for version in ready if asked(draft.state, version)]
    by_itself = sorted((version for version in ready if version not in by_hand), key=lambda one: one.number)
    if policy.rollout.strategy in UNCOMPARED:
        draft, by_itself = _without_stale(draft, by_itself)
    for older in by_itself[:-1]:
        reason = f"superseded by version {by_itself[-1].number}, which is newer and ready as well"
        draft = draft.add(
            change(draft, older, "RETIRED", (reason,), space=older.space, caused_by=by_itself[-1].registered.change_id)
        )
    first = max(by_hand, key=lambda one: _asked_at(draft.state, one), default=None) or next(reversed(by_itself), None)
    if first is None:
        return draft
    request = asked(draft.state, first)
    if draft.state.rollout_id is not None and not (request is not None and request.immediate):
        return draft
    names = tuple(approved(draft.state, policy, first, PRODUCTION)) if _needs(policy, PRODUCTION) else ()
    return take_over(draft, policy, first, request, names, _cause(draft.state, policy, first, PRODUCTION))


def _without_stale(draft: Draft, ready: list[Version]) -> tuple[Draft, list[Version]]:
    """Who was compared with a champion that is none any more would take over without ever having met this one."""
    kept = []
    for version in ready:
        before, now = draft.state.against.get(version.registered.run_id), draft.state.champion
        if before is None or now is None or before == now:
            kept.append(version)
            continue
        reason = f"it was compared with version {before}, but version {now} is champion now; train again"
        cause = version.registered.change_id
        draft = draft.add(change(draft, version, "RETIRED", (reason,), space=version.space, caused_by=cause))
    return draft, kept


def _into_test(draft: Draft, policy: Policy, version: Version) -> Draft:
    state = draft.state
    if version.space != DEVELOPMENT and not version.ended:
        return draft
    before = tuple(space for space in ahead(version) if space != PRODUCTION)
    if not _may(state, version, TEST) or not all(_agreed(state, policy, version, space) for space in before):
        return draft
    request = asked(state, version, TEST)
    names = tuple(approved(state, policy, version, TEST)) if _needs(policy, TEST) else ()
    reason = f"approved by {' and '.join(names)}" if names else "no approval is needed"
    if request is not None:
        reason = f"promoted by {request.requested_by}: {request.reason}"
    fact = change(
        draft, version, "PROMOTED", (reason,), space=TEST, caused_by=_cause(state, policy, version, TEST),
        approved_by=names,
    )  # fmt: skip
    return draft.add(fact)


def _may(state: State, version: Version, space: str) -> bool:
    """Whether it may go on by itself, or because somebody asked."""
    if version.number == state.champion:
        return False
    request = asked(state, version, space)
    if version.number in {part.version for part in state.tried}:
        return request is not None and request.immediate
    if request is not None:
        return True
    by_itself = version.number > (state.champion or 0) and version.number not in state.broken
    return by_itself and not version.ended and state.frozen is None


def _is_ready(state: State, policy: Policy, version: Version) -> bool:
    in_test = version.space == TEST and not version.ended
    return in_test and _may(state, version, PRODUCTION) and _agreed(state, policy, version, PRODUCTION)


def _asked_at(state: State, version: Version) -> int:
    times = [word.recorded_at_ms for word in state.approvals if word.version == version.number]
    return max(times, default=0)


def _needs(policy: Policy, space: str) -> bool:
    return policy_of(policy, space).approvals > 0


def _cause(state: State, policy: Policy, version: Version, space: str) -> str:
    """What let it in: the request to promote it, the approval that was the last one needed, or its admission."""
    request = asked(state, version, space)
    if request is not None:
        return request.request_id
    words = list(approved(state, policy, version, space).values())[: policy_of(policy, space).approvals]
    last = words[-1].caused_by if words else None
    return last or version.registered.change_id


def offers(draft: Draft, policy: Policy) -> Draft:
    """An alert for each version that this decision brought to where an approval is awaited."""
    moved = [event for event in draft.events if isinstance(event, ModelVersionChanged) and event.status in COMING]
    for number in sorted({event.version for event in moved if event.version is not None}):
        version = draft.state.versions[number]
        if version in waiting(draft.state, policy):
            space = awaited(draft.state, policy, version)
            assert space is not None, "it waits"
            place = f"{draft.state.model}/{number}/{space}"
            draft = draft.add(alert(draft, "approval-awaited", place, "; ".join(_offer(draft, policy, version, space))))
    return draft


def _offer(draft: Draft, policy: Policy, version: Version, space: str) -> Iterator[str]:
    needed = policy_of(policy, space)
    who = " or ".join(needed.approvers) if needed.approvers else "anybody"
    people = "one person" if needed.approvals == 1 else "two different people"
    yield f"version {version.number} waits for the approval of {people} to enter {space}: {who}"
    yield f"millrace approve {draft.state.model} {version.number}" + (
        "" if space == PRODUCTION else f" --space {space}"
    )
    others = [one.number for one in waiting(draft.state, policy) if one.number < version.number]
    if others:
        yield f"older ones wait as well: {', '.join(str(number) for number in others)}"
