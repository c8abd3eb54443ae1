"""Reads runs, what the registry made of them, and their records."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from millrace.bus.transport import Transport
from millrace.cli.manage import platform
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ArtifactError, ContractError
from millrace.contracts.events import Event, ModelVersionChanged, TrainingRunChanged
from millrace.runs.fold import Run, Runs
from millrace.runs.record import files_of
from millrace.stores.artifacts import ArtifactStore

READ: tuple[tuple[str, type[Event]], ...] = (
    (topics.TRAINING_RUNS.suffix, TrainingRunChanged),
    (topics.MODEL_VERSIONS.suffix, ModelVersionChanged),
)


class RunsReader:
    """The runs of all models, brought up to date whenever it is asked. ``notes`` name records that are no events."""

    def __init__(self, transport: Transport, codec: Codec) -> None:
        self.runs = Runs()
        self.notes: list[str] = []
        self._transport = transport
        self._codec = codec
        self._positions: dict[str, int] = {}

    async def refresh(self) -> Runs:
        """Read what has been added since the last time."""
        async for event in self._news():
            self.runs.add(event)
        return self.runs

    async def _news(self) -> AsyncIterator[Event]:
        for topic, kind in READ:
            bounds = await self._transport.bounds(topic, 0)
            start = self._positions.get(topic, bounds.begin)
            if start >= bounds.end:
                continue
            async for records in self._transport.read(topic, 0, start, bounds.end):
                for record in records:
                    try:
                        yield await self._codec.decode(kind, record.value)
                    except ContractError as error:
                        where = f"{topic}/0/{record.offset}"
                        self.notes.append(f"{where} is no {kind.__name__} and was left out: {error}")
            self._positions[topic] = bounds.end


@asynccontextmanager
async def reading(data: Path, bootstrap: str | None, schema_registry: str | None) -> AsyncIterator[RunsReader]:
    """A reader that has read everything, while its connection is open. Raises ``LocalError`` if nothing runs there."""
    async with platform(data, bootstrap, schema_registry) as log:
        reader = RunsReader(log.transport, log.codec)
        await reader.refresh()
        yield reader


def record_of(run: Run, store: ArtifactStore) -> tuple[Mapping[str, bytes], str | None]:
    """The files of a run's record, or why there are none."""
    digest = run.last.record_sha256
    if digest is None:
        why = "only a run that succeeded has one" if run.last.status != "SUCCEEDED" else "the run wrote none"
        return {}, f"{run.run_id} has no record: {why}"
    try:
        return files_of(store.get(digest)), None
    except ArtifactError as error:
        return {}, f"the record {digest} cannot be had: {error}; is the store another one? See --artifacts"
