"""How the API says that there is no answer, and what the paths share to get one."""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import HTTPException, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from millrace.bus.tasks import InThread
from services.registry.paging import CursorError
from services.registry.projection import Projection
from services.registry.queries import NotKnownError, epoch

T = TypeVar("T")
Responses = dict[int | str, dict[str, Any]]
ETAG = {
    "ETag": {
        "description": 'The model\'s epoch in quotes, such as "7"; give it back as If-Match.',
        "schema": {"type": "string"},
    }
}


class Problem(BaseModel):
    """Why there is no answer."""

    detail: str = Field(description="What was asked for, and what there is.")


RESPONSES: Responses = {
    404: {"model": Problem, "description": "Not known."},
    503: {"model": Problem, "description": "The database does not answer; decisions go on meanwhile."},
}
OF_A_MODEL: Responses = {200: {"headers": ETAG}, **RESPONSES}
PAGED: Responses = {**OF_A_MODEL, 400: {"model": Problem, "description": "The cursor is none of this list's."}}


class Asker:
    """Puts questions to the projection, in a thread."""

    def __init__(self, projection: Projection, in_thread: InThread) -> None:
        self._projection = projection
        self._in_thread = in_thread

    async def __call__(self, question: Callable[..., T], *args: Any) -> T:
        """The answer. Raises ``HTTPException``: 404 for what is not known, 400 for a bad cursor, 503 if none can be."""

        def answer() -> T:
            with self._projection.session() as session:
                return question(session, *args)

        return await _answered(self._in_thread(answer))

    async def tagged(self, response: Response, question: Callable[..., T], model: str, *args: Any) -> T:
        """The same about one model, whose epoch becomes the answer's ETag."""

        def both(session: Session) -> tuple[int, T]:
            return epoch(session, model), question(session, model, *args)

        tag, found = await self(both)
        response.headers["ETag"] = etag(tag)
        response.headers["Cache-Control"] = "no-store"  # the tag names the epoch, not each byte of the answer
        return found


def etag(epoch: int) -> str:
    """An epoch as an entity tag.

    >>> etag(7)
    '"7"'
    """
    return f'"{epoch}"'


async def _answered(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except NotKnownError as error:
        raise HTTPException(404, str(error)) from error
    except CursorError as error:
        raise HTTPException(400, str(error)) from error
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise HTTPException(503, f"the registry's database does not answer: {error}") from error
