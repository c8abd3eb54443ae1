"""What a service is given, and what it must offer. Knows no Kafka, so that a simulation can build services from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fastapi import FastAPI

from millrace.bus.clock import Clock
from millrace.bus.transport import Transport
from millrace.contracts.codec import Codec
from millrace.contracts.project import Project
from millrace.telemetry.openlineage import Lineage, Target
from millrace.telemetry.traces import Collector, Traces


@dataclass(frozen=True, slots=True)
class Context:
    """All that a service is given.

    ``process`` names this process in what it reports, ``lineage`` tells OpenLineage, ``traces`` OpenTelemetry.
    """

    project: Project
    transport: Transport
    codec: Codec
    clock: Clock
    process: str
    lineage: Lineage = field(default_factory=lambda: Lineage(Target()))
    traces: Traces = field(default_factory=lambda: Traces(Collector()))


class Service(Protocol):
    """One of the five."""

    async def run(self) -> None:
        """Work until cancelled. An error that is raised ends the process, and its supervisor starts it again."""
        ...

    def checks(self) -> Mapping[str, str | None]:
        """Readiness: each check's name, with None when it passes, else what is wrong."""
        ...

    def add_routes(self, app: FastAPI) -> None:
        """Add the service's own HTTP paths, if it has any."""
        ...
