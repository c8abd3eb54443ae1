"""The clients of a command: a transport and a codec for one project, closed afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from millrace.bus.kafka import KafkaTransport
from millrace.bus.transport import Transport
from millrace.cli.address import resolve
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project, load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.telemetry import log


@dataclass(frozen=True, slots=True)
class Clients:
    """What a command talks through."""

    project: Project
    transport: Transport
    codec: Codec


@asynccontextmanager
async def connected(
    project: Path, data: Path, bootstrap: str | None, schema_registry: str | None
) -> AsyncIterator[Clients]:
    """Clients of the system at these addresses. Raises ``LocalError`` if there is none, ``ProjectError``."""
    log.configure("millrace-cli", "ERROR")  # what is tried again and succeeds is no news to whoever waits
    address = resolve(data, bootstrap, schema_registry)
    checked = load_project(project)
    transport = KafkaTransport(address.bootstrap_servers, "millrace-cli")
    try:
        async with SchemaRegistry(address.schema_registry_url) as registry:
            yield Clients(checked, transport, Codec(registry))
    finally:
        await transport.close()
