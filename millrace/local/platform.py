"""All of Millrace on one machine: broker, schema registry and services of one data folder, composed and supervised."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from millrace.local.broker import EmbeddedKafka
from millrace.local.bundle import Software, install
from millrace.local.ports import HOST, PortBook
from millrace.local.process import ProcessSpec, ProcessState
from millrace.local.runfile import FolderLock, RunInfo, RunningService, remove_run, write_run
from millrace.local.schema_registry import EmbeddedSchemaRegistry
from millrace.local.supervisor import BackOff, Change, OnChange, Supervisor

SERVICES = ("ingest", "trainer", "registry", "serving", "monitor")
CONSOLE = "console"
INFRASTRUCTURE_PORTS = ("kafka", "kafka-controller", "schema-registry", "schema-registry-management")

Prepare = Callable[[str, str, Path], Awaitable[None]]
"""Makes broker and registry ready for a project: called with bootstrap servers, registry URL and project folder."""


def service_command(name: str) -> tuple[str, ...]:
    """How a service, or the console, is run: with the Python that runs us."""
    return (sys.executable, "-m", f"millrace.{name}" if name == CONSOLE else f"services.{name}")


class Platform:
    """Starts and stops everything that belongs to one data folder.

    Args:
        data: the data folder; one platform at a time. Made if it is missing.
        project: a model project; without one only broker and registry are started.
        bootstrap_servers: an existing broker to use instead of an embedded one.
        schema_registry_url: the Confluent API of an existing registry to use instead of an embedded one.
        software: the installed programs; fetched at the start when not given.
        prepare: awaited when broker and registry are ready, before any service starts.
        command: how a service is run, by its name.
        back_off: how long a process that died stays down.
        on_change: told of every restart.
        kafka_overrides: settings of the embedded broker laid over ours.
    """

    def __init__(
        self,
        data: Path,
        *,
        project: Path | None = None,
        bootstrap_servers: str | None = None,
        schema_registry_url: str | None = None,
        software: Software | None = None,
        prepare: Prepare | None = None,
        command: Callable[[str], tuple[str, ...]] = service_command,
        back_off: BackOff | None = None,
        on_change: OnChange | None = None,
        kafka_overrides: dict[str, str] | None = None,
    ) -> None:
        self.data = data.resolve()
        self.project = project.resolve() if project else None
        self.bootstrap_servers = bootstrap_servers or ""
        self.schema_registry_url = schema_registry_url or ""
        self.supervisor = Supervisor(back_off=back_off, on_change=self._changed)
        self._software = software
        self._prepare = prepare
        self._command = command
        self._on_change = on_change
        self._kafka_overrides = kafka_overrides or {}
        self._lock = FolderLock(self.data)

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Start everything and return when it is ready; `run.json` then tells the addresses.

        If it raises, nothing is left running. Raises DataFolderInUseError, ProcessFailedError with the end of a log,
        what `install` raises, or what `prepare` raises.
        """
        self._lock.acquire()
        try:
            ports = PortBook(self.data / "ports.json").choose((*INFRASTRUCTURE_PORTS, *SERVICES, CONSOLE))
            await self._start_infrastructure(ports)
            if self.project is not None:
                if self._prepare is not None:
                    await self._prepare(self.bootstrap_servers, self.schema_registry_url, self.project)
                await self.supervisor.start(*(self._service(name, ports) for name in (*SERVICES, CONSOLE)))
            write_run(self.data, self.info())
        except BaseException:  # whatever ended the start, Ctrl-C included: nothing stays behind
            await self.stop()
            raise

    async def wait(self) -> None:
        """Return when stopped; raise what broke the supervision itself."""
        await self.supervisor.wait()

    async def stop(self) -> None:
        """Stop everything, services first, and let go of the data folder. May be called again."""
        try:
            await self.supervisor.stop()
        finally:
            remove_run(self.data)
            self._lock.release()

    def processes(self) -> dict[str, ProcessState]:
        """What is known about each child process, by name."""
        return self.supervisor.states()

    def info(self) -> RunInfo:
        """What `run.json` tells."""
        services = {
            name: RunningService(state.url or "", state.pid, state.restarts)
            for name, state in self.processes().items()
            if name in {*SERVICES, CONSOLE}
        }
        project = str(self.project) if self.project else None
        return RunInfo(self.bootstrap_servers, self.schema_registry_url, project, os.getpid(), services)

    async def _start_infrastructure(self, ports: dict[str, int]) -> None:
        """Start broker and registry, side by side, unless they were given."""
        if self.bootstrap_servers and self.schema_registry_url:
            return
        software = await asyncio.to_thread(install) if self._software is None else self._software
        parts: list[EmbeddedKafka | EmbeddedSchemaRegistry] = []
        if not self.bootstrap_servers:
            kafka = EmbeddedKafka(
                software, self.data / "kafka", ports["kafka"], ports["kafka-controller"], self._kafka_overrides
            )
            self.bootstrap_servers = kafka.bootstrap_servers
            parts.append(kafka)
        if not self.schema_registry_url:
            registry = EmbeddedSchemaRegistry(
                software, self.data / "schema-registry", ports["schema-registry"], ports["schema-registry-management"]
            )
            self.schema_registry_url = registry.url
            parts.append(registry)
        for part in parts:
            await part.prepare()
        await self.supervisor.start(*(part.spec() for part in parts))

    def _service(self, name: str, ports: dict[str, int]) -> ProcessSpec:
        """How the supervisor runs a service. The console is told where the others are, before they are."""
        port = ports[name]
        url = f"http://{HOST}:{port}"
        env = {
            "MILLRACE_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "MILLRACE_SCHEMA_REGISTRY_URL": self.schema_registry_url,
            "MILLRACE_PROJECT": str(self.project),
            "MILLRACE_DATA": str(self.data),
            "MILLRACE_HTTP_HOST": HOST,
            "MILLRACE_HTTP_PORT": str(port),
            "PYTHONUNBUFFERED": "1",
        }
        if name == CONSOLE:
            env["MILLRACE_CONSOLE_SERVICES"] = json.dumps({one: f"http://{HOST}:{ports[one]}" for one in SERVICES})
        log_path = self.data / "logs" / f"{name}.log"
        # The console answers while it still reads the log, and nobody who serves has to wait for it.
        asked = "livez" if name == CONSOLE else "readyz"
        return ProcessSpec(name, self._command(name), log_path, env=env, ready=f"{url}/{asked}", url=url)

    async def _changed(self, change: Change) -> None:
        """Keep `run.json` true, then tell whoever asked."""
        write_run(self.data, self.info())
        if self._on_change is not None:
            await self._on_change(change)
