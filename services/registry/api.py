"""The registry's questions over HTTP. Answers come from the projection, so they may be some milliseconds behind.

What is asked about one model carries its epoch as ETag; ``api_commands`` takes it back as If-Match.
"""

from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from millrace.bus.context import Context
from millrace.bus.tasks import InThread
from services.registry import api_commands, details, queries
from services.registry.card_text import markdown
from services.registry.cards import Card
from services.registry.feed import Feed, PlaceError
from services.registry.history_views import History
from services.registry.news import News
from services.registry.paging import LIMIT, LIMIT_MAX
from services.registry.problems import OF_A_MODEL, PAGED, RESPONSES, Asker, Problem, Responses
from services.registry.projection import Projection
from services.registry.rollout_views import Rollouts
from services.registry.times import time_ms
from services.registry.views import Audits, ChampionView, Deployments, ModelDetail, Models, VersionDetail, Versions

At = Annotated[int | None, Query(description="Time in ms since 1970-01-01T00:00:00Z; now if left out.")]
When = Annotated[
    str | None, Query(description="Time, ISO 8601 (UTC where it names no zone) or in ms since 1970; left out: all.")
]
Limit = Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")]
Cursor = Annotated[str | None, Query(description="The `next` of the page before; the newest page if left out.")]
STREAM: Responses = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Server-sent events: event is the schema's name, data the event as JSON, id where to resume.",
    },
    400: {"model": Problem, "description": "Last-Event-ID is none that this stream gave."},
}


def add_routes(
    app: FastAPI,
    projection: Projection,
    in_thread: InThread,
    *,
    context: Context,
    news: News,
) -> None:
    """Add the paths under ``/v1/models``.

    Args:
        app: the service's application.
        projection: what answers.
        in_thread: how it is asked.
        context: the registry's own; commands are written with it.
        news: tells when the projection changes.
    """
    asker = Asker(projection, in_thread)
    _add_questions(app, asker)
    _add_lists(app, asker)
    _add_history(app, asker, context)
    _add_events(app, asker, Feed(projection, in_thread, news), context.project.model)
    api_commands.add_routes(app, asker, context, news)


def _add_questions(app: FastAPI, ask: Asker) -> None:
    @app.get("/v1/models", responses=RESPONSES)
    async def list_models() -> Models:
        """All models, and what serves."""
        return Models(models=await ask(queries.models))

    @app.get("/v1/models/{model}", responses=OF_A_MODEL)
    async def show_model(model: str, response: Response) -> ModelDetail:
        """One model, and what each partition really serves."""
        return await ask.tagged(response, queries.model, model)

    @app.get("/v1/models/{model}/champion", responses=OF_A_MODEL)
    async def show_champion(model: str, response: Response, at: At = None) -> ChampionView:
        """The champion at a time, and why. `history` tells the other versions too."""
        return await ask.tagged(response, queries.champion, model, at)

    @app.get("/v1/models/{model}/versions/{version}", responses=OF_A_MODEL)
    async def show_version(model: str, version: int, response: Response) -> VersionDetail:
        """One version: its life, where it served, and all that its run told."""
        return await ask.tagged(response, details.version, model, version)

    @app.get(
        "/v1/models/{model}/versions/{version}/card",
        responses={**OF_A_MODEL, 200: {**OF_A_MODEL[200], "content": {"text/markdown": {}}}},
        response_model=Card,
    )
    async def show_card(
        model: str,
        version: int,
        response: Response,
        accept: Annotated[str, Header(description="text/markdown for people; JSON otherwise.")] = "",
    ) -> Card | Response:
        """The model card: data, metrics beside champion and baselines, checks, approvals, where it served, limits."""
        found = await ask.tagged(response, details.model_card, model, version)
        if "text/markdown" in accept:
            return PlainTextResponse(markdown(found), media_type="text/markdown", headers=dict(response.headers))
        return found


def _add_lists(app: FastAPI, ask: Asker) -> None:
    @app.get("/v1/models/{model}/versions", responses=PAGED)
    async def list_versions(model: str, response: Response, cursor: Cursor = None, limit: Limit = LIMIT) -> Versions:
        """Versions and rejected runs, newest first, with why."""
        return await ask.tagged(response, queries.versions, model, cursor, limit)

    @app.get("/v1/models/{model}/deployments", responses=PAGED)
    async def list_deployments(
        model: str, response: Response, cursor: Cursor = None, limit: Limit = LIMIT
    ) -> Deployments:
        """Deployments, newest first, and what serving said about each."""
        return await ask.tagged(response, queries.deployments, model, cursor, limit)

    @app.get("/v1/models/{model}/audit", responses=PAGED)
    async def list_audits(model: str, response: Response, cursor: Cursor = None, limit: Limit = LIMIT) -> Audits:
        """Who did what, or asked for what and was refused, newest first."""
        return await ask.tagged(response, queries.audits, model, cursor, limit)

    @app.get("/v1/models/{model}/rollouts", responses=OF_A_MODEL)
    async def show_rollouts(model: str, response: Response) -> Rollouts:
        """The rollout under way with its evidence, summed over the partitions; and whether the model is frozen."""
        return await ask.tagged(response, queries.under_way, model)


def _add_history(app: FastAPI, ask: Asker, context: Context) -> None:
    bad_time: Responses = {400: {"model": Problem, "description": "That is no time."}}

    @app.get("/v1/models/{model}/history", responses={**OF_A_MODEL, **bad_time})
    async def show_history(model: str, response: Response, at: When = None) -> History:
        """What served at a time, at what share, by whose word and why, and why nothing else did.

        Without a time: what serves now, and every event of the model's life.
        """
        try:
            at_ms = None if at is None else time_ms(at)
        except ValueError as error:
            raise HTTPException(400, str(error)) from error
        spaces = context.project.spaces if context.project.model == model else None
        return await ask.tagged(response, queries.history, model, at_ms, spaces)


def _add_events(app: FastAPI, ask: Asker, feed: Feed, own: str) -> None:
    @app.get("/v1/models/{model}/events", responses=STREAM, response_class=StreamingResponse)
    async def stream_events(
        model: str,
        last_event_id: Annotated[
            str | None, Header(description="The id of the last event seen; the stream goes on after it.")
        ] = None,
        *,
        live: Annotated[bool, Query(description="Without Last-Event-ID: begin with what happens next.")] = False,
    ) -> StreamingResponse:
        """The log of decisions as it grows: versions, deployments, audit records; from the beginning, or from an id.

        A comment is sent when nothing happens, so that a dead connection is noticed.
        """
        if model != own:  # whose first word is waited for
            await ask(queries.model, model)  # one that nobody knows would be a stream that never says anything
        try:
            place = await feed.place(last_event_id, live=live)
        except PlaceError as error:
            raise HTTPException(400, str(error)) from error
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        return StreamingResponse(feed.stream(model, place), media_type="text/event-stream", headers=headers)
