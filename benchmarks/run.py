"""Runs the rows, round by round, on one broker, and keeps what was seen."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.labelled import load_labelled, record_profile
from benchmarks.latency_clients import encode_events
from benchmarks.latency_stage import make_project, prepare, trained
from benchmarks.load import load, requests_of
from benchmarks.process import last_words, numbers_of, started, until_answering
from benchmarks.readback import PROBE, Count, check, frame_rows, offsets_of
from benchmarks.rows import INGEST, MONITOR, PORTS, SERVERS, SERVING_LABELLED, Round, Row, SkippedError
from benchmarks.watch import Ends, Progress, Published, Watched, watch
from millrace.contracts import topics
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.schemas import row_schema
from millrace.local.embedded import Embedded
from millrace.local.ports import PortBook

TREES = 100
ROW_TIMEOUT_S = 150.0
ADMIN_S = 30.0
EVENT_RATE = 10_000.0  # of event time, not of sending
TURN = 2  # by how many places the order moves from round to round
FEATURES: tuple[dict[str, Any], ...] = (
    *({"name": f"x{number}", "kind": "value", "field": f"x{number}"} for number in range(4)),
    {"name": "x0_before", "kind": "lag", "field": "x0", "rows": 1},
    {"name": "x0_change", "kind": "difference", "field": "x0", "rows": 1},
    {"name": "x1_change", "kind": "difference", "field": "x1", "rows": 1},
    {"name": "x2_mean", "kind": "rolling_mean", "field": "x2", "rows": 20},
    {"name": "x4_mean", "kind": "rolling_mean", "field": "x4", "rows": 20},
    {"name": "x5_high", "kind": "rolling_share", "field": "x5", "rows": 20, "above": 0.0},
)
Tell = Callable[[str, int, int], None]
"""Told of progress: what, how many, of how many."""
Inputs = dict[int, list[int]]


@dataclass(slots=True)
class Outcome:
    """One row in one round; ``skipped`` says why there is nothing, or not all."""

    row: Row
    target: int
    watched: Watched = field(default_factory=Watched)
    count: Count | None = None
    skipped: str | None = None


class Bench:
    """Everything on one embedded broker, under one folder."""

    def __init__(self, embedded: Embedded, folder: Path, *, events: int, partitions: int, tell: Tell) -> None:
        self.bootstrap_servers = embedded.bootstrap_servers
        self.schema_registry_url = embedded.schema_registry_url
        self._folder = folder
        self._events = events + events % 2  # half of them, where each has a label
        self._partitions = partitions
        self._tell = tell
        pid = embedded.processes()["kafka"].pid
        assert pid is not None, "the broker runs"
        self._broker = psutil.Process(pid)
        self._admin = AdminClient({"bootstrap.servers": self.bootstrap_servers})
        self._pairs: dict[int, list[tuple[bytes, bytes]]] = {}  # by id of the events' schema
        self._offsets: dict[str, Inputs] = {}

    def run(self, rounds: int, wanted: Sequence[Row]) -> Iterator[Outcome]:
        """All rounds. Ingest always runs, since it makes the samples; the order of the rest rotates."""
        for number in range(rounds):
            order = [row for row in SERVERS if row in wanted]
            if order or INGEST in wanted:
                turn = number * TURN % max(1, len(order))
                one = self._prepare(number)
                for row in (INGEST, *order[turn:], *order[:turn]):
                    outcome = self._run(one, row)
                    if row in wanted:
                        yield outcome
                self._end(one)
            if MONITOR in wanted or SERVING_LABELLED in wanted:
                yield from (outcome for outcome in self._labelled(number) if outcome.row in wanted)

    def _labelled(self, number: int) -> Iterator[Outcome]:
        """Serving and the monitor on the same rows, half of which are labels."""
        one = self._prepare(number, labelled=True)
        self._run(one, INGEST)
        yield self._run(one, SERVING_LABELLED)
        record_profile(one.stage)
        yield self._run(one, MONITOR)
        self._end(one)

    def _end(self, one: Round) -> None:
        self._delete(*(spec.name for spec in topics.specs(one.stage.project) if spec.name.startswith("bench")))

    def _prepare(self, number: int, *, labelled: bool = False) -> Round:
        """A stream of its own with all events, or half as many with their labels, and the deployed model."""
        name = f"bench{number}-labelled" if labelled else f"bench{number}"
        folder = self._folder / name
        self._tell(f"round {number + 1}: load events", 0, self._events)
        project = make_project(
            folder / "project", partitions=self._partitions, features=FEATURES, stream=name, model=name
        )
        stage = prepare(folder, project, self.bootstrap_servers, self.schema_registry_url, trees=TREES)
        model_file = folder / "model.onnx"
        model_file.write_bytes(trained(len(FEATURES), TREES))
        schema_id = asyncio.run(self._schema_id(f"{name}-predictions-value", row_schema(topics.PREDICTIONS, project)))
        now_ms = time.time_ns() // 1_000_000
        if labelled:
            load_labelled(stage, "bench", self._events // 2, now_ms, EVENT_RATE)
        else:
            if stage.event_schema_id not in self._pairs:
                self._pairs = {stage.event_schema_id: encode_events(stage, "bench", self._events, now_ms, EVENT_RATE)}
            load(self.bootstrap_servers, stage.topic(topics.EVENTS), self._pairs[stage.event_schema_id])
        ports = PortBook(folder / "row-ports.json").choose(PORTS)
        return Round(stage, self._events, model_file, schema_id, ports, labelled)

    async def _schema_id(self, subject: str, schema: dict[str, Any]) -> int:
        async with SchemaRegistry(self.schema_registry_url) as registry:
            return await registry.register(subject, schema)

    def _run(self, one: Round, row: Row) -> Outcome:
        """One row: start its process, watch it, stop it, count what came out."""
        outcome = Outcome(row, row.target(self._events))
        self._tell(row.name, 0, outcome.target)
        log = one.stage.folder / "logs" / f"{row.name}.log"
        try:
            command = row.command(one, row.name)
            if row.writes is None:
                self._create(one, row)
            progress, inputs = self._before(one, row)
            with started(command, log) as process:
                if row.asked:
                    progress, inputs = self._requested(one, row, progress, process)
                outcome.watched = watch(
                    process, self._broker, progress, outcome.target, whole=outcome.target == self._events,
                    timeout_s=ROW_TIMEOUT_S, tell=lambda done: self._tell(row.name, done, outcome.target),
                )  # fmt: skip
                done = progress()
            if one.labelled:
                outcome.count = Count(done, None, None)
            else:
                outcome.count = check(self.bootstrap_servers, row.topic(one), row.origin, inputs)
        except (SkippedError, TimeoutError) as reason:
            outcome.skipped = str(reason)
        if outcome.watched.ended:
            outcome.skipped = f"{outcome.watched.ended}: {last_words(log)}"
        if row.writes is None:
            self._delete(one.output(row.name))
        return outcome

    def _before(self, one: Round, row: Row) -> tuple[Progress, Inputs]:
        """How to see the row's progress, and what its outputs are held against."""
        if row is MONITOR:
            frames = frame_rows(self.bootstrap_servers, one.stage.topic(topics.OBSERVATIONS))
            group = f"millrace-monitor-{one.stage.project.model}-published"
            return Published(self.bootstrap_servers, group, one.stage.topic(topics.OBSERVATIONS), frames), {}
        if one.labelled:
            ends = Ends(self.bootstrap_servers, row.topic(one), one.partitions).until_known()
            return (ends if row is INGEST else lambda: 2 * ends()), {}
        topic = one.stage.topic(topics.EVENTS) if row is INGEST or row.name == "byte-copy" else one.samples
        if topic not in self._offsets:
            self._offsets[topic] = offsets_of(self.bootstrap_servers, topic)
        return Ends(self.bootstrap_servers, row.topic(one), one.partitions).until_known(), self._offsets[topic]

    def _requested(self, one: Round, row: Row, ends: Progress, process: psutil.Popen) -> tuple[Progress, Inputs]:
        """MLServer reads from "latest", without a group: requests can be sent only when it is seen to answer."""
        requests = requests_of(self.bootstrap_servers, one.samples, row.target(self._events))
        headers = [("mlserver-model", b"bench")]
        probe = [(PROBE, requests[0][1])]
        extra = until_answering(process, ends, lambda: self._load(one.requests(row.name), probe, headers))
        self._load(one.requests(row.name), requests, headers)
        return (lambda: ends() - extra), {0: numbers_of(requests)}

    def _load(self, topic: str, pairs: Sequence[tuple[bytes, bytes]], headers: Sequence[tuple[str, bytes]]) -> None:
        load(self.bootstrap_servers, topic, pairs, headers)

    def _create(self, one: Round, row: Row) -> None:
        names = [one.output(row.name), *([one.requests(row.name)] if row.asked else [])]
        for future in self._admin.create_topics([NewTopic(name, one.partitions, 1) for name in names]).values():
            future.result(ADMIN_S)

    def _delete(self, *names: str) -> None:
        """Give the disk back; a topic that was never made does not matter."""
        for future in self._admin.delete_topics(list(names)).values():
            future.exception(ADMIN_S)
