"""Nothing outlives the supervisor, whatever happens to it or to the reaper."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from millrace.local.process import ProcessSpec
from millrace.local.supervisor import Supervisor

PATIENCE_S = 20

# A supervisor of two processes, one of which has a child of its own in the same group.
SUPERVISOR = """
import asyncio, pathlib, sys
from millrace.local.process import ProcessSpec
from millrace.local.supervisor import Supervisor
folder = pathlib.Path(sys.argv[1])
async def main():
    supervisor = Supervisor()
    await supervisor.start(
        ProcessSpec("plain", ("sleep", "600"), folder / "plain.log"),
        ProcessSpec("parent", ("sh", "-c", "sleep 601 & wait"), folder / "parent.log"),
    )
    pids = [supervisor.guard.pid, *(state.pid for state in supervisor.states().values())]
    (folder / "new").write_text(" ".join(map(str, pids)))
    (folder / "new").rename(folder / "pids")
    await supervisor.wait()
asyncio.run(main())
"""


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; fail when it does not come."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the condition is about other processes
            await asyncio.sleep(0.01)


async def test_a_dead_reaper_is_replaced(tmp_path: Path) -> None:
    """The guard stands again after its process was killed."""
    async with Supervisor() as supervisor:
        await supervisor.start(ProcessSpec("w", ("sleep", "600"), tmp_path / "w.log"))
        first = supervisor.guard.pid
        assert first is not None
        psutil.Process(first).kill()
        await until(lambda: supervisor.guard.pid != first)

        assert psutil.pid_exists(supervisor.guard.pid or 0)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_killed_supervisor_leaves_no_process(tmp_path: Path, number: signal.Signals) -> None:
    """Whatever ends the supervisor, its children, their children and the reaper end too."""
    pids = tmp_path / "pids"
    command = [sys.executable, "-c", SUPERVISOR, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as supervisor:  # noqa: ASYNC220 - takes a millisecond
        await until(pids.exists)
        processes = [psutil.Process(int(pid)) for pid in pids.read_text().split()]
        parent = processes[-1]
        await until(parent.children)
        processes += parent.children()
        assert len(processes) == 4
        assert all(process.is_running() for process in processes)
        supervisor.send_signal(number)
        supervisor.wait()
        await until(lambda: not any(alive(process) for process in processes))


def alive(process: psutil.Process) -> bool:
    """Whether a process runs; one that only waits to be collected by its new parent does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
