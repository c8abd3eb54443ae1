"""What the registry decides, one thing at a time. Pure.

Rules:

- The state is a fold of the log, see ``state.py``. ``decide`` asks nobody else, and never asks for the time.
- What people ask for comes first: a rollback must not wait for anything. Then a deployment that somebody has forged,
  what serving cannot load, the rollout under way, who waits to enter a space, and finished runs, oldest first.
- What follows from a decision is part of it: one tuple of events, to be written together or not at all. With no
  approvals and no rollout asked for, a run is registered, enters test and production and is deployed in one.
- The same state, policy and time give the same events.
"""

from collections.abc import Mapping
from dataclasses import replace

from millrace.contracts.events import AuditRecorded, DeploymentDecided, Event, TrainingRunChanged
from services.registry.admission import admit
from services.registry.facts import Draft, Policy, begin
from services.registry.requests import ACCEPTED, answer
from services.registry.rollouts import answer_failures, proceed, restored
from services.registry.spaces import enter, offers
from services.registry.state import ACTOR, State, evolve, refusal

__all__ = ["ACTOR", "Policy", "State", "decide", "evolve", "refusal", "unchecked"]


def decide(state: State, policy: Policy, now_ms: int, checked: Mapping[str, str | None]) -> tuple[Event, ...]:
    """What to write now, all in one transaction; nothing if there is nothing to decide.

    Args:
        state: what is known.
        policy: what the model project asks for.
        now_ms: wall time. Should it have gone back, the times of the decisions still do not.
        checked: by run, what is wrong with its files in the store, in words; None if they are whole. A run that is not
            among them waits.
    """
    draft = begin(state, now_ms)
    request = state.request
    if request is not None:
        draft = answer(draft, policy, request)
    for step in (lambda draft: restored(draft, policy), answer_failures, lambda draft: proceed(draft, policy)):
        draft = draft if draft.events else step(draft)
    if not draft.events:
        draft = enter(draft, policy)
    run = next(iter(state.pending.values()), None)
    if not draft.events and run is not None and run.run_id in checked:
        draft = admit(draft, policy, run, checked[run.run_id])
    if not draft.events:
        return ()
    return _with_epoch(offers(enter(draft, policy), policy)).events


def unchecked(state: State, checked: Mapping[str, str | None]) -> TrainingRunChanged | None:
    """The oldest run whose files have to be looked at before it can be decided about."""
    return next((run for run in state.pending.values() if run.run_id not in checked), None)


def _with_epoch(draft: Draft) -> Draft:
    """The answer to a request says which epoch came of it."""
    first = draft.events[0]
    decided = next((event for event in draft.events if isinstance(event, DeploymentDecided)), None)
    if decided is None or not isinstance(first, AuditRecorded) or first.outcome != ACCEPTED:
        return draft
    return replace(draft, events=(first.model_copy(update={"epoch": decided.epoch}), *draft.events[1:]))
