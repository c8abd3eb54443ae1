"""The console's questions over HTTP: what the pages ask for. Answers may be some tenths of a second behind the log."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from sqlalchemy.orm import Session

from millrace.bus.clock import Clock
from millrace.console.actions import offered
from millrace.console.answers import LIMIT, LIMIT_MAX, Answer
from millrace.console.asker import Asker
from millrace.console.decisions import Decisions
from millrace.console.feed import Feed
from millrace.console.overview import Overview
from millrace.console.queries import alerts, audits, deployments, drifts, models, runs, timeline, versions
from millrace.console.reports import Records

Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str | None, Query(description="The `next` of the page before; the newest page if left out.")]
Status = Literal["STARTED", "SUCCEEDED", "FAILED"]
Trigger = Literal["FIRST_DATA", "DRIFT", "OPERATOR", "SCHEDULE"]
Severity = Literal["WARNING", "ALARM"]


def add_overview(
    app: FastAPI, ask: Asker, overview: Overview, feed: Feed, clock: Clock, fault: Callable[[], Any]
) -> None:
    """Add the overview and the stream of events."""

    @app.get("/api/overview", tags=["overview"])
    async def everything() -> Answer:
        """The loop as it is now."""
        cursor = feed.cursor  # before the question: what happens meanwhile is told again, not lost
        found = await ask(overview.everything, clock.now_ms(), clock.monotonic_s())
        catching_up = fault()
        return Answer({"cursor": cursor, "ready": catching_up is None, "catching_up": catching_up, **found})

    @app.get("/api/events", tags=["overview"], response_class=StreamingResponse)
    async def events(
        after: Annotated[str | None, Query(description="The cursor of the overview, or the id of an event.")] = None,
        model: str | None = None,
        last_event_id: Annotated[str | None, Header(description="The id of the last event seen.")] = None,
    ) -> StreamingResponse:
        """What happens, as it happens (server-sent events)."""
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = feed.stream(last_event_id or after, model)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


def add_models(app: FastAPI, ask: Asker, decisions: Decisions, clock: Clock) -> None:
    """Add what is asked about models."""

    @app.get("/api/models", tags=["models"])
    async def list_models(
        q: str | None = None, state: str | None = None, cursor: Cursor = None, limit: Limit = LIMIT
    ) -> Answer:
        """All models, by name."""
        return Answer(await ask(models.models, q, state, cursor, limit))

    @app.get("/api/models/{model}", tags=["models"])
    async def show_model(model: str) -> Answer:
        """One model, what is newest of it, and what can be done with it."""
        now_ms = clock.now_ms()

        def work(session: Session) -> dict[str, Any]:
            found = models.model(session, decisions, model)
            opened = sum(
                group["state"] == "open" and group["model"] == model for group in alerts.groups(session, now_ms)
            )
            return {**found, "alerts_open": opened, "actions": offered(session, decisions, model, now_ms)}

        return Answer(await ask(work))

    @app.get("/api/models/{model}/timeline", tags=["models"])
    async def show_timeline(
        model: str,
        axis: timeline.Axis = "event",
        from_ms: int | None = None,
        until_ms: int | None = None,
        metric: str | None = None,
        slice: str = "",  # noqa: A002  # the query's name
        source: Literal["labels", "estimate"] | None = None,
        max_points: Annotated[int, Query(ge=10, le=timeline.POINTS_MAX)] = timeline.POINTS_MAX,
    ) -> Answer:
        """How well a model did, who answered, and what happened, on one time axis."""
        wanted = timeline.Wanted(axis, from_ms, until_ms, metric, slice, source, max_points)
        return Answer(await _of_model(ask, model, timeline.timeline, wanted))

    @app.get("/api/models/{model}/versions", tags=["models"])
    async def list_versions(model: str, cursor: Cursor = None, limit: Limit = LIMIT) -> Answer:
        """Versions and rejected runs, newest first."""

        def work(session: Session, name: str) -> dict[str, Any]:
            return versions.versions(session, decisions, name, cursor, limit)

        return Answer(await _of_model(ask, model, work))

    @app.get("/api/models/{model}/versions/compare", tags=["models"])
    async def compare(model: str, a: int, b: int) -> Answer:
        """Two versions side by side."""

        def work(session: Session, name: str) -> dict[str, Any]:
            return versions.compare(session, decisions, name, a, b)

        return Answer(await _of_model(ask, model, work))

    @app.get("/api/models/{model}/deployments", tags=["models"])
    async def list_deployments(model: str, cursor: Cursor = None, limit: Limit = LIMIT) -> Answer:
        """Deployments, newest first."""
        return Answer(await _of_model(ask, model, deployments.deployments, cursor, limit))


def add_drifts(app: FastAPI, ask: Asker) -> None:
    """Add what is asked about drifts, and the audit log."""

    @app.get("/api/models/{model}/drifts", tags=["drifts"])
    async def list_drifts(
        model: str, severity: Severity | None = None, subject: str | None = None, cursor: Cursor = None,
        limit: Limit = LIMIT,
    ) -> Answer:  # fmt: skip
        """Drifts, newest first."""
        return Answer(await _of_model(ask, model, drifts.drifts, severity, subject, cursor, limit))

    @app.get("/api/models/{model}/drifts/{drift_id:path}", tags=["drifts"])
    async def show_drift_of(model: str, drift_id: str) -> Answer:
        """One drift with its evidence."""
        return Answer(await ask(drifts.drift, drift_id, model))

    @app.get("/api/drifts/{drift_id:path}", tags=["drifts"])
    async def show_drift(drift_id: str) -> Answer:
        """The same, where the model is not known."""
        return Answer(await ask(drifts.drift, drift_id))

    @app.get("/api/audit", tags=["audit"])
    async def list_audits(
        model: str | None = None, actor: str | None = None, action: str | None = None, outcome: str | None = None,
        cursor: Cursor = None, limit: Limit = LIMIT,
    ) -> Answer:  # fmt: skip
        """Who did what, and what came of it, newest first."""
        named = {"model": model, "actor": actor, "action": action, "outcome": outcome}
        return Answer(await ask(audits.audits, cursor=cursor, limit=limit, **named))


def add_runs(app: FastAPI, ask: Asker, records: Records) -> None:
    """Add what is asked about training runs."""

    async def listed(
        model: str | None = None, status: Status | None = None, trigger: Trigger | None = None, cursor: Cursor = None,
        limit: Limit = LIMIT,
    ) -> Answer:  # fmt: skip
        """Training runs, those that began last first."""
        return Answer(await ask(runs.runs, model, status, trigger, cursor, limit))

    async def shown(model: str, run_id: str) -> Answer:
        """One run: its checks, progress, curves, what caused it and what the registry made of it."""
        found = await ask(runs.run, model, run_id)
        return Answer({**found, **await records.of(found)})

    app.add_api_route("/api/runs", listed, methods=["GET"], tags=["runs"])
    app.add_api_route("/api/models/{model}/runs", listed, methods=["GET"], tags=["runs"], name="listed_of_model")
    for path in ("/api/models/{model}/runs/{run_id:path}", "/api/runs/{model}/{run_id:path}"):
        app.add_api_route(path, shown, methods=["GET"], tags=["runs"], name=f"shown {path}")


async def _of_model(ask: Asker, model: str, question: Callable[..., Any], *args: Any) -> Any:
    """The answer to a question about a model that is known."""

    def work(session: Session) -> Any:
        models.known(session, model)
        return question(session, model, *args)

    return await ask(work)


def add_not_found(app: FastAPI) -> None:
    """Say what there is not, rather than showing a page."""

    @app.get("/api/{path:path}", include_in_schema=False)
    async def nothing(path: str) -> Answer:
        raise HTTPException(404, f"there is nothing at /api/{path}; /openapi.json lists what there is")
