"""A stage for measurements: a project of made-up numbers, a deployed model, and services as real processes."""

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier

from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.compatibility import register_all
from millrace.contracts.events import DeploymentDecided, Event, Traffic
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import specs
from millrace.local.ports import HOST, PortBook
from millrace.local.settings import environment
from millrace.stores.artifacts import ArtifactStore

FIELDS = 6
ENTITIES = 1_000
READY_S = 120.0
STOP_S = 20.0
PIPELINE = '"""Never run: the benchmarks deploy a model of their own."""\n'


@dataclass(frozen=True)
class Stage:
    """Where everything is. ``event_schema_id`` is the registry's id of the events' schema."""

    project: Project
    folder: Path
    bootstrap_servers: str
    schema_registry_url: str
    event_schema_id: int
    label_schema_id: int
    sample_schema_id: int

    def topic(self, row: topics.TopicRow) -> str:
        """The topic's name in this project."""
        return topics.topic_name(row, self.project)


def streaming_features(count: int) -> list[dict[str, Any]]:
    """So many features without label feedback: the fields themselves, then lags, differences, means and shares."""
    kinds: list[dict[str, Any]] = [
        {"kind": "value"},
        {"kind": "difference"},
        {"kind": "lag", "rows": 1},
        {"kind": "rolling_mean", "rows": 20},
        {"kind": "rolling_share", "rows": 20, "above": 0.0},
    ]
    made = []
    for number in range(count):
        kind, field = kinds[number // FIELDS % len(kinds)], f"x{number % FIELDS}"
        made.append({"name": f"f{number}", "field": field, **kind})
    return made


def make_project(folder: Path, *, partitions: int, features: Sequence[Mapping[str, Any]], **changes: Any) -> Project:
    """A model project in ``folder``: ``FIELDS`` numbers for each event, expectations on all of them."""
    config = {
        "stream": "bench",
        "model": "bench",
        "partitions": partitions,
        "event": {"id": "id", "entity": "entity", "time": "at"},
        "label": {"task": "classification", "classes": ["no", "yes"], "delay_s": 30, "wait_ms": 200},
        "expectations": [{"field": f"x{number}", "min": -100, "max": 100} for number in range(FIELDS)],
        "features": list(features),
        "training": {"first_rows": 1_000_000_000, "window_rows": 1000, "holdout_rows": 100,
                     "snapshot_every_rows": 1_000_000},
        "gates": {"first": 0.5},
        **changes,
    }  # fmt: skip
    schema = {
        "type": "record",
        "name": "Measured",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "entity", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            *({"name": f"x{number}", "type": "double"} for number in range(FIELDS)),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(config))
    (folder / "event.avsc").write_text(json.dumps(schema))
    (folder / "pipeline.py").write_text(PIPELINE)
    return load_project(folder)


@cache
def trained(width: int, trees: int) -> bytes:
    """A classifier of so many trees on random rows, as ONNX."""
    rows = np.random.default_rng(1).normal(size=(2000, width)).astype(np.float32)
    truth = (rows[:, 0] + rows[:, -1] ** 2 > 0.5).astype(int)
    model = HistGradientBoostingClassifier(max_iter=trees, max_leaf_nodes=16, random_state=1, early_stopping=False)
    with warnings.catch_warnings(action="ignore"):  # skl2onnx builds nodes in a way that newer onnx deprecates
        exported = to_onnx(
            model.fit(rows, truth), rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3}
        )
    return bytes(exported.SerializeToString())


def prepare(
    folder: Path, project: Project, bootstrap_servers: str, schema_registry_url: str, *, trees: int | None = 100
) -> Stage:
    """Topics created, schemas registered, and unless ``trees`` is None a model of so many trees deployed."""
    ids = asyncio.run(_prepare(project, bootstrap_servers, schema_registry_url))
    of_events, of_labels, of_samples = (
        ids[topics.topic_name(row, project)] for row in (topics.EVENTS, topics.LABELS, topics.SAMPLES)
    )
    stage = Stage(project, folder, bootstrap_servers, schema_registry_url, of_events, of_labels, of_samples)
    if trees is not None:
        deploy(stage, trees=trees)
    return stage


