"""One Apache Kafka broker, controller included (KRaft), on this machine and for this machine only."""

import asyncio
import base64
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from millrace.local.atomic import write_text
from millrace.local.bundle import Software
from millrace.local.errors import ProcessFailedError
from millrace.local.ports import HOST
from millrace.local.probe import kafka_ready
from millrace.local.process import ProcessSpec

FORMAT_TIMEOUT_S = 60
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

# What a single broker on a laptop needs to differ in. Everything else is Kafka's own default.
SINGLE_BROKER = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # Topics are made from the contract, never because somebody mistyped a name.
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    # A group of one need not wait three seconds for others.
    "group.initial.rebalance.delay.ms": "0",
    # Lets a test or an impatient operator use sessions shorter than Kafka's least, 6 s.
    "group.min.session.timeout.ms": "1000",
    # 128 MiB by default, a quarter of our heap; this still maps half a million keys in one pass.
    "log.cleaner.dedupe.buffer.size": "16777216",
    # After kill -9 the controller refuses the broker's new registration until the old session is over, 9 s by default.
    # Not shorter than 3 s: on a busy laptop a stall of a second is common, and a broker it thinks dead leads nothing.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
    "num.network.threads": "2",
    "num.io.threads": "4",
}

LOGGING = """\
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %c{1}: %m%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
# Three hundred settings at each start, twice.
logger.config.name=org.apache.kafka.common.config
logger.config.level=WARN
logger.kafkaConfig.name=kafka.server.KafkaConfig
logger.kafkaConfig.level=WARN
logger.raftConfig.name=org.apache.kafka.server.config
logger.raftConfig.level=WARN
"""


@dataclass(frozen=True)
class EmbeddedKafka:
    """A broker with its own folder. The same folder brings back the same data.

    Attributes:
        software: the installed programs.
        folder: settings, log file and data live here.
        port: where clients connect, on 127.0.0.1.
        controller_port: where the broker talks to its own controller, on 127.0.0.1.
        overrides: Kafka settings laid over ours, for tests that need an odd broker.
    """

    software: Software
    folder: Path
    port: int
    controller_port: int
    overrides: Mapping[str, str] = field(default_factory=dict)

    @property
    def bootstrap_servers(self) -> str:
        """What clients are given."""
        return f"{HOST}:{self.port}"

    @property
    def log_path(self) -> Path:
        """Where the broker's own log goes."""
        return self.folder / "kafka.log"

    async def prepare(self) -> None:
        """Write the settings and, once per folder, format the storage. Raises ProcessFailedError when that fails."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_text(self.folder / "log4j2.properties", LOGGING)
        data = self.folder / "data"
        write_text(self.folder / "server.properties", self._settings(data))
        if not (data / "meta.properties").exists():
            await self._format(data)

    def spec(self) -> ProcessSpec:
        """How the supervisor starts it."""
        return ProcessSpec(
            name="kafka",
            argv=(*self._java("-Xmx512m", "-XX:+UseSerialGC"), "kafka.Kafka", str(self.folder / "server.properties")),
            log_path=self.log_path,
            ready=partial(kafka_ready, HOST, self.port),
            url=self.bootstrap_servers,
        )

    def _java(self, *options: str) -> tuple[str, ...]:
        """The command that runs a class of Kafka with the logging settings of this folder."""
        logging = f"-Dlog4j2.configurationFile={self.folder.resolve() / 'log4j2.properties'}"
        return (str(self.software.java.path), *options, logging, "-cp", self.software.kafka_class_path)

    def _settings(self, data: Path) -> str:
        """The text of server.properties."""
        settings = {
            **SINGLE_BROKER,
            "listeners": f"PLAINTEXT://{HOST}:{self.port},CONTROLLER://{HOST}:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://{HOST}:{self.port}",
            "controller.quorum.voters": f"1@{HOST}:{self.controller_port}",
            "log.dirs": str(data.resolve()),
            **self.overrides,
        }
        return "".join(f"{name}={value}\n" for name, value in settings.items())

    async def _format(self, data: Path) -> None:
        """Format beside the final place and rename: a folder is formatted or it is not there."""
        scratch = data.with_name("data.new")
        shutil.rmtree(scratch, ignore_errors=True)
        settings = self.folder / "format.properties"
        write_text(settings, self._settings(scratch))
        cluster_id = base64.urlsafe_b64encode(b"m" + secrets.token_bytes(15)).decode()  # may not start with a hyphen
        command = (*self._java("-Xmx128m", *QUICK_START), "kafka.tools.StorageTool", "format")
        with self.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, "--cluster-id", cluster_id, "--config", str(settings), stdout=log, stderr=log
            )
            try:
                async with asyncio.timeout(FORMAT_TIMEOUT_S):
                    code = await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
        if code != 0:
            tail = self.log_path.read_text("utf-8", errors="replace")[-4000:]
            raise ProcessFailedError("kafka", f"could not format its storage (exit code {code})", self.log_path, tail)
        settings.unlink()
        scratch.rename(data)
