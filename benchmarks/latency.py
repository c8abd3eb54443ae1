"""Latency, exactly-once, through the real services: event -> ingest -> sample -> serving -> prediction -> reader.

``python -m benchmarks.latency --rates 200,2000 --seconds 20``

What is measured. All times are this machine's; the reader is read_committed and of another make than the services.

- *event to prediction*: from the moment at which the event was due to be sent, not the one at which the producer came
  to it (that would hide every wait that the measured system causes: coordinated omission), to the reader's receipt.
- *event to sample*: the same, to a second reader's receipt of the sample.
- *sample to prediction*: from the sample's log-append time to the reader's receipt of its prediction. The broker stamps
  in whole milliseconds, cut off, so this is up to 1 ms too long. The wait for the sample's own commit is in it.
- *visible sample to prediction*: from one reader's receipt to the other's: without the wait for the sample's commit.

One partition, so one lane and one transaction at a time in each service: 2,000 events/s are few. More partitions are
for throughput; each has transactions of its own, and on two cores they get in each other's way.

Nothing is said of a rate that was not reached: ``achieved_per_s`` and ``late_ms`` tell how well the producer kept time.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.latency_clients import Reader, Sent, Table, encode_events, event_id, send
from benchmarks.latency_stage import (
    Running,
    Stage,
    exit_on_sigterm,
    make_project,
    prepare,
    services,
    streaming_features,
)
from millrace.contracts import topics
from millrace.local.embedded import start_embedded

NAME = "latency"
RATES = (200, 2_000, 20_000)
SECONDS, WARM_UP_S = 30.0, 5.0
FEATURES, PARTITIONS, TREES = 10, 1, 100
# The JVM compiles for two minutes, on the processors that are measured. A broker that has just been started is no
# broker that one runs, so it is warmed at this rate before the first figure is taken; ``--prime 0`` shows it cold.
PRIME_RATE, PRIME_S = 2_000, 110.0
DRAIN_S = 90.0
SHOWN = ("event_to_prediction", "sample_to_prediction", "event_to_sample", "visible_sample_to_prediction")
Figures = dict[str, Any]


def summary(values: np.ndarray[Any, Any]) -> Figures:
    """Percentiles by nearest rank: each is a value that was really seen."""
    if not len(values):
        return {"count": 0}
    found = np.percentile(values, [50, 90, 99, 99.9, 100], method="inverted_cdf")
    names = ("p50", "p90", "p99", "p999", "max")
    return {**{name: round(float(value), 2) for name, value in zip(names, found, strict=True)}, "count": len(values)}


def numbers_of(event_ids: Sequence[str], prefix: str) -> np.ndarray[Any, Any]:
    """The number in each id; -1 for an id of another run."""
    start = event_id(prefix, 0).removesuffix(f"{0:08d}")
    return np.array(
        [int(one.removeprefix(start)) if one.startswith(start) else -1 for one in event_ids], dtype=np.int64
    )


def tally(numbers: np.ndarray[Any, Any], count: int) -> Figures:
    """How many of ``count`` events are missing, and how many records are one too many."""
    known = numbers[numbers >= 0]
    distinct = len(np.unique(known))
    return {"records": len(numbers), "missing": count - distinct, "doubled": len(known) - distinct,
            "foreign": len(numbers) - len(known)}  # fmt: skip


def evaluate(sent: Sent, samples: Table, predictions: Table, prefix: str, warm_up: int) -> Figures:
    """Put the three records of each event together. The first ``warm_up`` events are counted, but not timed."""
    count = len(sent.due_ns)
    of_sample, of_prediction = numbers_of(samples["event_id"], prefix), numbers_of(predictions["event_id"], prefix)
    sample_ns, logged_ms, predicted_ns = (np.full(count, np.nan) for _ in range(3))
    sample_ns[of_sample[of_sample >= 0]] = samples["received_ns"][of_sample >= 0]
    logged_ms[of_sample[of_sample >= 0]] = samples["logged_ms"][of_sample >= 0]
    predicted_ns[of_prediction[of_prediction >= 0]] = predictions["received_ns"][of_prediction >= 0]
    timed = slice(warm_up, count)

    def between_ms(start_ns: np.ndarray[Any, Any], end_ns: np.ndarray[Any, Any]) -> Figures:
        taken = (end_ns - start_ns)[timed] / 1e6
        return summary(taken[~np.isnan(taken)])

    seconds = (sent.sent_ns[-1] - sent.sent_ns[warm_up]) / 1e9
    return {
        "event_to_prediction": between_ms(sent.due_ns, predicted_ns),
        "sample_to_prediction": between_ms(logged_ms * 1e6, predicted_ns),
        "event_to_sample": between_ms(sent.due_ns, sample_ns),
        "visible_sample_to_prediction": between_ms(sample_ns, predicted_ns),
        "late_ms": between_ms(sent.due_ns, sent.sent_ns),
        "achieved_per_s": round(max(count - warm_up - 1, 0) / seconds, 1) if seconds > 0 else 0.0,
        "samples": tally(of_sample, count),
        "predictions": tally(of_prediction, count),
    }


def faults(figures: Mapping[str, Any]) -> list[str]:
    """What is missing or doubled, in words; empty if each event has exactly one sample and one prediction."""
    return [
        f"{figures[which][what]} {which} {what}"
        for which in ("samples", "predictions")
        for what in ("missing", "doubled", "foreign")
        if figures[which][what]
    ]


def measure(
    stage: Stage,
    running: Sequence[Running],
    broker: psutil.Process | None,
    rate: float,
    seconds: float,
    warm_up_s: float,
) -> Figures:
    """One rate. Raises RuntimeError if an event has not exactly one sample and one prediction."""
    prefix = f"r{rate:g}-{time.time_ns() // 1_000_000}"
    warm_up, count = round(rate * warm_up_s), round(rate * (warm_up_s + seconds))
    events = encode_events(stage, prefix, count, time.time_ns() // 1_000_000, rate)
    with readers(stage) as (of_samples, of_predictions):
        before = cpu_s(running, broker)
        sent = send(stage, stage.topic(topics.EVENTS), events, rate)
        after = cpu_s(running, broker)  # before the readers decode what they have
        predictions = of_predictions.finish(count, DRAIN_S)
        samples = of_samples.finish(count, DRAIN_S)
    figures = evaluate(sent, samples, predictions, prefix, warm_up)
    figures["cpu_s"] = {name: round(after[name] - before[name], 2) for name in after}
    if wrong := faults(figures):
        raise RuntimeError(f"not exactly once at {rate:g}/s: {', '.join(wrong)}: {json.dumps(figures)}")
    return figures


@contextmanager
def readers(stage: Stage) -> Iterator[tuple[Reader, Reader]]:
    """A reader of the samples and one of the predictions, both at the present end."""
    of_samples = Reader(stage, stage.topic(topics.SAMPLES), "sample-recorded", ["event_id"])
    try:
        of_predictions = Reader(stage, stage.topic(topics.PREDICTIONS), "prediction-made", ["event_id"])
        try:
            yield of_samples, of_predictions
        finally:
            of_predictions.close()
    finally:
        of_samples.close()


def cpu_s(running: Sequence[Running], broker: psutil.Process | None) -> dict[str, float]:
    """Processor time so far: of each service, the broker, our own clients, and whoever else is on this machine."""
    spent = {one.name: _spent_s(one.process) for one in running}
    if broker is not None:
        spent["broker"] = _spent_s(broker)
    us = psutil.Process()
    spent["clients"] = _spent_s(us) + sum(map(_reader_s, us.children()))
    whole = psutil.cpu_times()
    spent["others"] = sum(whole) - whole.idle - getattr(whole, "iowait", 0.0) - sum(spent.values())
    return spent


def _reader_s(child: psutil.Process) -> float:
    """Of a reader; our other children are named already, or have ended."""
    try:
        return _spent_s(child) if "multiprocessing" in " ".join(child.cmdline()) else 0.0
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0.0


def _spent_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def run(
    folder: Path, bootstrap_servers: str, schema_registry_url: str, *, rates: Sequence[float] = RATES,
    seconds: float = SECONDS, warm_up_s: float = WARM_UP_S, prime_s: float = PRIME_S, broker_pid: int | None = None,
) -> dict[str, Figures]:  # fmt: skip
    """Latency by rate, through ingest and serving started here; ``folder`` is for the files of both."""
    features = streaming_features(FEATURES)
    project = make_project(folder / "project", partitions=PARTITIONS, features=features, stream=NAME, model=NAME)
    stage = prepare(folder, project, bootstrap_servers, schema_registry_url, trees=TREES)
    broker = psutil.Process(broker_pid) if broker_pid is not None else None
    with services(stage, "ingest", "serving") as running:
        if prime_s > 0:
            measure(stage, running, broker, PRIME_RATE, prime_s, 0)
        return {f"{rate:g}": measure(stage, running, broker, rate, seconds, warm_up_s) for rate in rates}


def table(by_rate: Mapping[str, Figures]) -> str:
    """The figures as a table of milliseconds."""
    lines = [f"{'events/s':>9} {'from - to':<30} {'p50':>8} {'p90':>8} {'p99':>8} {'max':>8}"]
    for rate, figures in by_rate.items():
        for name in SHOWN:
            cells = " ".join(
                f"{figures[name].get(column, float('nan')):8.1f}" for column in ("p50", "p90", "p99", "max")
            )
            lines.append(f"{rate:>9} {name.replace('_', ' '):<30} {cells}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure with an embedded broker, or with the one that is named, and print table and JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.latency", description=__doc__)
    parser.add_argument("--rates", default=",".join(map(str, RATES)), help="events per second, separated by commas")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each rate, after the warm-up")
    parser.add_argument("--warm-up", type=float, default=WARM_UP_S, help="seconds")
    parser.add_argument("--prime", default=PRIME_S, type=float, help=f"seconds at {PRIME_RATE}/s before all rates")
    parser.add_argument("--folder", type=Path, help="keep the broker's and the services' files here")
    chosen = parser.parse_args(arguments)
    exit_on_sigterm()
    rates = [float(rate) for rate in chosen.rates.split(",")]
    with tempfile.TemporaryDirectory(prefix="millrace-latency-") as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        with start_embedded(folder / "platform") as embedded:
            by_rate = run(
                folder, embedded.bootstrap_servers, embedded.schema_registry_url,
                rates=rates, seconds=chosen.seconds, warm_up_s=chosen.warm_up, prime_s=chosen.prime,
                broker_pid=embedded.processes()["kafka"].pid,
            )  # fmt: skip
    sys.stderr.write(table(by_rate) + "\n")
    print(json.dumps({"latency_ms": by_rate}, indent=2))


if __name__ == "__main__":
    main()
