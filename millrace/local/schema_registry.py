"""One Apicurio Registry, speaking the Confluent Schema Registry API, on this machine and for this machine only."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from millrace.local.bundle import Software
from millrace.local.ports import HOST
from millrace.local.probe import http_ready
from millrace.local.process import ProcessSpec

API = "/apis/ccompat/v7"


@dataclass(frozen=True)
class EmbeddedSchemaRegistry:
    """A schema registry that keeps its schemas in a file.

    Attributes:
        software: the installed programs.
        folder: database and log file live here. The same folder brings back the same schemas under the same ids.
        port: where clients connect, on 127.0.0.1.
        management_port: where its framework answers on its own health, on 127.0.0.1.
    """

    software: Software
    folder: Path
    port: int
    management_port: int

    @property
    def url(self) -> str:
        """The base of the Confluent API: what clients are given."""
        return f"http://{HOST}:{self.port}{API}"

    @property
    def log_path(self) -> Path:
        """Where its own log goes."""
        return self.folder / "schema-registry.log"

    async def prepare(self) -> None:
        """Make the folder; the registry makes its tables itself."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def spec(self) -> ProcessSpec:
        """How the supervisor starts it."""
        java = str(self.software.java.path)
        # The first compiler only: half the start-up time, and a registry is asked seldom.
        options = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
        return ProcessSpec(
            name="schema-registry",
            argv=(java, *options, "-jar", str(self.software.apicurio / "quarkus-run.jar")),
            log_path=self.log_path,
            env=self._environment(),
            # Asks the database too, unlike a health page; a plain page answers before the application is there.
            ready=partial(http_ready, f"{self.url}/subjects"),
            url=self.url,
        )

    def _environment(self) -> dict[str, str]:
        """Apicurio is configured through its environment."""
        # WRITE_DELAY=0: by default H2 writes half a second later. A schema id that was handed out and then lost with
        # the process would be given to another schema, and records already written would be read with the wrong one.
        database = f"jdbc:h2:file:{self.folder.resolve() / 'registry'};WRITE_DELAY=0"
        return {
            "APICURIO_STORAGE_KIND": "sql",
            "APICURIO_STORAGE_SQL_KIND": "h2",
            "APICURIO_DATASOURCE_URL": database,
            "QUARKUS_HTTP_HOST": HOST,
            "QUARKUS_HTTP_PORT": str(self.port),
            # A second server, by default on port 9000 of every interface.
            "QUARKUS_MANAGEMENT_HOST": HOST,
            "QUARKUS_MANAGEMENT_PORT": str(self.management_port),
        }
