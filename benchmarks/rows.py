"""The rows: what each is, what it promises, how its process is started, and what its outputs are checked against.

``share`` is the part of the events that a row works through: a slow one is stopped when it has done that part, so that
each row is measured over some seconds and none takes minutes. The rate does not depend on it.
"""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import jvm
from benchmarks.environments import NotBuiltError, python_of
from benchmarks.latency_stage import Stage
from benchmarks.peers.scoring import Job
from benchmarks.readback import PREDICTION, SAMPLE, Origin, answered
from millrace.contracts import schemas, topics
from millrace.contracts.topics import TopicRow
from millrace.local.ports import HOST

ROOT = Path(__file__).parents[1]
EXACTLY_ONCE, AT_LEAST_ONCE = "exactly-once", "at-least-once"
MLSERVER_EVENTS = 5_000
KEPT = ROOT / ".millrace" / "bench-envs"
PORTS = ("ingest", "serving", "monitor", "mlserver-http", "mlserver-grpc", "mlserver-metrics")


class SkippedError(Exception):
    """The row cannot be had on this machine; the message is the reason."""


@dataclass(frozen=True)
class Round:
    """One round: a stream of its own with all events in it, and a deployed model, also as a file for the peers."""

    stage: Stage
    events: int
    model_file: Path
    schema_id: int
    """Of the predictions."""
    ports: Mapping[str, int]
    """For everything that listens, by name."""
    labelled: bool = False
    """Half of its rows are labels. Two rows run on it, and what they write is not held against the inputs."""

    @property
    def samples(self) -> str:
        """The input of everything that serves."""
        return self.stage.topic(topics.SAMPLES)

    @property
    def partitions(self) -> int:
        """Of every topic."""
        return self.stage.project.partitions

    def requests(self, name: str) -> str:
        """The samples once more, as MLServer takes them, for the row of that name."""
        return f"{self.stage.project.stream}-requests-{name}"

    def output(self, name: str) -> str:
        """The topic that a peer writes."""
        return f"{self.stage.project.stream}-out-{name}"


@dataclass(frozen=True)
class Command:
    """How a process is started: ``env`` is laid over ours."""

    argv: list[str]
    env: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One row of the table. ``writes`` is None for a peer's own topic."""

    name: str
    guarantee: str
    share: float
    command: Callable[[Round, str], Command]
    writes: TopicRow | None = None
    origin: Origin = PREDICTION
    asked: bool = False
    """It reads requests from "latest", sent once it answers. Its answers become visible in bursts, some all at once at
    the end, so it has no rate but the whole one."""

    def target(self, events: int) -> int:
        """How many outputs it is watched for."""
        return max(1, min(events, MLSERVER_EVENTS) if self.asked else round(events * self.share))

    def topic(self, one: Round) -> str:
        """What it writes."""
        return one.output(self.name) if self.writes is None else one.stage.topic(self.writes)


def service(one: Round, name: str) -> Command:
    """A service of ours, by the name of its row."""
    part = name.split("-")[1]
    stage = one.stage
    env = {
        "MILLRACE_BOOTSTRAP_SERVERS": stage.bootstrap_servers,
        "MILLRACE_SCHEMA_REGISTRY_URL": stage.schema_registry_url,
        "MILLRACE_PROJECT": str(stage.project.folder),
        "MILLRACE_DATA": str(stage.folder),
        "MILLRACE_SIGNATURES": "off",  # deployments are written by the benchmark, not by a registry
        "MILLRACE_HTTP_HOST": HOST,
        "MILLRACE_HTTP_PORT": str(one.ports[part]),
        "MILLRACE_LOG_LEVEL": "WARNING",
    }
    return Command([sys.executable, "-m", f"services.{part}"], env)


def peer(one: Round, name: str) -> Command:
    """A Python peer in our environment."""
    return _peer(one, name, sys.executable)


def peer_apart(one: Round, name: str) -> Command:
    """A Python peer in an environment of its own."""
    return _peer(one, name, _python(name))


def _python(name: str) -> str:
    try:
        return str(python_of(name, KEPT))
    except NotBuiltError as error:
        raise SkippedError(str(error)) from error


