"""The measuring client: reads a run back from the topics, read_committed, while it happens and once more at the end."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from millrace.bus.clock import Clock
from millrace.bus.deadletter import why
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import run_together
from millrace.bus.transport import Transport
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError, RegistryUnavailableError
from millrace.contracts.events import PredictionMade, SampleRecorded
from millrace.contracts.project import Project
from millrace.contracts.schemas import newest
from millrace.contracts.topics import TopicRow, topic_name
from millrace.demo.control import CONTROL, Control
from millrace.demo.ledger import Ledger, Place
from millrace.telemetry.log import get_logger

log = get_logger(__name__)
SAMPLE = newest(SampleRecorded.schema_name)
PREDICTION = newest(PredictionMade.schema_name)
DATA = (topics.SAMPLES, topics.PREDICTIONS, topics.DEAD_LETTERS)
INPUTS = (topics.EVENTS, topics.LABELS)


@dataclass(slots=True)
class Run:
    """What the topics tell about a run.

    ``received_ms`` is when this client saw each prediction, by the place of its sample; only a client that was there
    while it happened knows. ``inputs`` are the places of all that upstream wrote, by topic.
    """

    events_topic: str
    ledger: Ledger
    control: Control
    received_ms: dict[Place, int] = field(default_factory=dict)
    inputs: dict[str, set[Place]] = field(default_factory=dict)


class Measure:
    """Reads one project's topics.

    Args:
        transport: the log.
        codec: decodes; needs no topic prepared.
        project: names the topics.
        clock: the time of receipt.
    """

    def __init__(self, transport: Transport, codec: Codec, project: Project, clock: Clock) -> None:
        self._transport = transport
        self._codec = codec
        self._project = project
        self._clock = clock
        self._rows = {topic_name(row, project): row for row in (*DATA, *INPUTS, *CONTROL)}

    def new_run(self) -> Run:
        """Nothing read yet."""
        events = topic_name(topics.EVENTS, self._project)
        return Run(events, Ledger(len(self._project.features)), Control(self._project.model))

    async def follow(self, run: Run, changed: Callable[[], None] = lambda: None) -> None:
        """Read samples, predictions, dead letters and decisions as they come, until cancelled."""
        await run_together(
            *(self._follow(run, name, partition, changed) for name, partition in self._partitions((*DATA, *CONTROL)))
        )

    async def read_all(self) -> Run:
        """Read every topic from its first offset to its end."""
        run = self.new_run()
        for name, partition in self._partitions((*DATA, *INPUTS, *CONTROL)):
            bounds = await self._transport.bounds(name, partition)
            async for records in self._transport.read(name, partition, bounds.begin, bounds.end):
                for record in records:
                    await self._take(run, record)
        run.control.said.sort(key=lambda said: said.log_ms)
        return run

    def _partitions(self, rows: tuple[TopicRow, ...]) -> list[tuple[str, int]]:
        return [
            (topic_name(row, self._project), partition)
            for row in rows
            for partition in range(row.partitions or self._project.partitions)
        ]

    async def _follow(self, run: Run, name: str, partition: int, changed: Callable[[], None]) -> None:
        """One partition for ever. A broker that is away is asked again where reading stopped."""
        position, failures = 0, 0
        while True:
            try:
                async for records in self._transport.read(name, partition, position, None):
                    received_ms, failures = self._clock.now_ms(), 0
                    for record in records:
                        await self._take(run, record, received_ms)
                        position = record.offset + 1
                    changed()
            except (BusError, RegistryUnavailableError) as error:
                if not error.retryable:
                    raise
                failures += 1
                log.warning("reading again", topic=name, partition=partition, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    async def _take(self, run: Run, record: Record, received_ms: int | None = None) -> None:
        row = self._rows[record.topic]
        place = (record.partition, record.offset)
        if row in INPUTS:
            run.inputs.setdefault(record.topic, set()).add(place)
        elif row is topics.SAMPLES:
            run.ledger.sample(place, await self._codec.decode_record(record.value, SAMPLE))
        elif row is topics.PREDICTIONS:
            prediction = await self._codec.decode_record(record.value, PREDICTION)
            run.ledger.prediction(prediction, record.timestamp_ms)
            if received_ms is not None:
                scored = (prediction["sample_partition"], prediction["sample_offset"])
                run.received_ms.setdefault(scored, received_ms)
        elif row is topics.DEAD_LETTERS:
            seen = why(record)
            source = (int(seen["partition"]), int(seen["offset"]))
            is_event = seen["topic"] == run.events_topic
            run.ledger.dead_letter(seen["topic"], source, seen["reason"], is_event=is_event)
        else:
            run.control.add(record.timestamp_ms, await self._codec.decode(CONTROL[row], record.value))
