"""Says on ``training-runs`` how far a run is, while it works: at most once a second, and when a new stage begins.

What is told in between replaces what waits to be told. Nothing of this can fail the run: an event that cannot be
written is left out, and when another trainer has taken over no more are. When the run's end is about to be said, an
event that is being written is waited for and none follows.
"""

import asyncio
import contextlib
from typing import Self

from millrace.bus.clock import Clock
from millrace.contracts.events import RunProgress, TrainingRunChanged
from millrace.telemetry.log import get_logger
from services.trainer import endings
from services.trainer.journal import Journal
from services.trainer.stages import Stages

log = get_logger(__name__)
EVERY_S = 1.0


class Progress:
    """Tells of one run, between entering and leaving its context. The journal must not be used by others meanwhile.

    ``stages`` notes each stage that is told.
    """

    def __init__(
        self, journal: Journal, clock: Clock, started: TrainingRunChanged, stages: Stages | None = None
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._started = started
        self._noted = stages or Stages(clock)
        self._waiting: dict[str, RunProgress] = {}  # by stage, the newest of each
        self._stages: set[str] = set()
        self._news = asyncio.Event()
        self._end = asyncio.Event()
        self._told_s = -EVERY_S
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def report(self, progress: RunProgress) -> None:
        """Tell this soon. May be called in any thread; never blocks, never raises."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the trainer has ended
            self._loop.call_soon_threadsafe(self._take, progress)

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._tell())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None, "it was entered"
        self._end.set()
        self._news.set()
        await self._task

    def _take(self, progress: RunProgress) -> None:
        self._noted.enter(progress.stage)
        self._waiting[progress.stage] = progress
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            if self._end.is_set():
                return
            self._news.clear()
            while self._waiting:
                if await self._ended_while_waiting():
                    return
                progress = self._waiting.pop(next(iter(self._waiting)))
                self._stages.add(progress.stage)
                self._told_s = self._clock.monotonic_s()
                if not await self._mentioned(progress):
                    return

    async def _mentioned(self, progress: RunProgress) -> bool:
        try:
            return await self._journal.mention(endings.progressed(self._started, progress, self._clock.now_ms()))
        except Exception as error:  # noqa: BLE001  # it came from the owner's process; the run must not end by it
            log.warning("progress was not written", run_id=self._started.run_id, error=repr(error))
            return False

    async def _ended_while_waiting(self) -> bool:
        """Wait until the next event may be told, not at all if it is of a new stage; True if the run ended first."""
        wait_s = self._told_s + EVERY_S - self._clock.monotonic_s()
        if wait_s > 0 and self._waiting.keys() <= self._stages:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._end.wait()
        return self._end.is_set()
