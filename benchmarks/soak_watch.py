"""What is looked at during a soak, every few seconds: each process, and how far each consumer group is behind."""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from benchmarks.latency_stage import Running, Stage
from millrace.contracts import topics

TASKS = re.compile(r"^millrace_asyncio_tasks(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)
CALL_S = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """One process at one moment. ``tasks`` is None where the process does not tell."""

    at_s: float
    rss_mib: float
    descriptors: int
    threads: int
    cpu_s: float
    tasks: float | None


def look(process: psutil.Process, at_s: float, url: str | None) -> Look:
    """One process now. Raises psutil.NoSuchProcess if it is gone."""
    tasks = tasks_of(_metrics(url)) if url else None  # first: answering takes a descriptor
    with process.oneshot():
        times = process.cpu_times()
        return Look(
            round(at_s, 2), round(process.memory_info().rss / 2**20, 3), process.num_fds(), process.num_threads(),
            round(times.user + times.system, 2), tasks,
        )  # fmt: skip


def tasks_of(metrics: str) -> float | None:
    r"""The number of asyncio tasks in a process's metrics.

    >>> tasks_of("# TYPE millrace_asyncio_tasks gauge\nmillrace_asyncio_tasks 12.0\n")
    12.0
    """
    found = TASKS.search(metrics)
    return float(found[1]) if found else None


def _metrics(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
    except (urllib.error.URLError, OSError):
        return ""


class Lags:
    """How many places of the log each group has still to go; a few are markers of transactions."""

    def __init__(self, stage: Stage) -> None:
        self._admin = AdminClient({"bootstrap.servers": stage.bootstrap_servers})
        project = stage.project
        self._groups: Mapping[str, tuple[str, list[str]]] = {
            "ingest": (
                f"millrace-ingest-{project.stream}", [stage.topic(topics.EVENTS), stage.topic(topics.LABELS)]
            ),
            "serving": (f"millrace-serving-{project.model}", [stage.topic(topics.SAMPLES)]),
            "monitor": (f"millrace-monitor-{project.model}", [stage.topic(topics.OBSERVATIONS)]),
        }  # fmt: skip
        self._partitions = range(project.partitions)

    def now(self) -> dict[str, int]:
        """By service."""
        return {name: self._of(group, names) for name, (group, names) in self._groups.items()}

    def _of(self, group: str, names: Sequence[str]) -> int:
        places = [TopicPartition(name, number) for name in names for number in self._partitions]
        asked = self._admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, places)], request_timeout=CALL_S
        )
        committed = {(at.topic, at.partition): at.offset for at in asked[group].result().topic_partitions}
        latest: dict[Any, Any] = {place: OffsetSpec.latest() for place in places}
        ends = self._admin.list_offsets(latest, request_timeout=CALL_S)
        return sum(max(0, end.result().offset - max(0, committed[at.topic, at.partition])) for at, end in ends.items())


class Watcher:
    """Keeps every look at the services and the broker, and every lag."""

    def __init__(self, stage: Stage, running: Sequence[Running], broker: psutil.Process) -> None:
        self._processes = {one.name: (psutil.Process(one.process.pid), one.url) for one in running}
        self._processes["broker"] = (broker, None)
        self._lags = Lags(stage)
        self._start_s = time.monotonic()
        self.looks: dict[str, list[Look]] = {name: [] for name in self._processes}
        self.lags: list[dict[str, float]] = []

    def look(self) -> None:
        """Look once. Raises psutil.NoSuchProcess if a process is gone."""
        at_s = time.monotonic() - self._start_s
        for name, (process, url) in self._processes.items():
            self.looks[name].append(look(process, at_s, url))
        self.lags.append({"at_s": round(at_s, 2), **self._lags.now()})

    def as_json(self) -> dict[str, Any]:
        """Everything that was seen."""
        return {"looks": {name: [asdict(one) for one in looks] for name, looks in self.looks.items()},
                "lags": self.lags}  # fmt: skip
