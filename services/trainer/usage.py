"""What a fit needs of the machine: processor time, memory, disk, by names that progress and records share.

``cpu_s`` is processor time, ``memory_bytes_max`` the most resident memory, ``disk_bytes`` what was written to disks,
``wall_s`` the time since the fit began. Inside a fit they are of its process and of those that it started and saw end;
from outside, of the whole process group, as far as a look every half second shows it.
"""

import contextlib
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import psutil

from services.trainer.answer import Limits

BLOCK_BYTES = 512  # of ru_oublock
MIB = 1024 * 1024


def own(began_s: float) -> dict[str, float]:
    """What this process has needed since ``began_s``, by the monotonic clock."""
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return {
        "cpu_s": sum(part.ru_utime + part.ru_stime for part in parts),
        "memory_bytes_max": float(max(part.ru_maxrss for part in parts) * 1024),
        "disk_bytes": float(sum(part.ru_oublock for part in parts) * BLOCK_BYTES),
        "wall_s": time.monotonic() - began_s,
    }


@dataclass(slots=True)
class Family:
    """A process with all of its descendants, looked at now and then."""

    pid: int
    memory_bytes_max: int = 0
    cpu_s: Mapping[int, float] = field(default_factory=dict)

    def members(self) -> list[psutil.Process]:
        """The processes that are there."""
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(self.pid)
            return [first, *first.children(recursive=True)]
        return []

    def excess(self, limits: Limits) -> str | None:
        """Look, and say what is above the limits, in words that name the way out."""
        members = self.members()
        resident, cpu = 0, dict(self.cpu_s)
        for process in members:
            with contextlib.suppress(psutil.Error), process.oneshot():
                times = process.cpu_times()
                resident += process.memory_info().rss
                cpu[process.pid] = times.user + times.system
        self.cpu_s = cpu
        self.memory_bytes_max = max(self.memory_bytes_max, resident)
        if limits.processes and len(members) > limits.processes:
            return f"the fit ran {len(members)} processes at once, {limits.processes} are allowed, and was killed"
        if limits.memory_mb and resident > limits.memory_mb * MIB:
            return (
                f"the fit needs more memory than it may have: its {len(members)} processes hold {resident // MIB} MiB "
                f"of {limits.memory_mb}; raise MILLRACE_TRAINING_MEMORY_MB or train on less"
            )
        spent = sum(cpu.values())
        if limits.cpu_s and spent > limits.cpu_s:
            return out_of_cpu(limits.cpu_s)
        return None


def out_of_cpu(cpu_s: int) -> str:
    """What a fit is told that used up its processor time."""
    return (
        f"the fit used more than {cpu_s} s of processor time and was killed; "
        "raise MILLRACE_TRAINING_CPU_S or train on less"
    )
