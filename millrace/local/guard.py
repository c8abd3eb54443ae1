"""The supervisor's end of the reaper: tells it what runs, and starts another one should it die."""

import asyncio
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

import psutil

from millrace.telemetry.log import get_logger

log = get_logger(__name__)


class Guard:
    """Makes sure that watched processes do not outlive this one, even if it is killed."""

    def __init__(self) -> None:
        self._watched: dict[int, float] = {}
        self._reaper: Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The reaper's process id."""
        return self._reaper.pid if self._reaper else None

    async def start(self) -> None:
        """Start the reaper. Does nothing when it runs already."""
        if self._keeper is None:
            self._reaper = await self._spawn()
            self._keeper = asyncio.create_task(self._keep())

    def watch(self, pid: int) -> None:
        """Have `pid` killed when this process ends in whatever way."""
        with suppress(psutil.NoSuchProcess):
            self._watched[pid] = psutil.Process(pid).create_time()
            self._tell(f"+{pid} {self._watched[pid]!r}\n")

    def forget(self, pid: int) -> None:
        """`pid` is gone; its number may be given to another process."""
        if self._watched.pop(pid, None) is not None:
            self._tell(f"-{pid}\n")

    async def close(self) -> None:
        """Close the pipe and wait for the reaper to end; it kills what is still watched."""
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
            self._keeper = None
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.close()
            await self._reaper.wait()
            self._reaper = None

    def _tell(self, line: str) -> None:
        """Write a line to the pipe at once; a dead reaper's successor gets the whole list anyway."""
        if self._reaper is not None and self._reaper.stdin is not None:
            self._reaper.stdin.write(line.encode())

    async def _spawn(self) -> Process:
        """Start a reaper in its own session, out of reach of the terminal's Ctrl-C."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "millrace.local.reaper"),
            stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, start_new_session=True,
        )  # fmt: skip

    async def _keep(self) -> None:
        """Replace a reaper that died, and tell the new one everything."""
        while self._reaper is not None:
            await self._reaper.wait()
            log.warning("the reaper died and is replaced", pid=self._reaper.pid)
            self._reaper = await self._spawn()
            for pid, created_at_s in self._watched.items():
                self._tell(f"+{pid} {created_at_s!r}\n")
