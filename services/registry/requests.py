"""What people ask of the registry, and what it answers. Pure.

Rules:

- Each request is answered once, by one ``AuditRecorded`` with the id ``audit/<request_id>``: ACCEPTED or REFUSED, in
  words. What follows from it is part of the same decision. A refusal changes nothing, and says what to do instead.
- Who has seen another epoch than the one in force is refused: things are not as they thought.
- An answer is later than everything that was decided before, so what somebody agreed to before a version ended is told
  from what they agreed to afterwards.
- APPROVE counts each person once. REJECT and RETIRE end a version that gets no traffic; the first is for good.
- PROMOTE takes any version that was not rejected, a former champion too; ``immediate`` skips the rollout, and ends one.
- ROLLBACK goes to a version that was champion, at once and without asking anybody else. Without a version it ends the
  rollout under way; if there is none, it goes to the champion before the present one.
- FREEZE stops all that happens by itself but rolling back; KILL ends the rollout and freezes. What people ask for is
  done in a frozen model too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from millrace.contracts.events import AuditRecorded, ManageModel
from millrace.contracts.rollout_policy import SPACES
from services.registry import spaces
from services.registry.facts import DEVELOPMENT, PRODUCTION, Draft, Policy, change
from services.registry.rollouts import before, retired, rolled_back
from services.registry.state import ACTOR, State, Version, evolve

ACCEPTED, REFUSED = "ACCEPTED", "REFUSED"
REASON_MAX, NAME_MAX = 4000, 200  # characters; an answer repeats both, and a record has a largest size


class _RefusedError(Exception):
    """The words of a refusal, on their way to the answer."""


def _nothing(draft: Draft) -> Draft:
    return draft


@dataclass(frozen=True, slots=True)
class _Answer:
    """What comes of a request in words, the version that it turned out to be about, and what follows."""

    words: str
    version: int | None = None
    then: Callable[[Draft], Draft] = _nothing


def answer(draft: Draft, policy: Policy, request: ManageModel) -> Draft:
    """The answer, and what follows from it at once. Who may enter a space because of it is for ``spaces.enter``."""
    draft = replace(draft, now_ms=max(draft.now_ms, draft.state.newest_ms + 1))
    request, asked = _shortened(request), request
    try:
        _check_length(asked)
        _check(draft.state, request)
        found = ACTIONS.get(request.action, _unknown)(draft, policy, request)
    except _RefusedError as refused:
        return draft.add(_record(draft, request, REFUSED, str(refused), request.version))
    words = f"{found.words} ({request.reason})" if request.reason.strip() else found.words
    version = request.version if found.version is None else found.version
    return found.then(draft.add(_record(draft, request, ACCEPTED, words, version)))


def _check_length(request: ManageModel) -> None:
    if request != _shortened(request):
        raise _RefusedError(f"a reason has at most {REASON_MAX} characters, a name {NAME_MAX}; ask again in fewer")


def _shortened(request: ManageModel) -> ManageModel:
    return request.model_copy(
        update={"reason": request.reason[:REASON_MAX], "requested_by": request.requested_by[:NAME_MAX]}
    )


def _record(draft: Draft, request: ManageModel, outcome: str, words: str, version: int | None) -> AuditRecorded:
    return AuditRecorded(
        audit_id=f"audit/{request.request_id}",
        actor=request.requested_by,
        action=request.action.lower(),
        subject=request.model if version is None else f"{request.model} version {version}",
        reason=words,
        caused_by=request.request_id,
        recorded_at_ms=draft.now_ms,
        model=request.model,
        version=version,
        outcome=outcome,
        space=request.space or PRODUCTION if request.action in {"APPROVE", "REJECT", "PROMOTE"} else request.space,
    )


def _check(state: State, request: ManageModel) -> None:
    if not request.requested_by.strip() or request.requested_by == ACTOR:
        raise _RefusedError(f"requested_by is {request.requested_by!r}; say who asks, with the name of a person")
    if request.expected_epoch not in {None, state.epoch}:
        raise _RefusedError(
            f"epoch {state.epoch} is in force, {request.expected_epoch} was expected; "
            "look again (millrace status) and repeat"
        )
    if request.space not in {None, *SPACES}:
        raise _RefusedError(f"there is no space {request.space!r}; use one of {', '.join(SPACES)}")


def _unknown(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    del draft, policy
    known = ", ".join(name.lower() for name in ACTIONS)
    raise _RefusedError(f"the action {request.action} is not known here; use one of {known}")


def _version(draft: Draft, policy: Policy, request: ManageModel) -> Version:
    """The version that is named."""
    state = draft.state
    if request.version is None:
        waits = spaces.waiting(state, policy)
        offer = f"version {waits[0].number} waits for an approval" if waits else "millrace models lists them"
        raise _RefusedError(f"{request.action.lower()} needs a version; {offer}")
    version = state.versions.get(request.version)
    if version is None:
        known = f"versions 1 to {max(state.versions)}" if state.versions else "no version yet"
        raise _RefusedError(f"there is no version {request.version}; {state.model} has {known}")
    if version.status == "REJECTED":
        raise _RefusedError(f"version {version.number} was rejected, which is for good; train again")
    return version


def _tried(state: State) -> set[int]:
    return {part.version for part in state.tried}


def _waits(draft: Draft, policy: Policy, request: ManageModel) -> Version:
    """The version that is named, if it is one that may still be approved or rejected."""
    version, state = _version(draft, policy, request), draft.state
    if version.number == state.champion:
        raise _RefusedError(f"version {version.number} is champion already")
    if version.number in _tried(state):
        raise _RefusedError(f"version {version.number} is being rolled out already; millrace abort ends that")
    if version.ended and spaces.asked(state, version, DEVELOPMENT) is None:
        raise _RefusedError(f"version {version.number} is retired; millrace promote brings it back")
    return version


def _approve(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    version, state, space = _waits(draft, policy, request), draft.state, request.space or PRODUCTION
    champion, needed = state.champion, spaces.policy_of(policy, space)
    if champion is not None and version.number < champion and spaces.asked(state, version, DEVELOPMENT) is None:
        raise _RefusedError(
            f"version {version.number} is older than the champion, version {champion}; "
            f"to have it all the same: millrace promote {state.model} {version.number}"
        )
    if space not in spaces.ahead(version):
        raise _RefusedError(f"version {version.number} has entered {space} already")
    if not needed.approvals:
        raise _RefusedError(f"nobody has to approve that a version enters {space}")
    _must_count(needed.approvers, request, space)
    names = [*spaces.approved(state, policy, version, space)]
    names = [*names, *(() if request.requested_by in names else (request.requested_by,))]
    missing = needed.approvals - len(names)
    what = f"approved that version {version.number} enters {space} by {' and '.join(names)}"
    if missing > 0:
        return _Answer(f"{what}; {missing} more of {needed.approvals} is needed, by somebody else")
    return _Answer(f"{what}{_then_waits(draft, policy, request, version)}")


def _must_count(approvers: tuple[str, ...], request: ManageModel, space: str) -> None:
    if approvers and request.requested_by not in approvers:
        raise _RefusedError(
            f"{request.requested_by} is not among those who may approve for {space}: {', '.join(approvers)}"
        )


def _then_waits(draft: Draft, policy: Policy, request: ManageModel, version: Version) -> str:
    """What the version still waits for once this is accepted, in words."""
    state = evolve(draft.state, _record(draft, request, ACCEPTED, "", version.number))
    space = spaces.awaited(state, policy, version)
    target = request.space or PRODUCTION
    if space is not None and SPACES.index(space) <= SPACES.index(target):
        missing = spaces.policy_of(policy, space).approvals - len(spaces.approved(state, policy, version, space))
        return f"; it waits for {missing} approval{'s' * (missing > 1)} to enter {space}"
    if state.frozen is not None and spaces.asked(state, version, target) is None:
        return f"; it waits until {state.model} is not frozen any more"
    request_now = spaces.asked(state, version)
    if target == PRODUCTION and state.rollout_id and not (request_now is not None and request_now.immediate):
        return f"; it waits for the end of {state.rollout_id}"
    return ""


def _reject(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    version = _waits(draft, policy, request)
    reason = f"rejected by {request.requested_by}: {request.reason}"

    def then(draft: Draft) -> Draft:
        return draft.add(
            change(draft, version, "REJECTED", (reason,), space=version.space, caused_by=request.request_id)
        )

    return _Answer(f"version {version.number} is rejected and will not enter {request.space or PRODUCTION}", then=then)


def _promote(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    version, state, space = _version(draft, policy, request), draft.state, request.space or PRODUCTION
    if version.number == state.champion:
        raise _RefusedError(f"version {version.number} is champion already")
    if space not in spaces.ahead(version) or space == DEVELOPMENT:
        raise _RefusedError(f"version {version.number} has entered {space} already")
    if version.number in _tried(state) and not request.immediate:
        raise _RefusedError(
            f"version {version.number} is being rolled out already; ask for it at once (immediate) to end that"
        )
    other = state.in_force
    if other is not None and version.number < other.version and version.registered.feature_set != other.feature_set:
        raise _RefusedError(
            f"version {version.number} needs feature set {version.registered.feature_set}, which nobody computes any "
            f"more; the champion, version {other.version}, needs {other.feature_set}"
        )
    how = " at once" if request.immediate else ""
    words = f"version {version.number} is to enter {space}{how}"
    return _Answer(f"{words}{_then_waits(draft, policy, request, version)}")


def _rollback(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    state, champion = draft.state, draft.state.in_force
    if champion is None:
        raise _RefusedError(f"nothing of {state.model} is deployed yet")
    if request.version is None:
        target = champion if state.rollout_id is not None else before(state)
        if target is None:
            raise _RefusedError(f"no version served before version {champion.version}; name the one to go back to")
    else:
        number = _version(draft, policy, request).number
        was = next((one for one in reversed(state.reigns) if one.version == number), None)
        if was is None:
            raise _RefusedError(f"version {number} never was champion; millrace promote is for that")
        target = champion if number == champion.version else was
    if target.version == champion.version and state.rollout_id is None:
        raise _RefusedError(f"version {champion.version} is champion already, and no rollout is under way")
    if target.feature_set != champion.feature_set:
        raise _RefusedError(
            f"version {target.version} needs feature set {target.feature_set}, which nobody computes any more; "
            f"the champion, version {champion.version}, needs {champion.feature_set}"
        )
    return _back(request, target.version, "ROLLED_BACK", f"back to version {target.version}", draft)


def _back(request: ManageModel, number: int, kind: str, words: str, draft: Draft) -> _Answer:
    """All traffic to the champion, or to one that was: what ROLLBACK, ABORT and KILL have in common."""
    target = next(one for one in reversed(draft.state.reigns) if one.version == number)
    by, reason = request.requested_by, f"{request.reason} (asked by {request.requested_by})"

    def then(draft: Draft) -> Draft:
        return rolled_back(draft, reason, request.request_id, target=target, kind=kind, by=by)

    return _Answer(f"{words}, with epoch {draft.state.epoch + 1}", number, then)


def _abort(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    del policy
    state, champion = draft.state, draft.state.champion
    if state.rollout_id is None or champion is None:
        raise _RefusedError("no rollout is under way; to go to another version: millrace rollback")
    return _back(
        request, champion, "ABORTED", f"{state.rollout_id} is aborted, version {champion} has all traffic", draft
    )


def _freeze(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    del policy, request
    return _Answer(f"{draft.state.model} is frozen: nothing but rolling back happens by itself")


def _unfreeze(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    del policy, request
    if draft.state.frozen is None:
        raise _RefusedError(f"{draft.state.model} is not frozen")
    return _Answer(f"{draft.state.model} is not frozen any more; what waited goes on")


def _kill(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    frozen, state = _freeze(draft, policy, request), draft.state
    if state.rollout_id is None or state.champion is None:
        return frozen
    words = f"{frozen.words}; {state.rollout_id} is aborted, version {state.champion} has all traffic"
    return _back(request, state.champion, "ABORTED", words, draft)


def _retire(draft: Draft, policy: Policy, request: ManageModel) -> _Answer:
    version, state = _version(draft, policy, request), draft.state
    if version.ended:
        raise _RefusedError(f"version {version.number} is retired already")
    if version.number in {state.champion, *_tried(state)}:
        raise _RefusedError(
            f"version {version.number} has a part of the traffic; millrace rollback or millrace abort first"
        )
    reason = f"retired by {request.requested_by}: {request.reason}"

    def then(draft: Draft) -> Draft:
        return retired(draft, version.number, reason, request.request_id)

    return _Answer(f"version {version.number} is retired", then=then)


ACTIONS: Mapping[str, Callable[[Draft, Policy, ManageModel], _Answer]] = {
    "APPROVE": _approve,
    "REJECT": _reject,
    "PROMOTE": _promote,
    "ROLLBACK": _rollback,
    "ABORT": _abort,
    "FREEZE": _freeze,
    "UNFREEZE": _unfreeze,
    "KILL": _kill,
    "RETIRE": _retire,
}
