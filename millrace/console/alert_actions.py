"""Alerts: which want somebody, what people did about them, and what Prometheus tells."""

import json
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from sqlalchemy import select
from sqlalchemy.orm import Session

from millrace.alerting.prometheus import events_of
from millrace.bus.write_once import Message, write_once
from millrace.console.actions import User
from millrace.console.answers import LIMIT, LIMIT_MAX, Answer
from millrace.console.asker import Asker
from millrace.console.bodies import Matter, Silence, Unsilence
from millrace.console.queries import alerts
from millrace.console.tables import Alert, Handling
from millrace.contracts import topics
from millrace.contracts.events import AlertHandled, AlertRaised
from services.registry.commands import Log
from services.registry.queries import NotKnownError

Action = Literal["NOTED", "ACKNOWLEDGED", "SILENCED", "UNSILENCED"]
State = Literal["open", "acknowledged", "silenced", "over", "all"]
Done = {"NOTED": "noted", "ACKNOWLEDGED": "acknowledged", "SILENCED": "silenced", "UNSILENCED": "no longer silenced"}


def add_routes(app: FastAPI, ask: Asker, log: Log) -> None:
    """Add what is asked and done about alerts."""

    @app.get("/api/alerts", tags=["alerts"])
    async def show(
        state: State = "open",
        model: str | None = None,
        service: str | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX)] = LIMIT,
    ) -> Answer:
        """Alerts in groups of the same service, reason and subject; the newest first."""
        now_ms = log.clock.now_ms()
        return Answer(await ask(alerts.alerts, now_ms, state, model, service, cursor, limit))

    handler = Handler(ask, log)
    _add_handling(app, handler)

    @app.post("/api/alertmanager", tags=["alerts"])
    async def alertmanager(request: Request) -> Answer:
        """Alertmanager's webhook (version 4): what Prometheus found becomes alerts here."""
        events = events_of(await request.body())
        await handler.told(events)
        return Answer({"raised": sum(isinstance(event, AlertRaised) for event in events), "events": len(events)})


def _add_handling(app: FastAPI, handler: "Handler") -> None:
    @app.post("/api/alerts/acknowledge", tags=["alerts"])
    async def acknowledge(body: Matter, user: User = None) -> Answer:
        """Say that somebody looks at them."""
        return await handler.handle("ACKNOWLEDGED", body, user)

    @app.post("/api/alerts/note", tags=["alerts"])
    async def note(body: Matter, user: User = None) -> Answer:
        """Add a remark."""
        return await handler.handle("NOTED", body, user)

    @app.post("/api/alerts/silence", tags=["alerts"])
    async def silence(body: Silence, user: User = None) -> Answer:
        """Keep alerts like these from being sent on until a time; they are shown all the same."""
        until_ms = body.until_ms
        if until_ms is None:
            assert body.for_s is not None, "validated"
            until_ms = handler.now_ms() + round(body.for_s * 1000)
        return await handler.handle("SILENCED", body, user, until_ms)

    @app.post("/api/alerts/unsilence", tags=["alerts"])
    async def unsilence(body: Unsilence, user: User = None) -> Answer:
        """End a silence."""
        return await handler.handle("UNSILENCED", await handler.of_silence(body), user)


class Handler:
    """Writes what people do about alerts."""

    def __init__(self, ask: Asker, log: Log) -> None:
        self._ask = ask
        self._log = log

    def now_ms(self) -> int:
        """Wall time."""
        return self._log.clock.now_ms()

    async def of_silence(self, body: Unsilence) -> Matter:
        """What a silence named: by that it is ended."""
        if body.handling_id is None:
            return body
        named = await self._ask(_matter_of_silence, body.handling_id)
        return body.model_copy(update=named)

    async def handle(self, action: Action, body: Matter, user: str | None, until_ms: int | None = None) -> Answer:
        """Write what was done; the same request id is the same handling."""
        event = AlertHandled(
            handling_id=f"handling/{body.request_id or f'{body.actor}/{self.now_ms()}'}",
            action=action,
            alert_id=body.alert_id,
            service=body.service,
            reason=body.reason,
            subject=body.subject,
            until_ms=until_ms,
            actor=user or body.actor,
            comment=body.comment,
            handled_at_ms=self.now_ms(),
        )
        if await self._ask(_is_new, event):
            await self._write(event)
        about = body.subject or body.reason or body.service or body.alert_id
        return Answer({"outcome": "ACCEPTED", "words": f"{about}: {Done[action]}", "handling_id": event.handling_id})

    async def told(self, events: list[AlertRaised | AlertHandled]) -> None:
        """Write what Alertmanager told, and was not told before: it repeats itself."""
        for event in events:
            if await self._ask(_is_new, event):
                await self._write(event)

    async def _write(self, event: AlertRaised | AlertHandled) -> None:
        if isinstance(event, AlertHandled):
            message = Message(topics.ALERT_ACTIONS, event.actor, event)
            identity = event.handling_id
        else:
            message = Message(topics.ALERTS, event.model or event.service, event)
            identity = event.alert_id
        await write_once(self._log.transport, self._log.codec, f"millrace.console.{identity}", [message])


def _is_new(session: Session, event: AlertRaised | AlertHandled) -> bool:
    if isinstance(event, AlertRaised):
        known = session.scalar(select(Alert.log_offset).where(Alert.alert_id == event.alert_id).limit(1))
        return known is None
    if event.action == "ACKNOWLEDGED" and event.alert_id is not None:
        known = session.scalar(select(Alert.log_offset).where(Alert.alert_id == event.alert_id).limit(1))
        if known is None:
            raise NotKnownError(f"there is no alert {event.alert_id!r}")
    return session.get(Handling, event.handling_id) is None


def _matter_of_silence(session: Session, handling_id: str) -> dict[str, Any]:
    found = session.get(Handling, handling_id)
    event = {} if found is None else json.loads(found.body)
    if event.get("action") != "SILENCED":
        raise NotKnownError(f"there is no silence {handling_id!r}")
    return {name: event[name] for name in ("alert_id", "service", "reason", "subject")}
