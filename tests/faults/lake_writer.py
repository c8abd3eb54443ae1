"""A process with one lake writer on a real broker: ``lake_writer.py <bootstrap> <registry> <project> <lake> <die>``.

``die`` is ``place@n`` as in ``lake_driver.py``. It works until it is killed.
"""

import asyncio
import sys
from pathlib import Path

from millrace.bus.clock import SystemClock
from millrace.bus.context import Context
from millrace.bus.kafka import KafkaTransport
from millrace.contracts.codec import Codec
from millrace.contracts.project import load_project
from millrace.contracts.registry_client import SchemaRegistry
from millrace.stores.lake import Lake
from services.ingest.lake import LakeWriter
from tests.faults.lake_driver import Die


async def main(bootstrap: str, registry_url: str, folder: str, root: str, die: str) -> None:
    """Bring partition 0 into the lake."""
    project = load_project(Path(folder))
    async with SchemaRegistry(registry_url) as registry:
        transport = KafkaTransport(bootstrap, "lake-writer")
        context = Context(project, transport, Codec(registry), SystemClock(), "lake-writer")
        lake = Lake(Path(root), project.stream, project.data.lake, reached=Die(die))
        try:
            await LakeWriter(context, 0, lake).run()
        finally:
            await transport.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
