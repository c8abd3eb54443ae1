"""Keeps child processes running: starts them in order, starts them again when they die, leaves none behind.

Rules
- A wave is what one call of `start` gets: its processes start together, and the call returns when all are ready.
- Once ready, a process that ends, for whatever reason and with whatever exit code, is started again after a pause. The
  pause doubles with each failure and is back at its first length once the process has been up for a while.
- Waves stop in reverse order, the processes of one wave together.
- If this process is killed, the reaper (see `reaper`) kills the children.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from millrace.bus.clock import Clock, SystemClock
from millrace.local.errors import LocalError, ProcessFailedError
from millrace.local.guard import Guard
from millrace.local.process import Child, ProcessSpec, ProcessState
from millrace.telemetry.log import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class BackOff:
    """How long to wait before a process that died is started again.

    Attributes:
        first_s: the pause after the first failure. Short, since most deaths are single.
        factor: by how much each further failure lengthens it.
        limit_s: the longest pause.
        healthy_s: a process that was up this long has failed for a new reason: the count starts over.
    """

    first_s: float = 0.5
    factor: float = 2.0
    limit_s: float = 30.0
    healthy_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """The pause after so many failures in a row.

        >>> [BackOff().pause_s(failures) for failures in (1, 2, 3, 99)]
        [0.5, 1.0, 2.0, 30.0]
        """
        exponent = min(failures - 1, 64)  # Far past any limit; a larger one would overflow.
        return float(min(self.first_s * self.factor**exponent, self.limit_s))


What = Literal["ended", "restarted", "not-ready", "ready"]


@dataclass(frozen=True)
class Change:
    """Something that happened to a process after it was first ready."""

    what: What
    state: ProcessState
    reason: str = ""


OnChange = Callable[[Change], Awaitable[None]]


class Supervisor:
    """Starts, watches, restarts and stops child processes.

    Args:
        back_off: how long to wait before a restart.
        clock: monotonic time, for how long a process has been up.
        sleep: waits out a pause.
        on_change: awaited at each change; the process waits for it.
    """

    def __init__(
        self,
        *,
        back_off: BackOff | None = None,
        clock: Clock | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        on_change: OnChange | None = None,
    ) -> None:
        self.guard = Guard()
        self._back_off = back_off or BackOff()
        self._clock = clock or SystemClock()
        self._sleep = sleep
        self._on_change = on_change
        self._waves: list[list[Child]] = []
        self._watchers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Nothing is started by entering."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop everything."""
        await self.stop()

    def states(self) -> dict[str, ProcessState]:
        """What is known about each process, by name, in the order in which they were started."""
        return {child.spec.name: child.state for wave in self._waves for child in wave}

    async def start(self, *specs: ProcessSpec) -> None:
        """Start a wave and return when every process of it is ready.

        Raises ProcessFailedError, with the end of the log, when one ends first or takes too long; what was started
        stays until `stop`.
        """
        names = [*self.states(), *(spec.name for spec in specs)]
        if len(names) != len(set(names)):
            message = f"each process needs a name of its own: {names}"
            raise LocalError(message)
        await self.guard.start()
        wave = [Child(spec, self.guard) for spec in specs]
        self._waves.append(wave)
        try:
            async with asyncio.TaskGroup() as group:
                for child in wave:
                    group.create_task(self._bring_up(child))
        except ExceptionGroup as errors:  # One cause is enough; the others are mostly its consequences.
            raise errors.exceptions[0] from None
        self._watchers += [asyncio.create_task(self._watch(child)) for child in wave]

    async def wait(self) -> None:
        """Return when stopped; raise what broke the supervision itself, such as an error in `on_change`.

        Whoever is no longer interested may cancel it: the supervision goes on.
        """
        await asyncio.shield(asyncio.gather(*self._watchers))

    async def stop(self) -> None:
        """Stop all processes in reverse order. After it none runs, nor the reaper. May be called again."""
        for watcher in self._watchers:
            watcher.cancel()
        for watcher in self._watchers:
            with suppress(asyncio.CancelledError, Exception):  # `wait` is where its error is raised
                await watcher
        self._watchers.clear()
        while self._waves:
            await asyncio.gather(*(child.stop() for child in self._waves[-1]))
            self._waves.pop()
        await self.guard.close()

    async def _bring_up(self, child: Child) -> None:
        """Start one process and wait until it is ready."""
        began_s = self._clock.monotonic_s()
        await child.spawn()
        await child.become_ready()
        log.info(
            "process ready", process=child.spec.name, pid=child.state.pid,
            took_s=round(self._clock.monotonic_s() - began_s, 2),
        )  # fmt: skip

    async def _watch(self, child: Child) -> None:
        """Start the process again each time it ends, for ever."""
        failures = 0
        while True:
            began_s = self._clock.monotonic_s()
            code = await child.wait()
            if self._clock.monotonic_s() - began_s >= self._back_off.healthy_s:
                failures = 0
            failures += 1
            pause_s = self._back_off.pause_s(failures)
            await self._report(child, "ended", f"exit code {code}; starts again in {pause_s:g} s")
            await self._sleep(pause_s)
            await self._restart(child)

    async def _restart(self, child: Child) -> None:
        """Start it once more. If that fails, stop what there is of it; the watcher sees it end."""
        child.restarts += 1
        try:
            await child.spawn()
            await self._report(child, "restarted", "")
            await child.become_ready()
        except (ProcessFailedError, OSError) as error:
            await child.stop()
            await self._report(child, "not-ready", str(error))
        else:
            await self._report(child, "ready", "")

    async def _report(self, child: Child, what: What, reason: str) -> None:
        """Log a change and hand it on."""
        change = Change(what, child.state, reason)
        log.info(
            "process changed",
            what=what,
            process=child.spec.name,
            pid=change.state.pid,
            restarts=child.restarts,
            reason=reason,
        )
        if self._on_change is not None:
            await self._on_change(change)
