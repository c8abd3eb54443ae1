"""What people ask of the registry over HTTP: a request is written to the log, and its answer waited for.

Who asks is a claim. Millrace has no login: put a proxy in front that has one, and that sets X-Forwarded-User; where
that header is present, the body's ``requested_by`` is not looked at. Without such a proxy anybody may say any name.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.bus.context import Context
from millrace.contracts import topics
from millrace.contracts.errors import BusError, RegistryUnavailableError
from millrace.contracts.events import AuditRecorded, ManageModel
from services.registry import commands, queries
from services.registry.news import News
from services.registry.problems import ETAG, Asker, Problem, Responses, etag
from services.registry.rows import event_of
from services.registry.tables import Audit, Position, Request
from services.registry.views import AuditView

MEANINGS = {
    "promote": "Make a version the champion, by the project's rollout strategy or at once.",
    "rollback": "Give all traffic back to a version; without one, to the champion before.",
    "abort": "End the rollout under way: the champion has all traffic again.",
    "approve": "Agree that a version enters a space.",
    "reject": "Refuse that a version enters a space.",
    "freeze": "Let nothing happen by itself: no promotion, no step of a rollout.",
    "unfreeze": "Let things happen by themselves again.",
    "kill": "End the rollout under way, and freeze.",
    "retire": "Take a version out, until somebody promotes it again; reject is for good.",
}
SYNC_S = 1.0  # how long an answer waits for the projection, so that the next question sees what was done


class Command(BaseModel):
    """What is asked."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(None, description="Version that it is about; for a rollback it may be left out.")
    space: Literal["development", "test", "production"] | None = Field(
        None, description="Space; production if left out."
    )
    reason: str = Field(min_length=1, description="Why, in words; kept in the log for ever.")
    requested_by: str | None = Field(None, description="Who asks: a claim. X-Forwarded-User goes before it.")
    immediate: bool = Field(default=False, description="Whether a promotion skips the project's rollout strategy.")


class Done(BaseModel):
    """The registry did what was asked."""

    request_id: str
    epoch: int = Field(description="Epoch in force afterwards.")
    audit: AuditView


class Asked(BaseModel):
    """The request stands in the log; no answer came in time."""

    request_id: str
    detail: str


class Invalid(BaseModel):
    """The request makes no sense."""

    detail: str | list[dict[str, Any]] = Field(description="Why, in words; or each field of the body that is wrong.")


ANSWERS: Responses = {
    200: {"model": Done, "description": "Done.", "headers": ETAG},
    202: {"model": Asked, "description": "Written, and not answered in time: it is done, or refused, later."},
    400: {"model": Problem, "description": "If-Match is no ETag of this API, or nobody is named."},
    404: {"model": Problem, "description": "No such model."},
    409: {"model": Problem, "description": "The registry refuses; the reason says why."},
    412: {"model": Problem, "description": "Another epoch than If-Match is in force; ETag names it.", "headers": ETAG},
    422: {"model": Invalid, "description": "The body is none, or the Idempotency-Key was used for something else."},
    503: {"model": Problem, "description": "The log or the database does not answer; nothing is known."},
}
IfMatch = Annotated[str | None, Header(description='The epoch seen, such as "7": refused if another is in force.')]
Key = Annotated[
    str | None,
    Header(alias="Idempotency-Key", min_length=1, max_length=200,
           description="Id of the request; the same again is the same request."),
]  # fmt: skip
User = Annotated[str | None, Header(alias="X-Forwarded-User", description="Who asks, by the proxy in front.")]


