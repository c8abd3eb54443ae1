"""What serving costs: events/s, memory and processor time against features, trees, partitions and processes.

``python -m benchmarks.cost --events 100000``

One thing is varied at a time, the others stay at ``BASE``. All samples are in the log and every process of the group
is ready before the model is deployed; that is the starting shot, so nothing of a start-up or a rebalance is measured.
What is seen are the first seconds of a process's life: the table compares the cells with one another; for the rate
itself see ``python -m benchmarks``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from fastavro import schemaless_writer

from benchmarks.latency_stage import (
    ENTITIES,
    Running,
    Stage,
    deploy,
    exit_on_sigterm,
    make_project,
    prepare,
    services,
    streaming_features,
)
from benchmarks.load import load
from benchmarks.readback import PREDICTION, check, offsets_of
from benchmarks.report import scaled
from benchmarks.watch import POLL_S, Ends, Point, rate, usage
from millrace.contracts import topics
from millrace.contracts.schemas import newest
from millrace.local.embedded import start_embedded

EVENTS = 100_000
NUMBERS = 12_000_000  # that the samples of one cell hold at most: with 600 features, 20,000 samples
TREES = 50_000_000  # that are walked in one cell at most: with 1,000 trees, 50,000 samples
TIMEOUT_S = 120.0
FIELD_BYTES = 90  # of the event inside a sample: what ingest copies from its input
Figures = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One setting."""

    features: int = 6
    trees: int = 100
    partitions: int = 2
    processes: int = 1

    def events(self, most: int) -> int:
        """How many samples measure it in some seconds.

        >>> [Cell().events(100_000), Cell(features=600).events(100_000), Cell(trees=1000).events(100_000)]
        [100000, 20000, 50000]
        """
        return min(most, NUMBERS // self.features, TREES // self.trees)


BASE = Cell()
VARIED = {
    "features": (6, 60, 600),
    "trees": (10, 100, 1000),
    "partitions": (1, 2, 4),
    "processes": (1, 2),
}


def encode_samples(stage: Stage, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Samples as ingest would write them, as (key, value)."""
    schema = newest("sample-recorded").parsed
    header = b"\0" + stage.sample_schema_id.to_bytes(4, "big")
    width, draw = len(stage.project.features), np.random.default_rng(3)
    now_ms, event = time.time_ns() // 1_000_000, bytes(FIELD_BYTES)
    for number in range(count):
        entity = f"entity-{number % ENTITIES:04d}"
        record = {
            "kind": "EVENT", "event_id": f"cost-{number:08d}", "entity": entity, "time_ms": now_ms,
            "feature_set": stage.project.feature_set, "features": draw.normal(size=width).tolist(), "event": event,
            "label": None, "source_topic": stage.topic(topics.EVENTS), "source_partition": 0, "source_offset": number,
            "source_time_ms": now_ms,
        }  # fmt: skip
        out = BytesIO()
        out.write(header)
        schemaless_writer(out, schema, record)
        yield entity.encode(), out.getvalue()


def measure(
    folder: Path, name: str, bootstrap_servers: str, schema_registry_url: str, cell: Cell, most: int
) -> Figures:
    """One cell, on a stream of its own. Raises RuntimeError unless each sample has exactly one prediction."""
    count = cell.events(most)
    features = streaming_features(cell.features)
    project = make_project(folder / "project", partitions=cell.partitions, features=features, stream=name, model=name)
    stage = prepare(folder, project, bootstrap_servers, schema_registry_url, trees=None)
    load(bootstrap_servers, stage.topic(topics.SAMPLES), encode_samples(stage, count))
    predictions = stage.topic(topics.PREDICTIONS)
    with services(stage, *["serving"] * cell.processes) as running:
        until_shared(stage, running)
        ends = Ends(bootstrap_servers, predictions, cell.partitions)
        deploy(stage, trees=cell.trees)
        points, figures = follow(running, ends, count)
    counted = check(
        bootstrap_servers, predictions, PREDICTION, offsets_of(bootstrap_servers, stage.topic(topics.SAMPLES))
    )
    if counted.outputs != count or counted.duplicates or counted.missing:
        raise RuntimeError(f"{cell}: not exactly once: {count} samples, {counted}")
    per_s = rate(scaled(points, counted.outputs), 1, counted.outputs)
    return {"events_per_s": None if per_s is None else round(per_s, 1), **figures, "events": count}


def follow(running: Sequence[Running], ends: Callable[[], int], count: int) -> tuple[list[Point], Figures]:
    """Watch the predictions become visible; all there when nothing moves any more at or past ``count``."""
    start_s, before_s = time.monotonic(), spent(running)[0]
    points, memory, last, moved_s = list[Point](), 0.0, 0, start_s
    cpu_s = before_s
    while last < count or time.monotonic() - moved_s < 1:
        now_s, visible = time.monotonic(), ends()
        if visible != last:
            points.append(Point(now_s - start_s, visible))
            last, moved_s = visible, now_s
            cpu_s, mebibytes = spent(running)
            memory = max(memory, mebibytes)
        if now_s - start_s > TIMEOUT_S or any(one.process.poll() is not None for one in running):
            raise RuntimeError(f"{last} of {count} predictions after {now_s - start_s:.0f} s; see the services' logs")
        time.sleep(POLL_S / 2)
    return points, {"cpu_s": round(cpu_s - before_s, 2), "memory_mib": round(memory, 1)}


def until_shared(stage: Stage, running: Sequence[Running]) -> None:
    """Wait until every process has been given its part of the partitions, as its log says."""
    if len(running) == 1:
        return
    least = stage.project.partitions // len(running)
    deadline = time.monotonic() + TIMEOUT_S
    while not all(len(owned(one.log)) == least for one in running):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the partitions were not shared out: {[owned(one.log) for one in running]}")
        time.sleep(0.1)


def owned(log: Path) -> list[int]:
    """The partitions that a service was last assigned."""
    numbers: list[int] = []
    for line in log.read_text("utf-8", "replace").splitlines():
        if line.startswith("{") and '"lanes assigned"' in line:
            numbers = json.loads(line)["numbers"]
        elif '"lanes revoked"' in line:
            numbers = []
    return numbers


def spent(running: Sequence[Running]) -> tuple[float, float]:
    """Processor seconds and resident MiB of all these processes."""
    each = [usage(psutil.Process(one.process.pid)) for one in running]
    return sum(cpu for cpu, _ in each), sum(memory for _, memory in each)


def run(
    folder: Path, bootstrap_servers: str, schema_registry_url: str, *, events: int = EVENTS,
    tell: Callable[[str], None] = lambda _what: None,
) -> dict[str, dict[str, Figures]]:  # fmt: skip
    """All cells: by what is varied, by its value."""
    known: dict[Cell, Figures] = {}
    table: dict[str, dict[str, Figures]] = {}
    for what, values in VARIED.items():
        for value in values:
            cell = replace(BASE, **{what: value})
            if cell not in known:
                tell(f"{what} {value}")
                name = f"cost{len(known)}"
                known[cell] = measure(folder / name, name, bootstrap_servers, schema_registry_url, cell, events)
            table.setdefault(what, {})[str(value)] = known[cell]
    return table


def text(table: dict[str, dict[str, Figures]]) -> str:
    """The cells as a table."""
    lines = [
        f"{'varied':<12} {'value':>6} {'events/s':>10} {'memory MiB':>11} {'cpu s':>7} {'us/event':>9} {'events':>8}"
    ]
    for what, cells in table.items():
        for value, seen in cells.items():
            each = seen["cpu_s"] / seen["events"] * 1e6
            per_s = seen["events_per_s"] or float("nan")
            lines.append(
                f"{what:<12} {value:>6} {per_s:>10,.0f} {seen['memory_mib']:>11,.0f} {seen['cpu_s']:>7.2f} {each:>9.1f}"
                f" {seen['events']:>8,}"
            )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with an embedded broker and print table and JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="most samples of one cell")
    parser.add_argument("--folder", type=Path, help="keep the broker's and the services' files here")
    chosen = parser.parse_args(arguments)
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="millrace-cost-") as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        with start_embedded(folder / "platform") as embedded:
            found = run(
                folder, embedded.bootstrap_servers, embedded.schema_registry_url, events=chosen.events,
                tell=lambda what: sys.stderr.write(f"{what}\n") and None,
            )  # fmt: skip
    sys.stderr.write(text(found) + "\n")
    print(json.dumps({"cost": found}, indent=2))


if __name__ == "__main__":
    main()
