"""Ingest's effects, put together: a lane for each partition that this process owns."""

import asyncio
from collections.abc import Mapping

from fastapi import FastAPI

from millrace.bus.consume import Lanes
from millrace.bus.context import Context
from millrace.bus.tasks import InThread
from millrace.contracts import topics
from millrace.contracts.topics import topic_name
from services.ingest.lane import IngestLane

WRITES = (topics.SAMPLES, topics.DATA_SNAPSHOTS, topics.ALERTS)


class IngestService:
    """Runs a lane for each partition that the group gives to this process."""

    def __init__(
        self, context: Context, *, max_records: int, trace_share: float, in_thread: InThread = asyncio.to_thread
    ) -> None:
        self._context = context
        project = context.project
        self._lanes = Lanes(
            context.transport,
            service="ingest",
            group=f"millrace-ingest-{project.stream}",
            topics=[topic_name(topics.EVENTS, project), topic_name(topics.LABELS, project)],
            make_lane=lambda number: IngestLane(
                context, number, trace_share=trace_share, max_records=max_records, in_thread=in_thread
            ),
            max_records=max_records,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._context.codec.prepare(self._context.project, *WRITES)
        await self._lanes.run()

    def checks(self) -> Mapping[str, str | None]:
        """Ready once the consumer group has answered."""
        return {"bus": self._lanes.trouble()}

    def add_routes(self, app: FastAPI) -> None:
        """Ingest has no HTTP paths of its own."""
