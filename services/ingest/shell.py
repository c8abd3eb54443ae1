"""Ingest's effects, put together: a lane for each partition that this process owns, and its way into the lake."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from fastapi import FastAPI

from millrace.bus.consume import Lane, Lanes, Step
from millrace.bus.context import Context
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ProjectError
from millrace.contracts.topics import topic_name
from millrace.features.functions import load_functions
from millrace.stores.lake import Lake
from millrace.stores.subject_keys import SubjectKeys
from millrace.telemetry.log import get_logger
from services.ingest.following import Following
from services.ingest.lake import LakeWriter
from services.ingest.lane import IngestLane, Means
from services.ingest.pseudonyms import Pseudonyms

log = get_logger(__name__)
WRITES = (topics.SAMPLES, topics.DATA_SNAPSHOTS, topics.DATA_QUALITY, topics.FEATURE_STATE, topics.ALERTS)


class IngestService:
    """Runs a lane for each partition that the group gives to this process.

    Args:
        context: project, transport, codec, clock.
        max_records: what one fetch may bring.
        trace_share: share of events without a trace that start one.
        in_thread: how calls that block are made.
        lake: the stream's table; None keeps none.
        subject_keys: the keys of persons; needed where the stream has personal fields.
    """

    def __init__(
        self, context: Context, *, max_records: int, trace_share: float, in_thread: InThread = asyncio.to_thread,
        lake: Lake | None = None, subject_keys: SubjectKeys | None = None,
    ) -> None:  # fmt: skip
        self._context = context
        self._in_thread = in_thread
        self._lake = lake
        project = context.project
        hidden = project.personal
        if hidden is not None and subject_keys is None:
            raise ProjectError(f"{project.event.schema_file} marks {hidden.fields} as personal: a key store is needed")
        self._following = Following(context)
        self._companions: dict[int, _InLake] = {}
        self._means = Means(
            following=self._following,
            in_thread=in_thread,
            trace_share=trace_share,
            max_records=max_records,
            functions=load_functions(project.folder, project.features),
            pseudonyms=Pseudonyms(hidden, subject_keys) if hidden is not None and subject_keys is not None else None,
        )
        self._lanes = Lanes(
            context.transport,
            service="ingest",
            group=f"millrace-ingest-{project.stream}",
            topics=[topic_name(topics.EVENTS, project), topic_name(topics.LABELS, project)],
            make_lane=self._make_lane,
            max_records=max_records,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        project = self._context.project
        await self._context.codec.prepare(project, *WRITES)
        if project.personal is not None:  # what is recorded is then not what was received
            await self._context.codec.prepare(project, topics.EVENTS)
        await self._following.catch_up()
        await run_together(self._following.follow(), self._lanes.run())

    def _make_lane(self, number: int) -> Lane:
        if self._lake is None:
            return IngestLane(self._context, number, self._means)
        writer = LakeWriter(self._context, number, self._lake, in_thread=self._in_thread)
        lane = IngestLane(self._context, number, replace(self._means, lake=writer))
        self._companions[number] = _InLake(lane, writer)
        return self._companions[number]

    def checks(self) -> Mapping[str, str | None]:
        """Ready once the consumer group has answered. A lake that does not take rows delays training sets, no event."""
        checks = {"bus": self._lanes.trouble()}
        if self._lake is not None:
            checks["lake"] = next((why for one in self._companions.values() if (why := one.trouble())), None)
        return checks

    def add_routes(self, app: FastAPI) -> None:
        """Ingest has no HTTP paths of its own."""


class _InLake:
    """A lane, and beside it for as long as the partition is ours what brings its samples into the lake."""

    def __init__(self, lane: IngestLane, writer: LakeWriter) -> None:
        self._lane = lane
        self._writer = writer
        self._task: asyncio.Task[None] | None = None

    def trouble(self) -> str | None:
        """Why samples do not come into the lake at the moment."""
        return self._writer.trouble() if self._task is not None else None

    async def recover(self, committed: Mapping[str, int | None]) -> Mapping[str, int]:
        """Rebuild the lane's state, then let the lake follow."""
        positions = await self._lane.recover(committed)
        if self._task is None:
            self._task = asyncio.create_task(self._writer.run())
        return positions

    async def process(self, records: Sequence[Record], caught_up: Mapping[str, bool]) -> Step:
        """The lane's step. What stopped the lake for good stops ingest too."""
        if self._task is not None and self._task.done() and not self._task.cancelled():
            self._task.result()
        step = await self._lane.process(records, caught_up)
        self._writer.gives_way = self._lane.is_behind
        return step

    def written(self, offsets: Sequence[int]) -> None:
        """See the lane."""
        self._lane.written(offsets)

    async def close(self) -> None:
        """End the way into the lake."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)  # its error was raised by process, or matters no more
