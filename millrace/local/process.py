"""One child process: started under guard, asked whether it is ready, stopped for certain."""

import asyncio
import os
import signal
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from millrace.local.errors import ProcessFailedError
from millrace.local.guard import Guard
from millrace.local.probe import http_ready
from millrace.local.settings import environment

POLL_S = 0.05
TAIL_BYTES = 4_000
LOG_LIMIT_BYTES = 20_000_000
RESTARTS = "MILLRACE_RESTARTS"  # tells a service how often it was started again, for its metrics

Probe = Callable[[], Awaitable[bool]]
"""Asks a process whether it can do its work."""

# Waits for a word before it becomes the program. Should the supervisor be killed between starting the process and
# putting it on the reaper's list, the pipe closes, `read` fails, and the program never runs. The process id stays.
WAIT_FOR_GO = 'read -r go && exec "$@" </dev/null'


@dataclass(frozen=True)
class ProcessSpec:
    """What to run, and how to tell that it works.

    Attributes:
        name: unique within a supervisor.
        argv: program and arguments.
        log_path: standard output and error are appended here; past 20 MB the file becomes `.1` at the next start.
        env: laid over this process's environment.
        ready: a question to ask until it says yes, a URL that must answer 200, or None for ready at once.
        url: the address shown to people.
        ready_timeout_s: how long it may take to become ready. A JVM needs 3 s on an idle laptop, 30 s on a busy one.
        stop_timeout_s: how long it may take to end after SIGTERM; then SIGKILL.
        start_new_session: its own session and process group: Ctrl-C does not reach it, and all it starts can be killed.
    """

    name: str
    argv: tuple[str, ...]
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    ready: Probe | str | None = None
    url: str | None = None
    ready_timeout_s: float = 120.0
    stop_timeout_s: float = 15.0
    start_new_session: bool = True


@dataclass(frozen=True)
class ProcessState:
    """What is known about a process now."""

    name: str
    url: str | None
    pid: int | None
    restarts: int
    ready: bool
    started_at: datetime | None


class Child:
    """A process that can be started again and again from one specification."""

    def __init__(self, spec: ProcessSpec, guard: Guard) -> None:
        self.spec = spec
        self.restarts = 0
        self.ready = False
        self._guard = guard
        self._process: Process | None = None
        self._started_at: datetime | None = None
        self._log_start = 0

    @property
    def state(self) -> ProcessState:
        """A snapshot."""
        running = self._process is not None and self._process.returncode is None
        pid = self._process.pid if self._process is not None and running else None
        started_at = self._started_at if running else None
        return ProcessState(self.spec.name, self.spec.url, pid, self.restarts, running and self.ready, started_at)

    async def spawn(self) -> None:
        """Start the program. After it the process runs and is under guard. Raises OSError when none can be started."""
        self.ready = False
        self.spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        self._set_log_aside()
        with self.spec.log_path.open("ab") as log:
            self._log_start = log.tell()
            process = await asyncio.create_subprocess_exec(
                *("/bin/sh", "-c", WAIT_FOR_GO, self.spec.name, *self.spec.argv),
                stdin=PIPE, stdout=log, stderr=STDOUT,
                env=environment({**self.spec.env, RESTARTS: str(self.restarts)}),
                start_new_session=self.spec.start_new_session,
            )  # fmt: skip
        self._process = process
        self._guard.watch(process.pid)
        with suppress(psutil.NoSuchProcess):
            self._started_at = datetime.fromtimestamp(psutil.Process(process.pid).create_time(), UTC)
        if process.stdin is not None:
            with suppress(ConnectionError):  # It was killed already; whoever waits for it will see that.
                process.stdin.write(b"go\n")
                await process.stdin.drain()
            process.stdin.close()

    async def wait(self) -> int:
        """Wait for the process to end, kill what it left behind in its group, and return its exit code."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.ready = False
        self._signal(signal.SIGKILL)
        self._guard.forget(self._process.pid)
        return code

    async def become_ready(self) -> None:
        """Ask until the process is ready. Raises ProcessFailedError when it ends first or takes too long."""
        try:
            async with asyncio.timeout(self.spec.ready_timeout_s):
                while not await self._ask():
                    if self._process is None or self._process.returncode is not None:
                        raise self._failed(f"ended before it was ready ({self._exit()})")
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise self._failed(f"was not ready within {self.spec.ready_timeout_s:g} s") from None
        self.ready = True

    async def stop(self) -> None:
        """End the process and its group: SIGTERM, then SIGKILL. After it nothing of it runs."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(self.spec.stop_timeout_s):
                    await self._process.wait()
            self._signal(signal.SIGKILL)
        await self.wait()

    async def _ask(self) -> bool:
        """Put the question that the specification names."""
        if self._process is None or self._process.returncode is not None:
            return False
        match self.spec.ready:
            case None:
                return True
            case str(url):
                return await http_ready(url)
            case probe:
                return await probe()

    def _signal(self, number: signal.Signals) -> None:
        """Signal the process group, or the process alone where it has no group of its own."""
        if self._process is None:
            return
        with suppress(ProcessLookupError, PermissionError):  # macOS says "not permitted" of a group of zombies.
            if self.spec.start_new_session:
                os.killpg(self._process.pid, number)
            elif self._process.returncode is None:
                os.kill(self._process.pid, number)

    def _exit(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode if self._process else None
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def _failed(self, what: str) -> ProcessFailedError:
        """The error that shows the end of what this run wrote."""
        with self.spec.log_path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            log.seek(max(self._log_start, size - TAIL_BYTES))
            tail = log.read().decode(errors="replace")
        return ProcessFailedError(self.spec.name, what, self.spec.log_path, tail)

    def _set_log_aside(self) -> None:
        """Keep one older log file."""
        path = self.spec.log_path
        if path.exists() and path.stat().st_size > LOG_LIMIT_BYTES:
            path.replace(path.with_name(f"{path.name}.1"))
