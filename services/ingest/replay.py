"""Recovery: the samples that were written, taken in again, lead to the state that wrote them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.bus.tasks import InThread
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.events import SampleRecorded
from millrace.contracts.schemas import Schema, newest
from services.ingest.core import State
from services.ingest.rows import RowMemory, Rows, SnapshotDue

NAN = float("nan")


def field_values(values: Mapping[str, Any], fields: Sequence[str]) -> list[float]:
    """The fields of an event as numbers, NaN where missing."""
    return [NAN if (value := values.get(name)) is None else float(value) for name in fields]


class Replay:
    """Feeds samples of one partition to its state. ``written`` has the next source offset by topic, as they tell."""

    def __init__(self, codec: Codec, event_schema: Schema, state: State, memory: RowMemory) -> None:
        self._codec = codec
        self._event_schema = event_schema
        self._state = state
        self._memory = memory
        self.written: dict[str, int] = {}
        self.newest_snapshot: tuple[SnapshotDue, int] | None = None

    async def take(self, records: Sequence[Record], in_thread: InThread) -> None:
        """Take in the next samples. Raises ``ContractError`` for one that cannot be read: it was written here."""
        samples = await self._rows(records, newest(SampleRecorded.schema_name), in_thread)
        events = [sample["event"] for sample in samples if sample["kind"] == "EVENT"]
        event_rows = await self._rows_of(events, self._event_schema, in_thread)
        await in_thread(self._feed, records, samples, event_rows)

    async def _rows(self, records: Sequence[Record], schema: Schema, in_thread: InThread) -> list[dict[str, Any]]:
        return await self._rows_of([record.value for record in records], schema, in_thread)

    async def _rows_of(
        self, values: Sequence[bytes | None], schema: Schema, in_thread: InThread
    ) -> list[dict[str, Any]]:
        columnar = await self._codec.columnar(values, schema)
        batch = None if columnar is None else await in_thread(columnar.decode, values)
        if batch is None:
            return [await self._codec.decode_record(value, schema) for value in values]
        rows: list[dict[str, Any]] = await in_thread(batch.to_pylist)
        return rows

    def _feed(
        self, records: Sequence[Record], samples: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]
    ) -> None:
        taken: list[int] = []
        for place, sample in enumerate(samples):
            source = sample["source_topic"]
            self.written[source] = max(self.written.get(source, 0), sample["source_offset"] + 1)
            if sample["kind"] == "EVENT":
                self._state.replay_event(sample["event_id"], sample["entity"], sample["time_ms"])
                taken.append(place)
            elif self._state.replay_label(sample["event_id"]):
                taken.append(place)
        _, due = self._memory.advance(self._run([samples[place] for place in taken], events))
        if due:
            self.newest_snapshot = (due[-1], records[taken[due[-1].place]].offset + 1)

    def _run(self, samples: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Rows:
        values = [field_values(event, self._memory.fields) for event in events]
        return Rows(
            np.array([sample["kind"] == "LABEL" for sample in samples], dtype=np.bool_),
            [sample["entity"] for sample in samples],
            np.array([sample["time_ms"] for sample in samples], dtype=np.int64),
            np.array(values, dtype=np.float64).reshape(len(values), len(self._memory.fields)),
            np.array([sample["label"] for sample in samples if sample["kind"] == "LABEL"], dtype=np.float64),
        )
