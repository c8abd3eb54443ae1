"""Work that stands and falls together, and work that blocks."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class InThread(Protocol):
    """How a call that blocks is made: ``asyncio.to_thread``, or :func:`inline`."""

    async def __call__(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The call's result."""
        ...


async def inline(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make the call right here. For simulations, whose virtual time must not run on beside a thread."""
    return call(*args, **kwargs)


async def run_together(*work: Coroutine[Any, Any, object]) -> None:
    """Run all at once until each has returned, or one fails.

    Then, and on cancellation, the others are cancelled and awaited; the first error is raised as it is. (A
    ``TaskGroup`` would wrap it, and callers decide by the error's type.)
    """
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError):
            raise result
