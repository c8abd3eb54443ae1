"""Real service processes on a real broker, and what kills and restarts them.

    with Scene.create(broker, tmp_path) as scene:          # topics, schemas, a project of its own
        scene.deploy()                                     # an ONNX model, in force from offset 0
        serving = scene.service("serving", lives=["commit.mid-send=kill@3"])
        ingest = scene.service("ingest")
        with Feed(scene, seed=1).start() as feed:          # tests/faults/feed.py
            serving.wait_deaths(1)
        ...                                                # then tests/faults/judge.py

``Service`` (in ``processes.py``) is one process and its successors: it is started again whenever it dies, with the
failpoints of its next life, until it is stopped. Should the test itself be killed, the reaper of ``millrace.local``
ends what it left behind. All of it is synchronous; threads do the waiting.
"""

import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import psutil
from confluent_kafka import Producer

from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import DeploymentDecided, Event, Traffic
from millrace.contracts.project import Project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import TopicRow, topic_name
from millrace.local.ports import PortBook
from millrace.local.prepare import prepare
from millrace.stores.artifacts import ArtifactStore
from tests.conftest import Broker
from tests.faults.processes import PATIENCE_S, POLL_S, Reaper, Service, run, wait_for
from tests.onnx_models import classifier
from tests.support import tiny_project
from tests.transports import fresh

__all__ = ["PARTITIONS", "PATIENCE_S", "POLL_S", "SESSION_MS", "Scene", "Service", "run", "wait_for"]

PARTITIONS = 2
SESSION_MS = 2_000  # a killed member is out of its group by the time its successor has imported its libraries


class Scene:
    """One model project on a broker, with the processes that work on it. Use it in ``with``: it stops them all."""

    def __init__(self, broker: Broker, folder: Path, project: Project) -> None:
        self.broker = broker
        self.folder = folder
        self.project = project
        self.at_exit = ExitStack()
        """What else is to be closed when the scene ends, before anything that it might miss: readers, proxies."""
        self._services: list[Service] = []
        self._reaper = Reaper()

    @classmethod
    def create(cls, broker: Broker, folder: Path, **changes: Any) -> Self:
        """A tiny project with names nobody has used, its topics created and schemas registered.

        Ingest saves its state every 500 events, so that each kill leaves some to recover from. Labels wait long for
        their events: after a fault the two come by different connections, and no event of these tests is missing.

        ``changes`` go to ``tests.support.tiny_project``.
        """
        name = fresh("faults")
        project = tiny_project(
            folder / "project",
            **{
                "stream": name,
                "model": name,
                "partitions": PARTITIONS,
                "data": {"state_every_rows": 500},
                "label": {"wait_ms": 10_000},
                **changes,
            },
        )
        run(prepare(broker.bootstrap_servers, broker.schema_registry_url, project.folder))
        return cls(broker, folder, project)

    def topic(self, row: TopicRow) -> str:
        """The topic's name in this project."""
        return topic_name(row, self.project)

    def service(
        self, name: str, lives: Iterable[str] = (), *, restarts: bool = True, bootstrap_servers: str | None = None,
        **env: str,
    ) -> Service:  # fmt: skip
        """Start a service. ``env`` without its prefix: ``MAX_RECORDS="100"``. See ``Service`` for the rest.

        Another process of the same service may run beside it. ``bootstrap_servers`` may be a proxy's.
        """
        label = f"{name}-{len(self._services)}"
        port = PortBook(self.folder / "ports.json").choose([label])[label]
        told = {
            "BOOTSTRAP_SERVERS": bootstrap_servers or self.broker.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.broker.schema_registry_url,
            "PROJECT": str(self.project.folder),
            "DATA": str(self.folder / "data"),
            "HTTP_PORT": str(port),
            "SESSION_TIMEOUT_MS": str(SESSION_MS),
            "SIGNATURES": "off",  # deployments are written by the tests; those of signatures ask for them
            **env,
        }
        environment = {f"MILLRACE_{key}": value for key, value in told.items()} | {"PYTHONUNBUFFERED": "1"}
        path = self.folder / "logs" / f"{label}.log"
        self._services.append(Service(name, environment, path, self._reaper, lives, restarts=restarts))
        return self._services[-1]

    def deploy(self, epoch: int = 1, *, flipped: bool = False, since_ms: int = 0) -> None:
        """Put a model into the artefact store and deploy it as version ``epoch``, as the registry would."""
        digest = ArtifactStore(self.folder / "data" / "artifacts").put(
            classifier(len(self.project.features), flipped=flipped)
        )
        traffic = Traffic(
            variant="champion", version=epoch, share=1.0, artifact_sha256=digest, feature_set=self.project.feature_set
        )
        now_ms = round(time.time() * 1000)
        decided = DeploymentDecided(
            deployment_id=f"deployment/{self.project.model}/{epoch}", model=self.project.model, epoch=epoch,
            traffic=(traffic,), scoring_since_ms=since_ms, caused_by="test", reason="test", decided_by="registry",
            decided_at_ms=now_ms,
        )  # fmt: skip
        self.publish(topics.DEPLOYMENTS, decided)

    def publish(self, row: TopicRow, *events: Event) -> None:
        """Write events of ours to one of the control topics, keyed by the model."""

        async def encode() -> list[bytes]:
            async with SchemaRegistry(self.broker.schema_registry_url) as registry:
                codec = Codec(registry)
                await codec.prepare(self.project, row)
                return [codec.encode(self.topic(row), event) for event in events]

        producer = Producer({"bootstrap.servers": self.broker.bootstrap_servers, "enable.idempotence": True})
        for value in run(encode()):
            producer.produce(self.topic(row), key=self.project.model.encode(), value=value, partition=0)
        assert producer.flush(PATIENCE_S) == 0

    def stop(self) -> None:
        """Stop all services, in the order in which they were started. May be called again."""
        for service in self._services:
            service.stop()

    def left_behind(self) -> list[list[str]]:
        """The command lines of processes of this project that run although no service does."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("MILLRACE_PROJECT") == str(self.project.folder):
                    found.append(process.cmdline())
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_error: object) -> None:
        try:
            for service in self._services:
                if kind is not None:  # the reason is in here, more often than not
                    sys.stderr.write(f"\n--- {service.log_path.name}, exits {service.exits}\n{service.tail()}\n")
            self.stop()
        finally:
            self._reaper.close()
            self.at_exit.close()