class Commander:
    """Writes requests and finds their answers. ``answer_s`` is how long one is waited for."""

    def __init__(self, asker: Asker, context: Context, news: News, answer_s: float) -> None:
        self._ask = asker
        self._own = context.project.model
        self._news = news
        self._log = commands.Log(context.transport, context.codec, context.clock)
        self._answer_s = answer_s
        self._numbers = count()

    async def run(
        self, verb: str, model: str, command: Command, epoch: int | None, key: str | None, user: str
    ) -> Response:
        """Ask once, and answer with what came of it."""
        now_ms = self._log.clock.now_ms()
        request = ManageModel(
            request_id=key or f"request/{model}/{verb}/{user}/{now_ms}-{next(self._numbers)}",
            model=model,
            action=commands.VERBS[verb],
            version=command.version,
            space=command.space,
            expected_epoch=epoch,
            immediate=command.immediate,
            reason=command.reason,
            requested_by=user,
            requested_at_ms=now_ms,
        )
        if model != self._own and not await self._ask(queries.knows, model):
            raise HTTPException(404, f"no model {model!r} is known; this registry is of {self._own!r}")
        try:
            audit = await self._answer(request)
        except (BusError, RegistryUnavailableError) as error:
            raise HTTPException(503, str(error)) from error
        return await self._said(request, audit)

    async def _answer(self, request: ManageModel) -> AuditRecorded | None:
        """The answer, by the projection if it was asked before, else by the log."""
        start, stored, audit = await self._ask(_known, request.request_id)
        if stored is not None and _asks(stored) != _asks(request):
            raise HTTPException(422, f"{request.request_id} was used before, for another request: {_asks(stored)}")
        if audit is not None:
            return audit
        if stored is None:
            await commands.write(self._log, request)
        return await commands.answer(self._log, request.request_id, start, self._answer_s)

    async def _said(self, request: ManageModel, audit: AuditRecorded | None) -> Response:
        if audit is None:
            detail = "no answer came in time; the request stands in the log, and the audit log will tell"
            return JSONResponse(Asked(request_id=request.request_id, detail=detail).model_dump(), 202)
        if audit.outcome == "ACCEPTED":
            epoch = audit.epoch or await commands.epoch_in_force(self._log, request.model)
            await self._caught_up(audit)
            done = Done(request_id=request.request_id, epoch=epoch, audit=AuditView.model_validate(audit))
            return JSONResponse(done.model_dump(), headers={"ETag": etag(epoch)})
        epoch = await commands.epoch_in_force(self._log, request.model)
        stale = request.expected_epoch is not None and request.expected_epoch != epoch
        return JSONResponse({"detail": audit.reason}, 412 if stale else 409, headers={"ETag": etag(epoch)})

    async def _caught_up(self, audit: AuditRecorded) -> None:
        """Wait a moment for the projection, so that whoever asks next sees what was done."""
        deadline_s = self._log.clock.monotonic_s() + SYNC_S
        while (left_s := deadline_s - self._log.clock.monotonic_s()) > 0:
            seen = self._news.number
            if await self._ask(_holds, audit) or not await self._news.after(seen, left_s):
                return


def add_routes(app: FastAPI, asker: Asker, context: Context, news: News, answer_s: float = commands.ANSWER_S) -> None:
    """Add one path for each verb. ``answer_s`` is how long the registry's answer is waited for."""
    commander = Commander(asker, context, news, answer_s)
    for verb, meaning in MEANINGS.items():
        app.add_api_route(
            f"/v1/models/{{model}}/{verb}",
            _path(verb, commander.run),
            methods=["POST"],
            responses=ANSWERS,
            response_model=Done,
            operation_id=verb,
            summary=meaning,
            description=f"{meaning}\n\n{__doc__.partition(chr(10) * 2)[2]}",
        )


def _path(verb: str, run: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
    async def asked(
        model: str,
        command: Command,
        if_match: IfMatch = None,
        key: Key = None,
        forwarded: User = None,
    ) -> Response:
        user = forwarded or command.requested_by
        if not user:
            raise HTTPException(
                400, "nobody is named: say who asks in requested_by, or let a proxy set X-Forwarded-User"
            )
        fault = commands.fault(verb, command.version)
        if fault is not None:
            raise HTTPException(422, fault)
        task = asyncio.ensure_future(run(verb, model, command, expected_epoch(if_match), key, user))
        return await asyncio.shield(task)  # who hangs up has asked all the same

    return asked


def expected_epoch(if_match: str | None) -> int | None:
    """The epoch in an If-Match header; None where any will do.

    >>> expected_epoch('"7"'), expected_epoch("*")
    (7, None)
    """
    if if_match is None or if_match.strip() == "*":
        return None
    found = re.fullmatch(r'\s*"(\d{1,18})"\s*', if_match)
    if found is None:
        raise HTTPException(400, f'If-Match {if_match!r} is no ETag of this API; give the epoch in quotes, such as "7"')
    return int(found[1])


def _asks(request: ManageModel) -> dict[str, object]:
    return request.model_dump(include={"model", "action", "version", "space", "immediate", "reason", "requested_by"})


def _known(session: Session, request_id: str) -> tuple[int, ManageModel | None, AuditRecorded | None]:
    """From where the audit log is still to be read, and what is known of a request and its answer."""
    position = session.get(Position, topics.AUDIT_EVENTS.suffix)
    request = session.get(Request, request_id)
    audit = session.scalars(select(Audit).where(Audit.caused_by == request_id).order_by(Audit.log_offset)).first()
    return (
        0 if position is None else position.next_offset,
        None if request is None else event_of(ManageModel, request),
        None if audit is None else event_of(AuditRecorded, audit),
    )


def _holds(session: Session, audit: AuditRecorded) -> bool:
    """Whether the projection has an audit record, and the epoch that came of it."""
    epoch = queries.epoch(session, audit.model or "")
    return session.get(Audit, audit.audit_id) is not None and epoch >= (audit.epoch or 0)
