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
from services.serving.models import Trust
from services.serving.rest import add_inference_routes

WRITES = (topics.PREDICTIONS, topics.SHADOW_PREDICTIONS, topics.OBSERVATIONS, topics.SERVING_STATUS, topics.ALERTS)


class ServingService:
    """Follows deployments and runs a lane for each partition that the group gives to this process.

    Args:
        context: what every service is given.
        artifacts: folder or address of the model files.
        max_records: most samples of a micro-batch.
        threads: threads that scoring one may use.
        in_thread: how a call that blocks is made.
        artifacts_key: opens artefacts that are encrypted.
        trust: how much a model is believed; unless given, no signature is asked for, and nothing runs beside.
    """

    def __init__(
        self, context: Context, *, artifacts: str, max_records: int, threads: int = 1,
        in_thread: InThread = asyncio.to_thread, trust: Trust | None = None, artifacts_key: str | None = None,
    ) -> None:  # fmt: skip
        self._context = context
        self._in_thread = in_thread
        self._running: dict[int, ServingLane] = {}
        project = context.project
        self._trust = trust or Trust()
        self.deployments = Deployments(
            context, ArtifactStore(artifacts, artifacts_key), threads=threads, in_thread=in_thread, trust=self._trust
        )
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
        try:
            await self.deployments.catch_up()
            await run_together(self.deployments.follow(), self._lanes.run())
        finally:
            if self._trust.probe is not None:
                self._trust.probe.close()

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
