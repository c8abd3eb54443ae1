"""Recovery: the samples that were written, taken in again, lead to the state that wrote them."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.bus.tasks import InThread
from millrace.bus.types import Record
from millrace.contracts.codec import Codec
from millrace.contracts.events import SampleRecorded
from millrace.contracts.schemas import Schema, newest
from millrace.features.inputs import Inputs
from services.ingest.core import State
from services.ingest.rows import RowMemory, Rows, SnapshotDue


class Replay:
    """Feeds samples of one partition to its state.

    Samples below ``since`` are in the saved state already, their ids aside. ``written`` has the next source offset by
    topic, ``admitted`` the newest source offsets, and ``marks`` how many events came from which offset on.
    """

    def __init__(
        self, codec: Codec, event_schema: Schema, inputs: Inputs, state: State, memory: RowMemory, since: int,
        *, window_rows: int,
    ) -> None:  # fmt: skip
        self._codec = codec
        self._event_schema = event_schema
        self._inputs = inputs
        self._state = state
        self._memory = memory
        self._since = since
        self._window_rows = window_rows
        self.written: dict[str, int] = {}
        self.admitted: dict[str, deque[int]] = {}
        self.marks: list[tuple[int, int]] = []
        self.newest_snapshot: tuple[SnapshotDue, int] | None = None

    async def take(self, records: Sequence[Record], in_thread: InThread) -> None:
        """Take in the next samples. Raises ``ContractError`` for one that cannot be read: it was written here."""
        samples = await self._rows_of(
            [record.value for record in records], newest(SampleRecorded.schema_name), in_thread
        )
        events = [sample["event"] for sample in samples if sample["kind"] == "EVENT"]
        event_rows = await self._rows_of(events, self._event_schema, in_thread)
        await in_thread(self._feed, records, samples, event_rows)

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
        values: list[Mapping[str, Any]] = []
        following = iter(events)
        self.marks.append((len(events), records[0].offset))
        for place, (record, sample) in enumerate(zip(records, samples, strict=True)):
            self._note_source(sample)
            is_new = record.offset >= self._since
            if sample["kind"] == "EVENT":
                event = next(following)
                facts = {name: event.get(name) for name in self._state.rules.fields} if is_new else None
                self._state.replay_event(sample["event_id"], sample["entity"], sample["time_ms"], facts)
                if is_new:
                    values.append(event)
                    taken.append(place)
            elif self._state.replay_label(sample["event_id"], sample["label"]) and is_new:
                taken.append(place)
        _, due = self._memory.advance(self._run([samples[place] for place in taken], values))
        if due:
            self.newest_snapshot = (due[-1], records[taken[due[-1].place]].offset + 1)

    def _note_source(self, sample: Mapping[str, Any]) -> None:
        source, offset = sample["source_topic"], sample["source_offset"]
        self.written[source] = max(self.written.get(source, 0), offset + 1)
        self.admitted.setdefault(source, deque(maxlen=self._window_rows)).append(offset)

    def _run(self, samples: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> Rows:
        values = [self._inputs.row(event) for event in events]
        return Rows(
            np.array([sample["kind"] == "LABEL" for sample in samples], dtype=np.bool_),
            [sample["entity"] for sample in samples],
            np.array([sample["time_ms"] for sample in samples], dtype=np.int64),
            np.array(values, dtype=np.float64).reshape(len(values), len(self._memory.fields)),
            np.array([sample["label"] for sample in samples if sample["kind"] == "LABEL"], dtype=np.float64),
        )
