"""The process that cleans up after a supervisor that was killed: `python -m millrace.local.reaper`.

It reads lines from a pipe whose other end only the supervisor holds: `+PID CREATE_TIME` when a process was started,
`-PID` when it is gone. However the supervisor ends, the kernel closes the pipe, and then whatever is still on the list
is killed, with its process group and all it started. A process id that now belongs to somebody else is left alone.
It lives in a session of its own and ignores polite signals, so that it outlives what it watches.
"""

import os
import signal
import sys
from contextlib import suppress

import psutil

# The create time is computed from the boot time, which shifts by a moment when the clock is corrected.
SAME_PROCESS_WITHIN_S = 2.0


def note(line: str, watched: dict[int, psutil.Process]) -> None:
    """Carry out one line: add a process to `watched`, or remove it."""
    sign, words = line[:1], line[1:].split()
    if sign == "-":
        watched.pop(int(words[0]), None)
        return
    with suppress(psutil.NoSuchProcess):  # It ended before we could look: nothing to watch.
        process = psutil.Process(int(words[0]))
        if abs(process.create_time() - float(words[1])) <= SAME_PROCESS_WITHIN_S:
            watched[process.pid] = process


def kill_family(process: psutil.Process) -> None:
    """Kill a process, its process group and all it started. Does nothing if it is gone or its id was given away."""
    if not process.is_running():
        return
    family = [process]
    with suppress(psutil.NoSuchProcess):
        family += process.children(recursive=True)
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, signal.SIGKILL)
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.kill()


def main() -> None:
    """Keep the list until the pipe closes, then kill what is left on it."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    watched: dict[int, psutil.Process] = {}
    for line in sys.stdin:
        note(line, watched)
    for process in watched.values():
        kill_family(process)


if __name__ == "__main__":
    main()