def _peer(one: Round, name: str, python: str) -> Command:
    folder = one.stage.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    job = Job(
        bootstrap_servers=one.stage.bootstrap_servers,
        group=one.output(name),
        samples=one.samples,
        predictions=one.output(name),
        partitions=one.partitions,
        model_file=str(one.model_file),
        schema_id=one.schema_id,
        sample_schema=schemas.without_logical_types(schemas.load("sample-recorded")),
        prediction_schema=schemas.without_logical_types(schemas.load("prediction-made")),
        model=one.stage.project.model,
        classes=list(one.stage.project.label.classes),
        folder=str(folder),
    )
    file = folder / "job.json"
    file.write_text(json.dumps(asdict(job)), "utf-8")
    module = MODULES.get(name, name.replace("-", "_"))
    return Command([python, "-m", f"benchmarks.peers.{module}", str(file)], {"PYTHONPATH": str(ROOT)})


MODULES = {"faust": "faust_agent"}


def jvm_peer(one: Round, name: str) -> Command:
    """One of the two on the JVM."""
    built = jvm.build(KEPT)
    if built.jar is None:
        raise SkippedError((built.why_not or "not built").removeprefix("skipped: "))
    project = one.stage.project
    argv = jvm.command(
        name, built, bootstrap_servers=one.stage.bootstrap_servers, group=one.output(name), samples=one.samples,
        predictions=one.output(name), model_file=one.model_file, features=len(project.features),
        schema_id=one.schema_id, model=project.model, classes=project.label.classes,
    )  # fmt: skip
    return Command(argv, {})


def mlserver(one: Round, name: str) -> Command:
    """MLServer with its Kafka input, everything else as it comes."""
    return _mlserver(one, name, {}, {})


def mlserver_tuned(one: Round, name: str) -> Command:
    """MLServer scoring what waits in one call, in the process that reads: its default sends each request to another."""
    return _mlserver(one, name, {"parallel_workers": 0}, {"max_batch_size": 64, "max_batch_time": 0.005})


def _mlserver(one: Round, name: str, server: Mapping[str, Any], runtime: Mapping[str, Any]) -> Command:
    """Its settings are two files in a folder."""
    python, ports = _python("mlserver"), one.ports
    folder = one.stage.folder / name
    folder.mkdir(parents=True, exist_ok=True)
    logging = {"version": 1, "disable_existing_loggers": False, "root": {"level": "WARNING"},
               "loggers": {"mlserver": {"level": "WARNING"}}}  # fmt: skip
    (folder / "logging.json").write_text(json.dumps(logging), "utf-8")
    settings = {
        "debug": False,
        "host": HOST,
        "http_port": ports["mlserver-http"],
        "grpc_port": ports["mlserver-grpc"],
        "metrics_port": ports["mlserver-metrics"],
        "metrics_endpoint": None,
        **server,
        "logging_settings": str(folder / "logging.json"),
        "kafka_enabled": True,
        "kafka_servers": one.stage.bootstrap_servers,
        "kafka_topic_input": one.requests(name),
        "kafka_topic_output": one.output(name),
    }
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    model = {
        "name": "bench",
        "implementation": "benchmarks.peers.mlserver_runtime.Forest",
        "parameters": {"uri": str(one.model_file)},
        **runtime,
    }
    (folder / "model-settings.json").write_text(json.dumps(model), "utf-8")
    program = str(Path(python).with_name("mlserver"))
    return Command([python, program, "start", str(folder)], {"PYTHONPATH": str(ROOT)})


INGEST = Row("millrace-ingest", EXACTLY_ONCE, 1.0, service, topics.SAMPLES, SAMPLE)
SERVING = Row("millrace-serving", EXACTLY_ONCE, 1.0, service, topics.PREDICTIONS)
SERVING_LABELLED = Row("millrace-serving-labelled", EXACTLY_ONCE, 1.0, service, topics.PREDICTIONS)
MONITOR = Row("millrace-monitor", EXACTLY_ONCE, 1.0, service, topics.OBSERVATIONS)
PEERS = (
    Row("faust", AT_LEAST_ONCE, 0.1, peer),
    Row("quix-eos", EXACTLY_ONCE, 0.4, peer_apart),
    Row("mlserver", "at-most-once", 1.0, mlserver, origin=answered, asked=True),
    Row("mlserver-tuned", "at-most-once", 1.0, mlserver_tuned, origin=answered, asked=True),
    Row("kafka-streams", EXACTLY_ONCE, 1.0, jvm_peer),
    Row("jvm-loop", EXACTLY_ONCE, 1.0, jvm_peer),
    Row("aiokafka-fastavro", EXACTLY_ONCE, 1.0, peer),
    Row("confluent-fastavro", EXACTLY_ONCE, 1.0, peer),
    Row("byte-copy", "none", 1.0, peer, origin=SAMPLE),
)
SERVERS = (SERVING, *PEERS)
ROWS = (SERVING, INGEST, SERVING_LABELLED, MONITOR, *PEERS)
