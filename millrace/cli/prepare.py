"""``millrace prepare``: the topics and subjects of a model project, on servers that already run."""

import asyncio
import json
from pathlib import Path

import click

from millrace.cli.options import json_option, project_argument


@click.command("prepare")
@project_argument
@click.option("--bootstrap", metavar="HOST:PORT", required=True, help="The Kafka to create topics on.")
@click.option("--schema-registry", metavar="URL", required=True, help="The schema registry (Confluent API).")
@click.option(
    "--replication-factor", type=click.IntRange(1), default=1, show_default=True, help="Copies of each topic."
)
@json_option
def command(project: Path, bootstrap: str, schema_registry: str, replication_factor: int, *, as_json: bool) -> None:
    """Create the topics of PROJECT and register its schemas; what is there already stays as it is.

    `millrace up` does this by itself; deployments run it once before the services start.
    """
    from millrace.contracts.project import load_project
    from millrace.contracts.topics import specs
    from millrace.local.prepare import prepare

    names = [spec.name for spec in specs(load_project(project))]
    asyncio.run(prepare(bootstrap, schema_registry, project, replication_factor))
    if as_json:
        click.echo(
            json.dumps({"bootstrap_servers": bootstrap, "schema_registry_url": schema_registry, "topics": names})
        )
    else:
        click.echo(f"{len(names)} topics and their schemas are ready on {bootstrap}")
