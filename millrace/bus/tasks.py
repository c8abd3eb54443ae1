"""Work that stands and falls together, and work that blocks."""

import asyncio
import time
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


class Offload:
    """Makes the calls of one kind in a thread, or right here when that is over before a thread would have begun.

    A thread that wants the interpreter back waits up to 5 ms for it, several times in a small batch. So a call that is
    expected to need less than ``DIRECT_S`` of CPU, by what the last one needed, is made directly; the event loop can
    stand that. CPU time is measured, not time: waiting for the interpreter must not make a small call look large.
    """

    DIRECT_S = 0.01

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._last_s = float("inf")  # the first one goes into a thread: nothing is known about it
        self._last_rows = 1

    async def __call__(self, rows: int, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of the call, which works on so many rows."""

        def measured() -> T:
            began_s = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._last_s, self._last_rows = time.thread_time() - began_s, max(1, rows)

        if self._last_s * max(1.0, rows / self._last_rows) <= self.DIRECT_S:
            return measured()
        return await self._in_thread(measured)


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
