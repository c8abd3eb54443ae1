"""Who runs on a data folder: an exclusive lock, and a file that tells everybody else the addresses."""

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import psutil

from millrace.local.atomic import write_json
from millrace.local.errors import DataFolderInUseError

RUN = "run.json"
LOCK = "lock"


class FolderLock:
    """An exclusive lock on a data folder. The kernel lets go of it when its process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock. Raises DataFolderInUseError, naming the process that holds it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = (self._folder / LOCK).open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise DataFolderInUseError(self._folder, int(holder) if holder.isdigit() else None) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._file is not None:
            self._file.close()
            self._file = None


def is_locked(folder: Path) -> bool:
    """Whether some process holds the lock of a data folder."""
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


@dataclass(frozen=True)
class RunningService:
    """Where one service answers."""

    url: str
    pid: int | None
    restarts: int


@dataclass(frozen=True)
class RunInfo:
    """What `run.json` tells. `pid` is the supervisor's."""

    bootstrap_servers: str
    schema_registry_url: str
    project: str | None
    pid: int
    services: dict[str, RunningService] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The content of `run.json`."""
        return asdict(self)


def write_run(folder: Path, info: RunInfo) -> None:
    """Replace the run file of a data folder."""
    write_json(folder / RUN, info.as_json())


def remove_run(folder: Path) -> None:
    """Remove the run file: nothing runs here any more."""
    with suppress(FileNotFoundError):
        (folder / RUN).unlink()


def running(folder: Path) -> RunInfo | None:
    """What runs on a data folder, or None.

    A run file that a killed supervisor left behind does not count: its process must live and the folder be locked; the
    latter because the process id may belong to somebody else by now.
    """
    try:
        content = json.loads((folder / RUN).read_text("utf-8"))
    except FileNotFoundError:
        return None
    services = {name: RunningService(**service) for name, service in content.pop("services").items()}
    info = RunInfo(**content, services=services)
    return info if psutil.pid_exists(info.pid) and is_locked(folder) else None
