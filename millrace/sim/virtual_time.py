"""An event loop whose time is virtual: waiting takes no time, and always happens in the same order.

When nothing is ready, asyncio asks its selector to wait until the next timer. This selector does not wait: it moves
the loop's time to that timer and returns. Timers, timeouts and sleeps work unchanged; threads and sockets must not be
used, because nothing waits for them.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class DeadlockError(RuntimeError):
    """Every task waits for another one, and no timer is set: nothing would ever happen again."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop that starts at second 0 and jumps from timer to timer."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._virtual_s

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self._virtual_s += seconds


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            if timeout is None:
                raise DeadlockError("no task can go on and no timer is set")
            self._loop.advance(max(timeout, 0.0))
        return ready


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a virtual clock.

    >>> async def an_hour():
    ...     await asyncio.sleep(3600)
    ...     return asyncio.get_running_loop().time()
    >>> run(an_hour())
    3600.0
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
