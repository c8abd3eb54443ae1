"""Watches a process at work: how many of its outputs are visible, its processor time, its memory.

Twenty-five times a second a client of another make asks the broker for the last stable offsets of the output topic:
what a read_committed reader could see at that moment. That costs a millisecond, and nothing is read while measuring.
Markers of transactions take places in the log: afterwards the records are read and counted, and the curve is scaled
by that count, so that a row with many small transactions does not look faster than it is.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks.readback import rows_below

POLL_S = 0.04
PROCESSES_EVERY = 6  # polls; to look through all processes takes some milliseconds
QUIET_S = 0.8
CALL_S = 10.0
Progress = Callable[[], int]
"""How many outputs are visible now."""


@dataclass(frozen=True, slots=True)
class Point:
    """One look: seconds since the start, and what had been done by then."""

    at_s: float
    visible: int


@dataclass(slots=True)
class Watched:
    """What was seen. ``cpu`` is (time, processor seconds of the process and its children)."""

    points: list[Point] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    broker_cpu_s: float = 0.0
    memory_mib: float = 0.0
    ended: str | None = None


class Ends:
    """Last stable offsets of a topic, summed, less where it began."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "socket.nagle.disable": True})
        self._asked: dict[Any, Any] = {
            TopicPartition(topic, number): OffsetSpec.latest() for number in range(partitions)
        }
        self._seen = 0

    def until_known(self) -> "Ends":
        """Wait until the partitions have leaders, so that the first look is as quick as the others."""
        deadline = time.monotonic() + CALL_S
        while True:
            futures = self._admin.list_offsets(self._asked, request_timeout=CALL_S)
            try:
                for future in futures.values():
                    future.result()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)
            else:
                return self

    def __call__(self) -> int:
        """The number of places that a read_committed reader can see. Never less than before."""
        futures = self._admin.list_offsets(
            self._asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=CALL_S
        )
        with suppress(KafkaException):  # a new topic has no leader for a moment: nothing is visible yet
            self._seen = sum(future.result().offset for future in futures.values())
        return self._seen


class Published:
    """The rows of observations whose findings are out, by the position that moves with them."""

    def __init__(
        self, bootstrap_servers: str, group: str, topic: str, frames: dict[int, list[tuple[int, int]]]
    ) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap_servers, "socket.nagle.disable": True})
        self._asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in frames])
        self._frames = frames
        self._seen = 0

    def __call__(self) -> int:
        """Never less than before; 0 while nothing is out."""
        futures = self._admin.list_consumer_group_offsets([self._asked], request_timeout=CALL_S)
        with suppress(KafkaException):  # a new group has no coordinator for a moment
            for future in futures.values():
                places = future.result().topic_partitions
                self._seen = sum(rows_below(self._frames[at.partition], at.offset) for at in places)
        return self._seen


def usage(process: psutil.Process) -> tuple[float, float]:
    """Processor seconds and resident MiB of a process and all its children."""
    cpu, memory = 0.0, 0.0
    try:
        for one in (process, *process.children(recursive=True)):
            with one.oneshot():
                times = one.cpu_times()
                cpu += times.user + times.system
                memory += one.memory_info().rss / 2**20
    except psutil.NoSuchProcess:
        return 0.0, 0.0
    return cpu, memory


def watch(
    process: psutil.Process, broker: psutil.Process, progress: Progress, target: int, *, whole: bool, timeout_s: float,
    tell: Callable[[int], None],
) -> Watched:  # fmt: skip
    """Look until ``target`` outputs are visible; where that is the ``whole`` input, until it is quiet after them."""
    seen, start_s, start_broker = Watched(), time.monotonic(), usage(broker)[0]
    moved_s, looks, last = start_s, 0, 0
    while True:
        visible = progress()
        now_s = time.monotonic()
        if visible != last:
            moved_s, last = now_s, visible
            seen.points.append(Point(now_s - start_s, visible))
            tell(visible)
        if looks % PROCESSES_EVERY == 0 and (visible < target or not seen.cpu):
            cpu, memory = usage(process)
            seen.cpu.append((now_s - start_s, cpu))
            seen.memory_mib = max(seen.memory_mib, memory)
            seen.broker_cpu_s = usage(broker)[0] - start_broker
        looks += 1
        if visible >= target and (not whole or now_s - moved_s > QUIET_S):
            break
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            seen.ended = f"it ended after {visible} of {target} outputs"
            break
        if now_s - start_s > timeout_s:
            seen.ended = f"only {visible} of {target} outputs in {timeout_s:.0f} s"
            break
        time.sleep(max(0.0, POLL_S - (time.monotonic() - now_s)))
    return seen


def first_reaching(points: Sequence[Point], count: float) -> Point:
    """The first look at which at least so many were visible."""
    return next((point for point in points if point.visible >= count), points[-1])


def rate(points: Sequence[Point], low: float, high: float) -> float | None:
    """Outputs a second between the first looks at which ``low`` and ``high`` were visible; None if that is one look.

    Both ends of the span lie just behind a commit, so a row that commits seldom is neither favoured nor harmed.

    >>> rate([Point(1, 10), Point(2, 30), Point(4, 50)], 10, 50)
    13.333333333333334
    """
    begin, end = first_reaching(points, low), first_reaching(points, high)
    if end.at_s <= begin.at_s:
        return None
    return (end.visible - begin.visible) / (end.at_s - begin.at_s)
