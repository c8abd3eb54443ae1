"""What the process runs on: measured when metrics are asked for."""

import shutil
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from millrace.telemetry.metrics import BUILD, DISK_FREE_BYTES, DISK_SIZE_BYTES, MEMORY_LIMIT_BYTES, PROCESS_RESTARTS

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
UNLIMITED = 1 << 60  # what version 1 of control groups says for no limit is larger


def started(service: str, restarts: int) -> None:
    """A service begins: say what it is, and how often it had to be started again."""
    try:
        ours = version("millrace")
    except PackageNotFoundError:  # run from a folder that was not installed
        ours = "unknown"
    BUILD.info({"version": ours, "python": sys.version.split()[0], "service": service})
    PROCESS_RESTARTS.labels(service).inc(restarts)


def measure(service: str, data: Path, limits: tuple[Path, ...] = CGROUP_LIMITS) -> None:
    """Bring disk and memory limit up to date. ``data`` is the data folder, or where it will be."""
    while not data.exists() and data != data.parent:
        data = data.parent
    with suppress(OSError):
        disk = shutil.disk_usage(data)
        DISK_SIZE_BYTES.labels(service).set(disk.total)
        DISK_FREE_BYTES.labels(service).set(disk.free)
    for path in limits:
        with suppress(OSError, ValueError):  # not there, or "max"
            limit = int(path.read_text(encoding="ascii"))
            if limit < UNLIMITED:
                MEMORY_LIMIT_BYTES.labels(service).set(limit)
            return
