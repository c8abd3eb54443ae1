"""Puts questions to the database, in a thread."""

from collections.abc import Callable
from typing import Any, TypeVar

from millrace.bus.tasks import InThread
from millrace.console.database import Database

T = TypeVar("T")


class Asker:
    """Callable with a question and what it takes besides the session."""

    def __init__(self, database: Database, in_thread: InThread) -> None:
        self._database = database
        self._in_thread = in_thread

    async def __call__(self, question: Callable[..., T], *args: Any, **named: Any) -> T:
        """The answer."""

        def answer() -> T:
            with self._database.session() as session:
                return question(session, *args, **named)

        return await self._in_thread(answer)
