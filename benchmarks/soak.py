"""``make soak``: ingest, serving and monitor at a steady rate for ten minutes; memory, descriptors and tasks stay flat.

``python -m benchmarks.soak --minutes 10 --rate 1000``

Real processes, real labels some seconds after their events, a bad event in a thousand. Every few seconds each process
is looked at from outside (``soak_watch.py``); the second half is judged (``soak_judge.py``). At the end an independent
read_committed client counts: each event has exactly one prediction or one dead letter. The exit status is 1 if
anything grows or anything is missing. It writes ``reports/soak.json`` and ``reports/soak.svg``.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import soak_picture
from benchmarks.latency_clients import event_id
from benchmarks.latency_stage import Stage, exit_on_sigterm, make_project, prepare, services, streaming_features
from benchmarks.readback import read_all
from benchmarks.soak_judge import MEMORY_CAP_MIB_PER_HOUR, judge
from benchmarks.soak_load import PREFIX, Load, is_bad
from benchmarks.soak_watch import Watcher
from benchmarks.watch import Ends
from millrace.bus.deadletter import PREFIX as HEADER_PREFIX
from millrace.contracts import topics
from millrace.contracts.codec import HEADER_BYTES
from millrace.local.atomic import write_text
from millrace.local.embedded import Embedded, start_embedded

NAME = "soak"
MINUTES, RATE, EVERY_S = 10.0, 1_000.0, 5.0
LABEL_DELAY_S = 5.0
DECLARED_DELAY_S = 15  # what the project says: by then every label is there, so that ingest need not wait for one
PARTITIONS, TREES = 2, 100
REMEMBERED = 20_000  # event ids of a partition: all are in use after 40 s, so that memory can be seen to be flat
SNAPSHOT_ROWS = 10_000
DRAIN_S, QUIET_S = 120.0, 5.0
Figures = dict[str, Any]


def stage_for(folder: Path, embedded: Embedded) -> Stage:
    """A project with streaming features and label feedback, deployed."""
    features = [*streaming_features(10), {"name": "last_label", "kind": "label_lag", "rows": 1}]
    project = make_project(
        folder / "project", partitions=PARTITIONS, features=features, stream=NAME, model=NAME,
        label={"task": "classification", "classes": ["no", "yes"], "delay_s": DECLARED_DELAY_S, "wait_ms": 200},
        dedupe={"events": REMEMBERED},
        training={"first_rows": 1000, "window_rows": 1000, "holdout_rows": 100, "snapshot_every_rows": SNAPSHOT_ROWS},
    )  # fmt: skip
    return prepare(folder, project, embedded.bootstrap_servers, embedded.schema_registry_url, trees=TREES)


def soak(stage: Stage, broker: psutil.Process, *, minutes: float, rate: float, every_s: float) -> tuple[Load, Watcher]:
    """The load, and the looks; returns when all services have caught up with all that was sent."""
    with services(stage, "ingest", "serving", "monitor") as running:
        load, watcher = Load(stage, rate, LABEL_DELAY_S), Watcher(stage, running, broker)
        load.start()
        started_s = time.monotonic()
        looks = 0
        while time.monotonic() - started_s < minutes * 60 and load.error is None:
            watcher.look()
            looks += 1
            time.sleep(max(0.0, started_s + looks * every_s - time.monotonic()))
        load.finish()
        until_drained(stage)
    return load, watcher


def until_drained(stage: Stage) -> None:
    """Wait until no outcome was added for some seconds; what is missing then is found by the count."""
    outcomes = [
        Ends(stage.bootstrap_servers, stage.topic(row), stage.project.partitions)
        for row in (topics.PREDICTIONS, topics.DEAD_LETTERS, topics.OBSERVATIONS)
    ]
    deadline, quiet_since, last = time.monotonic() + DRAIN_S, time.monotonic(), 0
    while time.monotonic() < min(deadline, quiet_since + QUIET_S):
        now = sum(ends() for ends in outcomes)
        if now != last:
            last, quiet_since = now, time.monotonic()
        time.sleep(0.2)


def count(stage: Stage, events: int) -> Figures:
    """Predictions by id and dead letters by offset against the events sent, as a client of another make reads them."""
    predictions, dead_letters = stage.topic(topics.PREDICTIONS), stage.topic(topics.DEAD_LETTERS)
    predicted = [event_id_of(message.value()) for message in read_all(stage.bootstrap_servers, predictions)]
    letters = [_place(message) for message in read_all(stage.bootstrap_servers, dead_letters)]
    of_events = [place for place in letters if place[0] == stage.topic(topics.EVENTS)]
    good = {event_id(PREFIX, number) for number in range(events) if not is_bad(number)}
    return {
        "events": events,
        "predictions": len(predicted),
        "dead_letters": len(of_events),
        "dead_labels": len(letters) - len(of_events),
        "outcomes": len(predicted) + len(of_events),
        "missing": len(good - set(predicted)),
        "doubled": len(predicted) - len(set(predicted)) + len(of_events) - len(set(of_events)),
        "unexpected": len(set(predicted) - good),
    }


def faults_of(counted: Figures, events: int) -> list[str]:
    """What the count finds, in words."""
    bad = sum(map(is_bad, range(events)))
    found = [f"{counted[what]} predictions {what}" for what in ("missing", "doubled", "unexpected") if counted[what]]
    if counted["dead_letters"] != bad:
        found.append(f"{counted['dead_letters']} dead letters for {bad} bad events")
    if counted["dead_labels"]:
        found.append(f"{counted['dead_labels']} labels in the dead letters")
    return found


def event_id_of(value: bytes) -> str:
    """The second string of a prediction: each is a zigzag length and its bytes; these are shorter than 64 or 8,192."""
    at = HEADER_BYTES
    length, at = _length(value, at)
    length, at = _length(value, at + length)
    return value[at : at + length].decode()


def _length(value: bytes, at: int) -> tuple[int, int]:
    number, shift = 0, 0
    while True:
        byte = value[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return number >> 1, at


def _place(message: Any) -> tuple[str, int, int]:
    """Where a dead letter came from."""
    headers = {name: value.decode() for name, value in message.headers()}
    return (
        headers[f"{HEADER_PREFIX}topic"], int(headers[f"{HEADER_PREFIX}partition"]),
        int(headers[f"{HEADER_PREFIX}offset"]),
    )  # fmt: skip


def report_of(load: Load, watcher: Watcher, counted: Figures, *, minutes: float, rate: float) -> Figures:
    """Everything, with the verdict."""
    processes = {name: judge(looks) for name, looks in watcher.looks.items()}
    faults = [f"{name}: {what}" for name, seen in processes.items() if name != "broker" for what in seen["faults"]]
    faults += faults_of(counted, load.events)
    return {
        "minutes": minutes, "rate": rate, "passed": not faults, "faults": faults,
        "memory_cap_mib_per_hour": round(MEMORY_CAP_MIB_PER_HOUR, 1), "worst_late_s": round(load.worst_late_s, 3),
        "processes": processes, "count": counted, **watcher.as_json(),
    }  # fmt: skip


def text(report: Figures) -> str:
    """The verdict as a table."""
    widths = {"MiB": 7, "MiB/hour": 9, "fds": 5, "fds+": 5, "threads": 8, "tasks": 6, "tasks+": 6, "cpu": 6}
    lines = [f"{'process':<9} " + " ".join(f"{name:>{width}}" for name, width in widths.items())]
    for name, seen in report["processes"].items():
        tasks, rose = seen["tasks"], seen["tasks_rise"]
        lines.append(
            f"{name:<9} {seen['rss_mib']['end']:>7.0f} {seen['memory_mib_per_hour']:>9.1f} {seen['descriptors']:>5}"
            f" {seen['descriptors_rise']:>5g} {seen['threads']:>8} {'-' if tasks is None else f'{tasks:g}':>6}"
            f" {'-' if rose is None else f'{rose:g}':>6} {seen['cpu_share']:>6.1%}"
        )
    lines.append(", ".join(f"{name} {value:,}" for name, value in report["count"].items()))
    return "\n".join([*lines, "passed" if report["passed"] else "FAILED: " + "; ".join(report["faults"])])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, write the report, print the verdict; 1 if it failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="below five, memory is told but not judged")
    parser.add_argument("--rate", type=float, default=RATE, help="events per second; as many labels")
    parser.add_argument("--every", type=float, default=EVERY_S, help="seconds between two looks")
    parser.add_argument("--report", type=Path, default=Path("reports"))
    parser.add_argument("--folder", type=Path, help="keep the broker's and the services' files here")
    chosen = parser.parse_args(arguments)
    exit_on_sigterm()
    with tempfile.TemporaryDirectory(prefix="millrace-soak-") as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        with start_embedded(folder / "platform") as embedded:
            broker = psutil.Process(embedded.processes()["kafka"].pid)
            stage = stage_for(folder, embedded)
            load, watcher = soak(stage, broker, minutes=chosen.minutes, rate=chosen.rate, every_s=chosen.every)
            counted = count(stage, load.events)
    report = report_of(load, watcher, counted, minutes=chosen.minutes, rate=chosen.rate)
    chosen.report.mkdir(parents=True, exist_ok=True)
    write_text(chosen.report / "soak.json", json.dumps(report, indent=1) + "\n")
    write_text(chosen.report / "soak.svg", soak_picture.draw(report))
    print(text(report))
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
