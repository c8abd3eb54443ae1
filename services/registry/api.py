"""The registry's questions over HTTP. Answers come from the projection, so they may be some milliseconds behind."""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import FastAPI, HTTPException, Query
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from millrace.bus.tasks import InThread
from services.registry import queries
from services.registry.projection import Projection
from services.registry.views import ChampionView, Deployments, ModelDetail, Models, Versions

T = TypeVar("T")
At = Annotated[int | None, Query(description="Time in ms since 1970-01-01T00:00:00Z; now if left out.")]


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="What was asked for, and what there is.")


RESPONSES: dict[int | str, dict[str, Any]] = {
    404: {"model": Problem, "description": "Not known."},
    503: {"model": Problem, "description": "The database does not answer; decisions go on meanwhile."},
}


def add_routes(app: FastAPI, projection: Projection, in_thread: InThread) -> None:
    """Add the paths under ``/v1/models``."""

    async def ask(question: Callable[..., T], *args: Any) -> T:
        def answer() -> T:
            with projection.session() as session:
                return question(session, *args)

        return await _answered(in_thread(answer))

    @app.get("/v1/models", responses=RESPONSES)
    async def list_models() -> Models:
        """All models, and what serves."""
        return Models(models=await ask(queries.models))

    @app.get("/v1/models/{model}", responses=RESPONSES)
    async def show_model(model: str) -> ModelDetail:
        """One model, and what each partition really serves."""
        return await ask(queries.model, model)

    @app.get("/v1/models/{model}/versions", responses=RESPONSES)
    async def list_versions(model: str) -> Versions:
        """All versions and rejected runs, newest first, with why."""
        versions, rejected = await ask(queries.versions, model)
        return Versions(model=model, versions=versions, rejected=rejected)

    @app.get("/v1/models/{model}/deployments", responses=RESPONSES)
    async def list_deployments(model: str) -> Deployments:
        """All deployments, newest first, and what serving said about each."""
        return Deployments(model=model, deployments=await ask(queries.deployments, model))

    @app.get("/v1/models/{model}/champion", responses=RESPONSES)
    async def show_champion(model: str, at: At = None) -> ChampionView:
        """What served at a time, and why."""
        return await ask(queries.champion, model, at)


async def _answered(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except queries.NotKnownError as error:
        raise HTTPException(404, str(error)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise HTTPException(503, f"the registry's database does not answer: {error}") from error
