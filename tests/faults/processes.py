"""One service process and its successors: started, killed, asked, and started again."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

from millrace.local.ports import HOST

T = TypeVar("T")
PATIENCE_S = 90.0  # a bound for what must happen, not a measurement: a loaded machine still passes
POLL_S = 0.02


def run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, on an event loop of its own in a thread of its own."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def wait_for(condition: Callable[[], object], what: str | Callable[[], str], patience_s: float = PATIENCE_S) -> None:
    """Poll until the condition holds; ``what`` names what did not happen."""
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"within {patience_s:g} s: {what() if callable(what) else what}")
        time.sleep(POLL_S)


class Reaper:
    """Kills the processes it was told about, should this one end without saying so."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "millrace.local.reaper"], stdin=subprocess.PIPE, start_new_session=True, text=True
        )

    def tell(self, sign: str, pid: int) -> None:
        """``+`` puts it on the list, ``-`` takes it off."""
        pipe = self._process.stdin
        assert pipe is not None
        try:
            born_s = psutil.Process(pid).create_time() if sign == "+" else 0.0
        except psutil.NoSuchProcess:
            return
        pipe.write(f"{sign}{pid} {born_s!r}\n")
        pipe.flush()

    def close(self) -> None:
        """It ends, and what is still on its list."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


class Service:
    """One service process and its successors.

    Args:
        name: which service, as in ``python -m services.<name>``.
        env: what it is told, besides the failpoints.
        log_path: what all its lives write.
        reaper: who ends it if nobody else does.
        lives: the failpoints (``MILLRACE_FAILPOINTS``) of each life in turn; later lives have none.
        restarts: whether it is started again when it ends by itself. It never is after ``stop``.
    """

    def __init__(
        self, name: str, env: Mapping[str, str], log_path: Path, reaper: Reaper, lives: Iterable[str] = (),
        *, restarts: bool = True,
    ) -> None:  # fmt: skip
        self.name = name
        self.url = f"http://{HOST}:{env['MILLRACE_HTTP_PORT']}"
        self.exits: list[int] = []
        """The exit status of each life that has ended; -9 is a SIGKILL."""
        self.log_path = log_path
        self._env = {**os.environ, **env}
        self._lives = iter(lives)
        self._restarts = restarts
        self._reaper = reaper
        self._lock = threading.Lock()
        self._stopping = False
        log_path.parent.mkdir(parents=True, exist_ok=True)
        self._spawn()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()

    def _spawn(self) -> None:
        env = {**self._env, "MILLRACE_FAILPOINTS": next(self._lives, "")}
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", f"services.{self.name}"], env=env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True, cwd=Path(__file__).parents[2],
            )  # fmt: skip
        self._reaper.tell("+", self.process.pid)

    def _keep(self) -> None:
        while True:
            process = self.process
            code = process.wait()
            self._reaper.tell("-", process.pid)
            self.exits.append(code)
            with self._lock:
                if self._stopping or not self._restarts:
                    return
                self._spawn()

    @property
    def pid(self) -> int:
        """Of the life that is running, or ran last."""
        return self.process.pid

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send the process a signal: SIGKILL unless another is named."""
        os.kill(self.process.pid, number)

    def stop(self) -> int:
        """Ask it to end, kill it if it does not, and return its exit status. May be called again."""
        with self._lock:
            self._stopping = True
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self._keeper.join()
        return self.exits[-1]

    def ready(self) -> bool:
        """Whether ``/readyz`` says yes."""
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def metrics(self) -> str:
        """What ``/metrics`` shows; empty if it does not answer."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=2) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def wait_ready(self) -> Self:
        """Return when it is ready."""
        wait_for(self.ready, lambda: f"{self.name} is not ready; it said:\n{self.tail()}")
        return self

    def wait_deaths(self, count: int) -> None:
        """Return when so many of its lives have ended; each is given ``PATIENCE_S``."""
        for number in range(len(self.exits) + 1, count + 1):
            wait_for(
                lambda number=number: len(self.exits) >= number,
                lambda: f"{self.name} died {len(self.exits)} times of {count}; it said:\n{self.tail()}",
            )

    def wait_stopped(self) -> None:
        """Return when it has been stopped by SIGSTOP."""
        wait_for(
            lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED,
            lambda: f"{self.name} does not stop; it said:\n{self.tail()}",
        )

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far: one dictionary a line. What is no JSON is under ``raw``."""
        found = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                found.append({"raw": line})
        return [line if isinstance(line, dict) else {"raw": str(line)} for line in found]

    def said(self, event: str, **fields: object) -> list[dict[str, Any]]:
        """The log lines of that event that hold these fields."""
        wanted = {"event": event, **fields}
        return [
            line for line in self.lines() if wanted.items() <= {k: v for k, v in line.items() if k in wanted}.items()
        ]

    def reached(self) -> list[str]:
        """The failpoints that it says it reached, in order."""
        return [str(line["point"]) for line in self.said("failpoint reached")]

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
