"""The only file that asks for the time. Everything else is given a clock.

``SystemClock`` is for processes. ``LoopClock`` follows the running event loop's own time, so that under the
simulation's loop, whose time is virtual, an hour passes in no time and always in the same way.
"""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is written down, monotonic time for how long to wait."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, from the machine's wall clock."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """Seconds from the machine's monotonic clock."""
        return time.monotonic()


class LoopClock:
    """Time of the running event loop, counted from ``epoch_ms``."""

    def __init__(self, epoch_ms: int) -> None:
        self._epoch_ms = epoch_ms

    def now_ms(self) -> int:
        """Milliseconds since the epoch, as the loop counts them."""
        return self._epoch_ms + round(asyncio.get_running_loop().time() * 1000)

    def monotonic_s(self) -> float:
        """The loop's own time in seconds."""
        return asyncio.get_running_loop().time()
