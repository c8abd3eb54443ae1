"""What an action will do, in plain words, before anybody does it.

The registry's own rules are asked: its decision about the request is worked out on what the log says now, and told.
Nothing is written.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from millrace.console.apply import CHAMPION, champion_of
from millrace.contracts.events import AuditRecorded, DeploymentDecided, Event, ManageModel, ModelVersionChanged
from services.registry.core import decide
from services.registry.facts import PRODUCTION, Policy
from services.registry.requests import ACCEPTED
from services.registry.state import State, evolve

DANGER = {
    "rollback": "high", "kill": "high", "promote": "high", "abort": "medium", "retire": "medium", "reject": "medium",
    "approve": "medium", "freeze": "low", "unfreeze": "medium", "retrain": "low",
}  # fmt: skip
TITLES = {
    "approve": "Approve version {version} of {model}",
    "promote": "Promote version {version} of {model}",
    "rollback": "Roll {model} back",
    "abort": "End the rollout of {model}",
    "reject": "Reject version {version} of {model}",
    "retire": "Retire version {version} of {model}",
    "freeze": "Freeze {model}",
    "unfreeze": "Let {model} go on by itself",
    "kill": "Stop the rollout of {model} and freeze it",
    "retrain": "Train {model} again",
}
ALONE = {
    "approve": "Your agreement is written down; the version goes on once enough people have agreed.",
    "freeze": "From now on no version enters and no rollout goes on by itself.",
    "unfreeze": "What waited goes on by itself: versions enter, rollouts take their next step.",
    "kill": "From now on no version enters and no rollout goes on by itself.",
    "reject": "The version will never serve; that is for good.",
    "retire": "The version is taken out until somebody promotes it again.",
    "promote": "Your wish is written down; the version enters as soon as the project's rules let it.",
}
KEEPS = {
    "freeze": ["Training goes on; new versions wait.", "What serves now goes on serving, and rolls back if it must."],
    "kill": ["Training goes on; new versions wait.", "The champion goes on serving."],
    "retrain": ["What serves now goes on serving.", "A new version serves only if it passes every check and gate."],
}
UNDO = {
    "approve": "Before the version serves: reject it. Afterwards: roll back.",
    "promote": "Roll back: the version before answers again within about a second.",
    "rollback": "Promote the version that was rolled back.",
    "abort": "Promote the version again; its rollout begins anew.",
    "reject": "It cannot be undone: train again.",
    "retire": "Promote the version again.",
    "freeze": "Unfreeze the model.",
    "unfreeze": "Freeze the model again.",
    "kill": "Unfreeze the model, and promote the version again.",
    "retrain": "A run that has begun ends by itself; its version can be rejected.",
}


def preview(verb: str, state: State, policy: Policy | None, request: ManageModel, fallback: Policy) -> dict[str, Any]:
    """What the registry would make of a request now."""
    alone = replace(state, answered=frozenset(state.requests), pending={})  # others are not this one's doing
    events = decide(evolve(alone, request), policy or fallback, request.requested_at_ms, {})
    answer = next(
        event for event in events if isinstance(event, AuditRecorded) and event.caused_by == request.request_id
    )
    possible = answer.outcome == ACCEPTED
    version = request.version if answer.version is None else answer.version
    title = TITLES[verb].format(version=version, model=request.model)
    if verb == "rollback" and version is not None:
        title = f"{title} to version {version}"
    does = list(_does(verb, state, events)) if possible else []
    if possible and policy is None:
        does.append("The console does not know this model's project, so its rules about approvals are not shown here.")
    return {
        "verb": verb,
        "model": request.model,
        "version": version,
        "possible": possible,
        "why_not": None if possible else answer.reason,
        "expected_epoch": state.epoch,
        "danger": DANGER[verb],
        "title": title,
        "does": does,
        "affects": _affects(request.model, events),
        "does_not": _does_not(verb, events),
        "undo": UNDO[verb],
        "answer": answer.reason,
    }


def retrain(model: str, summary: dict[str, Any]) -> dict[str, Any]:
    """The same for a retrain, which the trainer answers."""
    now = summary["training"]
    when = "as soon as it is free" if now is None else f"once the run under way ({now['stage']}) has ended"
    return {
        "verb": "retrain",
        "model": model,
        "version": None,
        "possible": True,
        "why_not": None,
        "expected_epoch": summary["epoch"],
        "danger": DANGER["retrain"],
        "title": TITLES["retrain"].format(model=model),
        "does": [
            f"The trainer trains {model} again on its newest rows, {when}.",
            "What comes of it is checked, compared with the champion, and admitted or rejected by the project's gates.",
        ],
        "affects": ["the trainer, which is busy for that time"],
        "does_not": KEEPS["retrain"],
        "undo": UNDO["retrain"],
        "answer": None,
    }


def _does(verb: str, state: State, events: tuple[Event, ...]) -> Iterator[str]:
    deployments = [event for event in events if isinstance(event, DeploymentDecided)]
    if (not deployments and verb in ALONE) or verb in {"freeze", "kill"}:
        yield ALONE[verb]
    changes = [event for event in events if isinstance(event, ModelVersionChanged)]
    yield from (f"Version {event.version} enters {event.space}." for event in changes if _enters(event))
    for deployment in deployments:
        yield from _deployed(state, deployment)
    for event in changes:
        yield from _ended(event)


def _deployed(state: State, event: DeploymentDecided) -> Iterator[str]:
    champion = champion_of(event)
    if state.rollout_id is not None and event.rollout_id != state.rollout_id:
        tried = ", ".join(f"version {part.version}" for part in state.tried)
        yield f"The rollout under way ends: {tried} gets no traffic any more."
    others = [part for part in event.traffic if part.variant != CHAMPION]
    if not others:
        again = " again" if any(reign.version == champion for reign in state.reigns) else ""
        yield f"Version {champion} answers all events{again}, within about a second."
        return
    for part in others:
        answers = f"answers {part.share * 100:.3g} % of the events"
        does = "scores every event unseen" if part.mode == "SHADOW" else answers
        yield f"Version {part.version} begins a {event.strategy} rollout: it {does}."
    yield f"Version {champion} stays champion until the rollout has shown that the other is no worse."


def _enters(event: ModelVersionChanged) -> bool:
    """Whether it is news that it enters: what enters production is told with its traffic."""
    return event.status == "PROMOTED" and event.space != PRODUCTION


def _ended(event: ModelVersionChanged) -> Iterator[str]:
    match event.status:
        case "RETIRED":
            yield f"Version {event.version} is retired; it can be promoted again."
        case "REJECTED":
            yield f"Version {event.version} is rejected, for good."
        case _:
            pass


def _affects(model: str, events: tuple[Event, ...]) -> list[str]:
    if any(isinstance(event, DeploymentDecided) for event in events):
        return [f"everyone who reads {model}-predictions or asks its REST endpoint"]
    return ["nobody who reads predictions"]


def _does_not(verb: str, events: tuple[Event, ...]) -> list[str]:
    found = list(KEEPS.get(verb, []))
    if any(isinstance(event, DeploymentDecided) for event in events):
        found += [
            "No prediction that was made is changed, lost or made twice.",
            "Training and monitoring go on; a later version may take over again by the project's rules.",
        ]
    return found or ["No traffic is moved.", "No prediction is changed."]