async def _prepare(project: Project, bootstrap: str, registry_url: str) -> dict[str, int]:
    transport = KafkaTransport(bootstrap, client_id="benchmark")
    async with SchemaRegistry(registry_url) as registry:
        try:
            await transport.create_topics(specs(project))
            return await register_all(registry, project)
        finally:
            await transport.close()


def deploy(stage: Stage, *, trees: int) -> None:
    """Decide that a model of so many trees serves from the first sample on."""
    digest = ArtifactStore(stage.folder / "artifacts").put(trained(len(stage.project.features), trees))
    asyncio.run(write(stage, {topics.DEPLOYMENTS: _deployment(stage.project, digest)}))


async def write(stage: Stage, events: Mapping[topics.TopicRow, Event]) -> None:
    """Write what another service of ours would say about the model, an event to each topic, in one transaction."""
    transport = KafkaTransport(stage.bootstrap_servers, client_id="benchmark")
    async with SchemaRegistry(stage.schema_registry_url) as registry:
        try:
            codec = Codec(registry)
            await codec.prepare(stage.project, *events)
            producer = await transport.producer("benchmark.control")
            key = stage.project.model.encode()
            named = [(stage.topic(row), event) for row, event in events.items()]
            await producer.commit([OutRecord(topic, key, codec.encode(topic, event), 0) for topic, event in named])
        finally:
            await transport.close()


def _deployment(project: Project, digest: str) -> DeploymentDecided:
    traffic = Traffic(variant="champion", version=1, share=1.0, artifact_sha256=digest, feature_set=project.feature_set)
    return DeploymentDecided(
        deployment_id=f"deployment/{project.model}/1", model=project.model, epoch=1, traffic=(traffic,),
        scoring_since_ms=0, caused_by="benchmark", reason="benchmark", decided_by="benchmark", decided_at_ms=0,
    )  # fmt: skip


@dataclass(frozen=True)
class Running:
    """A service process."""

    name: str
    process: psutil.Popen
    url: str
    log: Path


@contextmanager
def services(stage: Stage, *names: str, settings: Mapping[str, str] | None = None) -> Iterator[list[Running]]:
    """These services, each a process of its own, ready; stopped at the end. A name may be given more than once."""
    started: list[Running] = []
    logs = stage.folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    labels = [f"{name}-{index}" for index, name in enumerate(names)]
    ports = PortBook(stage.folder / "service-ports.json").choose(labels)
    try:
        for name, label in zip(names, labels, strict=True):
            with (logs / f"{label}.log").open("ab") as log:
                process = psutil.Popen(
                    [sys.executable, "-m", f"services.{name}"],
                    env=environment(_settings(stage, ports[label]) | dict(settings or {})),
                    stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip
            started.append(Running(name, process, f"http://{HOST}:{ports[label]}", logs / f"{label}.log"))
        for one in started:
            _until_ready(one)
        yield started
    finally:
        for one in started:
            _stop(one.process)


def _settings(stage: Stage, port: int) -> dict[str, str]:
    return {
        "MILLRACE_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "MILLRACE_SCHEMA_REGISTRY_URL": stage.schema_registry_url,
        "MILLRACE_PROJECT": str(stage.project.folder),
        "MILLRACE_DATA": str(stage.folder),
        "MILLRACE_SIGNATURES": "off",  # deployments are written by the benchmark, not by a registry
        "MILLRACE_HTTP_HOST": HOST,
        "MILLRACE_HTTP_PORT": str(port),
    }


def _until_ready(one: Running) -> None:
    deadline = time.monotonic() + READY_S
    while not _is_ready(one.url):
        if one.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{one.name} did not become ready; see {one.log}")
        time.sleep(0.05)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def exit_on_sigterm() -> None:
    """Let SIGTERM end this process as Ctrl-C does: everything that was started is stopped on the way out."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))


def _stop(process: psutil.Popen) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
