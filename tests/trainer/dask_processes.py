"""A Dask scheduler and workers as processes, and a samples log that is also in a lake."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa

from millrace.contracts.data_policy import Lake as LakePolicy
from millrace.contracts.events import OffsetRange
from millrace.stores.lake import COLUMNS, Lake
from services.trainer.dask_reference import RowsReference
from services.trainer.train.task import Rows
from services.trainer.train.window import Tail, choose, split
from tests.support import EPOCH_MS, MINUTE_MS
from tests.trainer.mill import numbers

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.1"
START_S = 60.0
STREAM = "tiny"


class Cluster:
    """A scheduler and its workers. They are killed at the end; what they said is in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.scheduler: subprocess.Popen[bytes] | None = None
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start the scheduler."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "scheduler.json"
        options = ["--host", HOST, "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        self.scheduler = self._start("dask_scheduler", options, "scheduler", {})
        wait_for(lambda: _whole(file))
        self.address = json.loads(file.read_text())["address"]
        return self

    def __exit__(self, *_error: object) -> None:
        """Kill whatever is still there."""
        for process in reversed(self._all):
            process.kill()
            process.wait()

    def add(self, name: str, lake: Path | None = None, path: Sequence[Path] = ()) -> subprocess.Popen[bytes]:
        """Start a worker, with one thread and no nanny: killed, it is gone."""
        options = [
            self.address, "--name", name, "--host", HOST, "--nthreads", "1", "--no-nanny", "--no-dashboard",
            "--memory-limit", "0", "--local-directory", str(self.folder),
        ]  # fmt: skip
        env = {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *path]))}
        env |= {} if lake is None else {"MILLRACE_LAKE": str(lake)}
        self.workers[name] = self._start("dask_worker", options, name, env)
        return self.workers[name]

    def ready(self) -> None:
        """Wait until all workers that are there have registered."""
        wait_for(lambda: all("Registered to" in self.said(name) for name in self.workers))

    def kill(self, name: str) -> None:
        """Kill a worker."""
        process = self.workers.pop(name)
        process.kill()
        process.wait()

    def kill_scheduler(self) -> None:
        """Kill the scheduler."""
        assert self.scheduler is not None, "it was started"
        self.scheduler.kill()
        self.scheduler.wait()

    def said(self, name: str) -> str:
        """What a process has printed."""
        return (self.folder / f"{name}.log").read_text()

    def _start(self, tool: str, options: Sequence[str], name: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{tool}", *options],
                stdout=log, stderr=log, env={**os.environ, **env}, cwd=ROOT,
            )  # fmt: skip
        self._all.append(process)
        return process


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until it holds, where no event loop runs; no event tells how far a foreign process is."""
    give_up_s = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < give_up_s, "it did not come about"
        time.sleep(0.02)


def _whole(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text()))
    except (OSError, ValueError):
        return False


class Meter:
    """Forwards connections to an address, and counts the bytes that go there."""

    def __init__(self, target: str) -> None:
        host, _, port = target.removeprefix("tcp://").rpartition(":")
        self._target = (host, int(port))
        self._listener = socket.create_server((HOST, 0))
        self.address = f"tcp://{HOST}:{self._listener.getsockname()[1]}"
        self.bytes_sent = 0

    def __enter__(self) -> Self:
        """Listen."""
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Listen no more; the connections end with their clients."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            there = socket.create_connection(self._target)
            threading.Thread(target=_forward, args=(client, there, self._count), daemon=True).start()
            threading.Thread(target=_forward, args=(there, client, len), daemon=True).start()

    def _count(self, data: bytes) -> None:
        self.bytes_sent += len(data)


def _forward(source: socket.socket, sink: socket.socket, told: Callable[[bytes], object]) -> None:
    with source, sink, contextlib.suppress(OSError):  # either side has ended
        while data := source.recv(1 << 16):
            told(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


class Log:
    """Samples of one partition, each label two records after its event, and the same in a lake under ``root``."""

    def __init__(self, root: Path, feature_set: str, rows: int, width: int, holdout_rows: int) -> None:
        self.root = root
        self.lake = Lake(root, STREAM, LakePolicy())
        self.feature_set = feature_set
        self.holdout_rows = holdout_rows
        self._samples = _samples(numbers(rows, width), feature_set)
        self.end = len(self._samples)

    def append(self, start: int, stop: int) -> int:
        """Bring these offsets into the lake; return its version."""
        return self.lake.append(_table(self._samples[start:stop], start), 0, start, stop)

    def reference(self, **changes: Any) -> RowsReference:
        """What a run on all of it says about its rows."""
        span = OffsetRange(topic="tiny-samples", partition=0, from_offset=0, until_offset=self.end)
        fields: dict[str, Any] = {
            "stream": STREAM, "ranges": (span,), "excluded": (), "feature_set": self.feature_set,
            "table_version": None, "holdout_rows": self.holdout_rows,
        }  # fmt: skip
        return RowsReference(**{**fields, **changes})

    def rows(self, excluded: Sequence[tuple[int, int]] = ()) -> tuple[Rows, Rows]:
        """Training and hold-out rows as the trainer reads them from the log."""
        tail = Tail(0, 0, self.end, self.feature_set, excluded)
        tail.extend(0, list(enumerate(self._samples)))
        return split(choose("tiny-samples", [tail], None).rows, self.holdout_rows)


def _samples(data: Rows, feature_set: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    labels: list[dict[str, Any]] = []
    for number, (x, y) in enumerate(zip(data.x.astype(np.float64).tolist(), data.y.tolist(), strict=True)):
        base = {"event_id": f"e{number}", "entity": "w", "time_ms": EPOCH_MS + number * MINUTE_MS, "flags": None}
        found.append({**base, "kind": "EVENT", "feature_set": feature_set, "features": x, "label": None})
        labels.append({**base, "kind": "LABEL", "feature_set": "", "features": [], "label": y})
        if number:
            found.append(labels[number - 1])
    return [*found, labels[-1]]


def _table(samples: Sequence[Mapping[str, Any]], start: int) -> Any:
    times = {"time", "recorded", "source_time"}
    rest = {"partition": 0, "source_topic": "tiny-events", "source_partition": 0, "source_offset": 0}
    rows = [
        {**rest, **sample, "offset": offset, **dict.fromkeys(times, sample["time_ms"])}
        for offset, sample in enumerate(samples, start=start)
    ]
    milliseconds = pa.timestamp("ms", tz="UTC")
    return pa.table({
        each.name: pa.array([row[each.name] for row in rows], milliseconds if each.name in times else each.type)
        for each in COLUMNS
    })  # fmt: skip
