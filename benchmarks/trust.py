"""What trust costs ingest: events/s with ten features over 1,000 entities, without expectations and with all of them.

``python -m benchmarks.trust --events 200000``

Each cell is a stream of its own with all events in the log; the starting shot is the start of the process, and the rate
is that of its second half, so that nothing of a start-up is in it. Cells take turns, round by round.

- ``plain``: no expectation, no lake.
- ``declared``: six ranges, a rule over several fields, freshness.
- ``learned``: the same, and what a training run learned of every field, each window judged too.
- ``sequence``: the same, and rules between rows: a jump, and an entity's time that may not go back.
- ``lake``: the same as ``learned``, with the lake.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.cost import Figures, follow
from benchmarks.latency_clients import encode_events
from benchmarks.latency_stage import FIELDS, Stage, deploy, exit_on_sigterm, make_project, prepare, services
from benchmarks.load import load
from benchmarks.readback import SAMPLE, check, offsets_of
from benchmarks.report import scaled
from benchmarks.run import EVENT_RATE, FEATURES
from benchmarks.watch import Ends, rate
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import ExpectationsLearned
from millrace.contracts.registry_client import SchemaRegistry
from millrace.expectations.learn import learn
from millrace.local.embedded import start_embedded
from millrace.stores.artifacts import ArtifactStore

EVENTS = 200_000
ROUNDS = 3
RANGES = [{"field": f"x{number}", "min": -100, "max": 100} for number in range(FIELDS)]
DECLARED = [
    *RANGES,
    {"kind": "compare", "check": "x0 + x1 <= 200"},
    {"kind": "fresh", "within_s": 1e9, "ahead_s": 1e9},
]
BETWEEN_ROWS = [{"kind": "jump", "field": "x0", "most": 1e6}, {"kind": "monotone", "slack_s": 3600}]


@dataclass(frozen=True)
class Cell:
    """One setting of ingest."""

    expectations: Sequence[Mapping[str, Any]] = ()
    learned: bool = False
    lake: bool = False


CELLS = {
    "plain": Cell(),
    "declared": Cell(DECLARED),
    "learned": Cell(DECLARED, learned=True),
    "sequence": Cell([*DECLARED, *BETWEEN_ROWS], learned=True),
    "lake": Cell(DECLARED, learned=True, lake=True),
}


def measure(
    folder: Path, name: str, bootstrap_servers: str, schema_registry_url: str, cell: Cell, count: int
) -> tuple[float, float]:
    """Events/s of one cell, and the processor time of each event in µs.

    Raises RuntimeError unless each event has exactly one sample.
    """
    project = make_project(
        folder / "project", partitions=1, features=FEATURES, stream=name, model=name,
        expectations=list(cell.expectations),
    )  # fmt: skip
    stage = prepare(folder, project, bootstrap_servers, schema_registry_url, trees=None)
    now_ms = time.time_ns() // 1_000_000
    events, samples = stage.topic(topics.EVENTS), stage.topic(topics.SAMPLES)
    load(bootstrap_servers, events, encode_events(stage, "trust", count, now_ms, EVENT_RATE))
    if cell.learned:
        deploy(stage, trees=10)
        asyncio.run(teach(stage))
    ends = Ends(bootstrap_servers, samples, 1)
    settings = {"MILLRACE_LAKE": str(folder / "lake") if cell.lake else "off", "MILLRACE_LOG_LEVEL": "WARNING"}
    with services(stage, "ingest", settings=settings) as running:
        points, figures = follow(running, ends, count)
    counted = check(bootstrap_servers, samples, SAMPLE, offsets_of(bootstrap_servers, events))
    if counted.outputs != count or counted.duplicates or counted.missing:
        raise RuntimeError(f"{name}: not exactly once: {count} events, {counted}")
    found = rate(scaled(points, counted.outputs), count // 2, counted.outputs)
    if found is None:
        raise RuntimeError(f"{name}: {count} events are over too soon to be measured; take more")
    return found, figures["cpu_s"] / count * 1e6


async def teach(stage: Stage) -> None:
    """Publish what rows like the events would teach."""
    numbers = np.random.default_rng(5).normal(size=(5_000, FIELDS))
    fields, correlations = learn(
        pa.table({f"x{field}": numbers[:, field] for field in range(FIELDS)}), skip=frozenset()
    )
    digest = ArtifactStore(stage.folder / "artifacts").put(_artifact(stage))
    learned = ExpectationsLearned(
        expectations_id=f"expectations/{stage.project.model}", model=stage.project.model, run_id="run-bench",
        artifact_sha256=digest, feature_set=stage.project.feature_set, rows=5_000, fields=fields,
        correlations=correlations, events_per_hour=EVENT_RATE * 3600, learned_at_ms=0,
    )  # fmt: skip
    transport = KafkaTransport(stage.bootstrap_servers, client_id="benchmark")
    async with SchemaRegistry(stage.schema_registry_url) as registry:
        try:
            codec = Codec(registry)
            await codec.prepare(stage.project, topics.EXPECTATIONS)
            topic = topics.EXPECTATIONS.suffix
            producer = await transport.producer("benchmark.expectations")
            await producer.commit([OutRecord(topic, b"bench", codec.encode(topic, learned), 0)])
        finally:
            await transport.close()


def _artifact(stage: Stage) -> bytes:
    """The model that ``deploy`` deployed: what was learned names it."""
    (file,) = (stage.folder / "artifacts" / "sha256").rglob("[0-9a-f]" * 64)
    return file.read_bytes()


def run(
    folder: Path, bootstrap_servers: str, schema_registry_url: str, *, events: int = EVENTS, rounds: int = ROUNDS,
    tell: Callable[[str], None] = lambda _what: None,
) -> dict[str, Figures]:  # fmt: skip
    """All cells: events/s as least, median and greatest, what part of ``plain`` that is, and CPU for each event."""
    seen: dict[str, list[tuple[float, float]]] = {name: [] for name in CELLS}
    for number in range(rounds):
        for name, cell in CELLS.items():
            tell(f"round {number + 1}: {name}")
            stream = f"trust-{name}-{number}"
            seen[name].append(measure(folder / stream, stream, bootstrap_servers, schema_registry_url, cell, events))
    rates = {name: [per_s for per_s, _ in found] for name, found in seen.items()}
    plain = statistics.median(rates["plain"])
    return {
        name: {
            "min": round(min(found)),
            "median": round(statistics.median(found)),
            "max": round(max(found)),
            "of_plain": round(statistics.median(found) / plain, 3),
            "cpu_us": round(statistics.median([cpu_us for _, cpu_us in seen[name]]), 2),
        }
        for name, found in rates.items()
    }


def text(table: Mapping[str, Figures]) -> str:
    """The cells as a table."""
    lines = [f"{'ingest with':<12} {'events/s':>10} {'least':>9} {'greatest':>9} {'of plain':>9} {'CPU us':>7}"]
    for name, seen in table.items():
        lines.append(
            f"{name:<12} {seen['median']:>10,} {seen['min']:>9,} {seen['max']:>9,} {seen['of_plain']:>9.0%}"
            f" {seen['cpu_us']:>7.1f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with an embedded broker and print table and JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help="events of one cell")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="how often each cell is measured")
    chosen = parser.parse_args(arguments)
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="millrace-trust-") as temporary:
        folder = Path(temporary).resolve()
        with start_embedded(folder / "platform") as embedded:
            found = run(
                folder, embedded.bootstrap_servers, embedded.schema_registry_url, events=chosen.events,
                rounds=chosen.rounds, tell=lambda what: sys.stderr.write(f"{what}\n") and None,
            )  # fmt: skip
    sys.stderr.write(text(found) + "\n")
    print(json.dumps({"trust": found}, indent=2))


if __name__ == "__main__":
    main()
