"""The lock of a data folder and the file that tells what runs there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.local.errors import DataFolderInUseError
from millrace.local.runfile import FolderLock, RunInfo, RunningService, is_locked, remove_run, running, write_run

HOLD = """
import os, sys, time
from pathlib import Path
from millrace.local.runfile import FolderLock, RunInfo, write_run
folder = Path(sys.argv[1])
lock = FolderLock(folder)
lock.acquire()
write_run(folder, RunInfo("b", "r", None, os.getpid()))
print("held", flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock and has written a run file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def finish(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """End it and close the pipes."""
    process.send_signal(number)
    with process:
        process.wait()


def test_a_second_platform_is_told_who_is_there(tmp_path: Path) -> None:
    """The error names folder and process id of the holder."""
    other = holder(tmp_path)
    try:
        with pytest.raises(DataFolderInUseError, match=f"{tmp_path} is in use by process {other.pid}"):
            FolderLock(tmp_path).acquire()
    finally:
        finish(other, signal.SIGTERM)


def test_the_kernel_lets_go_of_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    """After SIGKILL the run file is still there, is known to be stale, and the folder can be taken."""
    other = holder(tmp_path)
    assert running(tmp_path) == RunInfo("b", "r", None, other.pid)
    finish(other, signal.SIGKILL)

    assert (tmp_path / "run.json").exists()
    assert running(tmp_path) is None
    lock = FolderLock(tmp_path)
    lock.acquire()
    assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)


def test_a_run_file_whose_process_id_was_given_away_is_stale(tmp_path: Path) -> None:
    """The process id lives, but is somebody else's: the folder is not locked."""
    write_run(tmp_path, RunInfo("b", "r", None, os.getpid()))

    assert running(tmp_path) is None


def test_the_run_file_reads_back(tmp_path: Path) -> None:
    """What was written is what others read; after its removal nothing runs."""
    info = RunInfo("b", "r", "/project", os.getpid(), {"serving": RunningService("http://h:1", 7, 2)})
    lock = FolderLock(tmp_path)
    lock.acquire()
    write_run(tmp_path, info)

    assert info == running(tmp_path)
    remove_run(tmp_path)
    assert running(tmp_path) is None
    lock.release()
