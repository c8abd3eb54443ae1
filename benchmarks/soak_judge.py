"""Whether a process stays as it is: robust slopes, and the limits that they are held against. Pure.

Only the second half of a soak is judged: in the first, caches, windows and the ids that are remembered fill up.

**Memory** may not grow faster than ``MEMORY_CAP_MIB_PER_HOUR``, which is a gibibyte in a day: a process that is
restarted at least daily by a rollout stays within the memory that it is usually given. A slope is the median of the
slopes of all pairs of looks (Theil and Sen), which a few odd looks do not move; what is left of the noise, allocators
that take memory in steps of a mebibyte or two, is some 10 MiB an hour in five minutes and well below the cap.

**Descriptors and tasks** may not grow at all, but they breathe: connections come and go with requests. So the medians
of the first and the last fifth of the second half are compared, and ``SPARE`` more is still the same.
"""

from collections.abc import Sequence
from statistics import median
from typing import Any

from benchmarks.soak_watch import Look

MEMORY_CAP_MIB_PER_HOUR = 1024 / 24
SPARE = 2.0
JUDGED_FROM_S = 150  # of the second half; in less, caches are still filling up
Figures = dict[str, Any]


def theil_sen(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The median of the slopes of all pairs.

    >>> theil_sen([0, 1, 2, 3], [0, 2, 400, 6])
    2.0
    """
    slopes = [
        (ys[later] - ys[earlier]) / (xs[later] - xs[earlier])
        for earlier in range(len(xs))
        for later in range(earlier + 1, len(xs))
        if xs[later] != xs[earlier]
    ]
    return median(slopes) if slopes else 0.0


def rise(values: Sequence[float]) -> float:
    """By how much the median of the last fifth exceeds that of the first.

    >>> rise([10, 10, 11, 10, 99, 10, 11, 12, 14, 14])
    4.0
    """
    fifth = max(1, len(values) // 5)
    return float(median(values[-fifth:]) - median(values[:fifth])) if values else 0.0


def judge(looks: Sequence[Look]) -> Figures:
    """The second half of one process's looks, in figures, and ``faults`` in words."""
    half = [one for one in looks if one.at_s >= looks[-1].at_s / 2]
    slope = theil_sen([one.at_s / 3600 for one in half], [one.rss_mib for one in half])
    tasks = [one.tasks for one in half if one.tasks is not None]
    figures: Figures = {
        "rss_mib": {"start": looks[0].rss_mib, "half": half[0].rss_mib, "end": half[-1].rss_mib},
        "memory_mib_per_hour": round(slope, 2),
        "descriptors": half[-1].descriptors,
        "descriptors_rise": rise([one.descriptors for one in half]),
        "judged_s": half[-1].at_s - half[0].at_s,
        "threads": half[-1].threads,
        "tasks": tasks[-1] if tasks else None,
        "tasks_rise": rise(tasks) if tasks else None,
        "cpu_share": round((half[-1].cpu_s - half[0].cpu_s) / max(half[-1].at_s - half[0].at_s, 1e-9), 3),
    }
    figures["faults"] = faults_of(figures)
    return figures


def faults_of(figures: Figures) -> list[str]:
    """What breaks a limit."""
    found = []
    if figures["judged_s"] >= JUDGED_FROM_S and figures["memory_mib_per_hour"] > MEMORY_CAP_MIB_PER_HOUR:
        found.append(
            f"memory grows by {figures['memory_mib_per_hour']} MiB/hour, at most {MEMORY_CAP_MIB_PER_HOUR:.1f} is flat"
        )
    for what in ("descriptors", "tasks"):
        rose = figures[f"{what}_rise"]
        if rose is not None and rose > SPARE:
            found.append(f"{what} rose by {rose:g} in the second half")
    return found
