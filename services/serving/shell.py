"""Serving's effects, put together: the deployments that it follows, and a lane for each partition that it owns."""

import asyncio
from collections.abc import Mapping

from fastapi import FastAPI

from millrace.bus.consume import Lanes
from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.contracts import topics
from millrace.contracts.topics import topic_name
from millrace.stores.artifacts import ArtifactStore
from services.serving.deployments import Deployments
from services.serving.lane import ServingLane
from services.serving.rest import add_inference_routes

WRITES = (topics.PREDICTIONS, topics.OBSERVATIONS, topics.SERVING_STATUS, topics.ALERTS)


class ServingService:
    """Follows deployments and runs a lane for each partition that the group gives to this process."""

    def __init__(
        self, context: Context, *, artifacts: str, max_records: int, threads: int = 1,
        in_thread: InThread = asyncio.to_thread,
    ) -> None:  # fmt: skip
        self._context = context
        self._in_thread = in_thread
        self._running: dict[int, ServingLane] = {}
        project = context.project
        self.deployments = Deployments(context, ArtifactStore(artifacts), threads=threads, in_thread=in_thread)
        self._lanes = Lanes(
            context.transport,
            service="serving",
            group=f"millrace-serving-{project.model}",
            topics=[topic_name(topics.SAMPLES, project)],
            make_lane=self._make_lane,
            max_records=max_records,
            ends=False,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        await self._context.codec.prepare(self._context.project, *WRITES)
        await self.deployments.catch_up()
        await run_together(self.deployments.follow(), self._lanes.run())

    def _make_lane(self, number: int) -> ServingLane:
        self._running[number] = ServingLane(self._context, number, self.deployments, self._in_thread)
        return self._running[number]

    def checks(self) -> Mapping[str, str | None]:
        """Ready once the group has answered, whether or not there is a model yet; not while samples wait in vain."""
        return {
            "bus": self._lanes.trouble(),
            "model": self.deployments.trouble,
            "features": next((lane.foreign for lane in self._running.values() if lane.foreign), None),
        }

    def add_routes(self, app: FastAPI) -> None:
        """The Open Inference Protocol, version 2."""
        add_inference_routes(app, self._context.project, self.deployments)
