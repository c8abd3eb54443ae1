"""What people do in the console: it is written to the log, and the answer looked for there, as the command line does.

Who asks is a claim: Millrace has no login. Put a proxy in front that has one and sets X-Forwarded-User, which goes
before what the page says. Without such a proxy anybody who reaches the console may say any name.
"""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Query
from sqlalchemy.orm import Session

from millrace.console import preview as previews
from millrace.console.answers import Answer
from millrace.console.asker import Asker
from millrace.console.bodies import Action
from millrace.console.decisions import Decisions, lenient
from millrace.console.queries import models
from millrace.console.tables import Asked
from millrace.console.telling import page
from millrace.contracts import topics
from millrace.contracts.events import ManageModel
from millrace.operating.retrain import publish, requested
from services.registry import spaces
from services.registry.commands import OF_A_VERSION, OF_NO_VERSION, VERBS, Log, Outcome, answer, fault, topic, write

Verb = Literal[
    "approve", "promote", "rollback", "abort", "reject", "retrain", "freeze", "unfreeze", "kill", "retire"
]  # fmt: skip
VERBS_SHOWN: tuple[Verb, ...] = (
    "approve", "reject", "promote", "rollback", "abort", "freeze", "unfreeze", "kill", "retrain", "retire",
)  # fmt: skip
ANSWER_S = 5.0
User = Annotated[str | None, Header(alias="X-Forwarded-User", description="Who asks, by the proxy in front.")]
Preview = Annotated[bool, Query(description="Say what would be done, and do nothing.")]


def add_routes(app: FastAPI, ask: Asker, decisions: Decisions, log: Log, *, answer_s: float = ANSWER_S) -> None:
    """Add the actions."""
    acts = Actions(ask, decisions, log, answer_s)

    @app.post("/api/actions/{verb}", tags=["actions"])
    async def act(verb: Verb, body: Action, *, preview: Preview = False, user: User = None) -> Answer:
        """Ask the registry, or the trainer, for something; with `preview=1`, say what it would do."""
        body = body.model_copy(update={"actor": user}) if user else body
        if preview:
            return Answer(await acts.preview(verb, body))
        _complete(body)
        return await (acts.retrain(body) if verb == "retrain" else acts.manage(verb, body))


def _complete(body: Action) -> None:
    missing = [name for name in ("reason", "request_id") if not getattr(body, name)]
    if missing:
        raise HTTPException(422, f"{' and '.join(missing)} is missing: say why, and give the request an id of its own")


class Actions:
    """Does what was asked for."""

    def __init__(self, ask: Asker, decisions: Decisions, log: Log, answer_s: float) -> None:
        self._ask = ask
        self._decisions = decisions
        self._log = log
        self._answer_s = answer_s

    async def preview(self, verb: str, body: Action) -> dict[str, Any]:
        """What would be done."""
        if verb == "retrain":
            return previews.retrain(body.model, await self._ask(models.known, body.model))
        self._check(verb, body.version)
        request = self._request(verb, body)

        def work(session: Session) -> dict[str, Any]:
            models.known(session, body.model)
            state = self._decisions.state(session, body.model)
            return previews.preview(verb, state, self._decisions.policy(body.model), request, lenient())

        return await self._ask(work)

    def _check(self, verb: str, version: int | None) -> None:
        wrong = fault(verb, version)
        if wrong is not None:
            raise HTTPException(422, wrong)

    def _request(self, verb: str, body: Action) -> ManageModel:
        return ManageModel(
            request_id=body.request_id or "preview",
            model=body.model,
            action=VERBS[verb],
            version=body.version,
            space=body.space,
            expected_epoch=body.expected_epoch,
            immediate=body.immediate,
            reason=body.reason,
            requested_by=body.actor,
            requested_at_ms=self._log.clock.now_ms(),
        )

    async def manage(self, verb: str, body: Action) -> Answer:
        """Write a request to the registry, and wait a while for its answer."""
        self._check(verb, body.version)
        await self._ask(models.known, body.model)
        request, start = self._request(verb, body), 0
        before: str | None = await self._ask(_asked_before, request.request_id)
        if before is None:
            start = (await self._log.transport.bounds(topic(topics.AUDIT_EVENTS), 0)).end
            await write(self._log, request)
        else:
            _same(request, ManageModel.model_validate_json(before))
        found = await answer(self._log, request.request_id, start, self._answer_s)
        return _said(Outcome(request, found))

    async def retrain(self, body: Action) -> Answer:
        """Write a request to the trainer, which answers by beginning a run."""
        await self._ask(models.known, body.model)
        if await self._ask(_asked_before, body.request_id) is None:
            now_ms = self._log.clock.now_ms()
            request, audit = requested(body.model, body.actor, body.reason, now_ms, body.request_id)
            await publish(self._log.transport, self._log.codec, request, audit)
        return Answer(
            {
                "outcome": "ACCEPTED",
                "words": f"The retrain of {body.model} is asked for; the trainer begins as soon as it is free.",
                "epoch": None,
                "request_id": body.request_id,
                "audit": None,
                "look": page("models", body.model),
            }
        )


