"""Makes a broker and a schema registry ready for a model project: its topics and its subjects."""

from pathlib import Path

from millrace.contracts.compatibility import register_all
from millrace.contracts.project import load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.contracts.topics import specs


async def prepare(
    bootstrap_servers: str, schema_registry_url: str, project_dir: Path, replication_factor: int = 1
) -> None:
    """Create the project's topics and register every subject at its compatibility level. Safe to repeat.

    Schemas come first: once a topic exists, somebody may write to it.

    Raises:
        ProjectError: the project is wrong.
        IncompatibleSchemaError: a schema breaks older versions; no topic has been created.
        RegistryUnavailableError, BusError: one of the two does not answer; call again later.
    """
    from millrace.bus.kafka import KafkaTransport  # noqa: PLC0415 - loads aiokafka, which callers may never need

    project = load_project(project_dir)
    async with SchemaRegistry(schema_registry_url) as registry:
        await register_all(registry, project)
    transport = KafkaTransport(bootstrap_servers, client_id="millrace-prepare", replication_factor=replication_factor)
    try:
        await transport.create_topics(list(specs(project)))
    finally:
        await transport.close()
