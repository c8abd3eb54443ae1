"""Processes of rows: started with their output in a file, stopped with all that they started."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.rows import ROOT, Command
from millrace.local.settings import environment

STOP_S = 15.0
PROBE_S = 0.5
PROBE_TIMEOUT_S = 60.0
SETTLE_S = 1.5
REASON_CHARS = 200


@contextmanager
def started(command: Command, log_path: Path) -> Iterator[psutil.Popen]:
    """The process at work, in a group of its own; at the end SIGTERM, and SIGKILL to whatever is left of the group."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = psutil.Popen(
            command.argv, env=environment(command.env), cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            with suppress(psutil.TimeoutExpired):
                process.wait(STOP_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def last_words(log_path: Path) -> str:
    """The last line of a log, for the reason of a row that failed."""
    if not log_path.exists():
        return "it wrote nothing"
    lines = [line.strip() for line in log_path.read_text("utf-8", "replace").splitlines() if line.strip()]
    return (lines[-1] if lines else "it wrote nothing")[:REASON_CHARS]


def until_answering(process: psutil.Popen, answers: Callable[[], int], probe: Callable[[], None]) -> int:
    """Send probes until one is answered and no more answers come; returns how many came. For who reads from "latest".

    Raises:
        TimeoutError: none was answered.
    """
    deadline = time.monotonic() + PROBE_TIMEOUT_S
    while not answers():
        if time.monotonic() > deadline or process.poll() is not None:
            raise TimeoutError(f"it answered no request within {PROBE_TIMEOUT_S:.0f} s")
        probe()
        time.sleep(PROBE_S)
    seen, since = answers(), time.monotonic()
    while time.monotonic() - since < SETTLE_S:
        time.sleep(PROBE_S / 5)
        if answers() != seen:
            seen, since = answers(), time.monotonic()
    return seen


def numbers_of(pairs: Sequence[tuple[bytes, bytes]]) -> list[int]:
    """The number at the end of each key, sorted.

    >>> numbers_of([(b"bench-0007", b""), (b"bench-0003", b"")])
    [3, 7]
    """
    return sorted(int(key.rpartition(b"-")[2]) for key, _ in pairs)