def _asked_before(session: Session, request_id: str) -> str | None:
    found = session.get(Asked, request_id)
    return None if found is None else found.body


def _same(request: ManageModel, before: ManageModel) -> None:
    """Refuse an id that was used for something else."""
    own = {"requested_at_ms"}
    if request.model_dump(exclude=own) != before.model_dump(exclude=own):
        raise HTTPException(409, f"the request {request.request_id} was used before, for another one: take a new id")


def _said(outcome: Outcome) -> Answer:
    request, audit = outcome.request, outcome.audit
    own = {"request_id": request.request_id}
    if audit is None:
        words = f"No answer yet: {request.request_id} stands in the log; a registry of {request.model} will answer it."
        look = f"/audit?model={request.model}"
        return Answer({"outcome": "WRITTEN", "words": words, "epoch": None, "audit": None, "look": look, **own}, 202)
    return Answer(
        {
            "outcome": audit.outcome,
            "words": audit.reason,
            "epoch": audit.epoch,
            "audit": audit.model_dump(),
            "look": page("models", request.model),
            **own,
        }
    )


def offered(session: Session, decisions: Decisions, model: str, now_ms: int) -> list[dict[str, Any]]:
    """Which actions make sense for a model now, and for which of its versions."""
    state, policy = decisions.state(session, model), decisions.policy(model) or lenient()
    newest = sorted(state.versions, reverse=True)[:VERSIONS_TRIED]

    def tried(verb: str, version: int | None) -> str | None:
        """Why not; None if it is possible."""
        request = ManageModel(
            request_id="preview", model=model, action=VERBS[verb], version=version, space=None, expected_epoch=None,
            immediate=False, reason="", requested_by="preview", requested_at_ms=now_ms,
        )  # fmt: skip
        told = previews.preview(verb, state, policy, request, policy)
        return None if told["possible"] else str(told["why_not"])

    found: list[dict[str, Any]] = []
    for verb in VERBS_SHOWN:
        if verb == "retrain":
            found.append({"verb": verb, "possible": True, "why_not": None, "versions": []})
            continue
        choices: list[int | None] = [None] if verb in OF_NO_VERSION else [*newest]
        if verb == "approve":  # who may is told by the preview, which knows who asks
            waits = [version.number for version in spaces.waiting(state, policy)]
            why = None if waits else "no version waits for an approval"
            found.append({"verb": verb, "possible": bool(waits), "why_not": why, "versions": waits})
            continue
        reasons = {version: tried(verb, version) for version in choices}
        fit = [version for version, why in reasons.items() if why is None]
        why_not = None if fit else _why_not(verb, list(reasons.values()))
        versions = [version for version in fit if version is not None]
        found.append({"verb": verb, "possible": bool(fit), "why_not": why_not, "versions": versions})
    return found


VERSIONS_TRIED = 20


def _why_not(verb: str, reasons: list[str | None]) -> str:
    if verb in OF_A_VERSION or not reasons:
        return "there is no version of which that could be asked now"
    return next(iter(reasons)) or ""
