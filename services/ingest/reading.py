"""What one record says by itself: bytes to events and labels, or the reason why it is refused.

A whole batch is read by the column, in a thread, so that the event loop goes on with heartbeats and fetches meanwhile.
What the columns cannot judge is judged record by record. Personal fields are replaced before anything is kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from millrace.bus.context import Context
from millrace.bus.tasks import InThread, Offload
from millrace.bus.types import RECORD_BYTES_MAX, Record
from millrace.contracts import topics
from millrace.contracts.columnar import Columnar
from millrace.contracts.errors import ContractError
from millrace.contracts.events import LabelObserved
from millrace.contracts.schemas import Schema, newest
from millrace.contracts.topics import topic_name
from millrace.features.inputs import Inputs
from services.ingest.admit import check_expectations, check_size, identify
from services.ingest.columns import EventColumns, Judged
from services.ingest.core import EventArrived, LabelArrived, Refused
from services.ingest.following import InForce
from services.ingest.judging import Judgements
from services.ingest.pseudonyms import Pseudonyms, safe_message

SAMPLE_BYTES = 20_000  # of a sample besides the event and its features: ids of the longest kind, names, headers


class EventReader:
    """Reads the events of one partition.

    Args:
        context: project and codec.
        in_thread: makes the calls that block.
        judgements: told of everything that arrives.
        facts: the fields that rules between rows look at; empty if there are none.
        pseudonyms: for the personal fields, where the stream has some.
    """

    def __init__(
        self, context: Context, in_thread: InThread, judgements: Judgements, facts: Sequence[str],
        pseudonyms: Pseudonyms | None = None,
    ) -> None:  # fmt: skip
        project = context.project
        self._context = context
        self._in_thread = in_thread
        self._judging = Offload(in_thread)
        self._judgements = judgements
        self._facts = tuple(facts)
        self._pseudonyms = pseudonyms
        self._personal = project.personal
        self._topic = topic_name(topics.EVENTS, project)
        self._schema = Schema.of(project.event_schema)
        self._inputs = Inputs(project.features)
        self._largest = RECORD_BYTES_MAX - SAMPLE_BYTES - 8 * len(project.features)
        self._columns = EventColumns(project, self._inputs, self._largest)

    async def read(self, records: Sequence[Record], now_s: float, force: InForce) -> list[EventArrived | Refused]:
        """What became of each record, in their order."""
        values = [record.value for record in records]
        columnar = await self._context.codec.columnar(values, self._schema) if records else None
        judged = None
        if columnar is not None and self._columns.can_read(columnar):
            judged = await self._judging(
                len(values), self._judge, columnar, records, force, self._context.clock.now_ms()
            )
        if judged is None:
            return [await self._one(record, now_s, force, seen=False) for record in records]
        arrivals: list[EventArrived | Refused] = [*self._arrivals(records, now_s, *judged)]
        for place in judged[0].suspects:
            arrivals[place] = await self._one(records[place], now_s, force, seen=True)
        return arrivals

    def _judge(
        self, columnar: Columnar, records: Sequence[Record], force: InForce, now_ms: int
    ) -> tuple[Judged, Any] | None:
        """The batch as judged, and as it may be kept."""
        batch = columnar.decode([record.value for record in records])
        if batch is None:
            return None
        sizes = [len(record.value or b"") for record in records]
        received_ms = [record.timestamp_ms for record in records]
        judged = self._columns.judge(batch, sizes, received_ms=received_ms, learned=force.rules)
        self._judgements.see(records, batch, force.learned)
        if self._personal is not None:
            batch = self._hidden.columns(batch, now_ms, judged.suspects)
        return judged, batch

    def _arrivals(self, records: Sequence[Record], now_s: float, judged: Judged, batch: Any) -> list[EventArrived]:
        entity, recorded = judged.entity, None
        if self._personal is not None:
            recorded = self._recorded(batch)
            entity = batch.column(self._context.project.event.entity).to_pylist()
        found = zip(records, judged.event_id, entity, judged.time_ms, range(len(records)), strict=True)
        if not self._facts and recorded is None:
            return [
                EventArrived(record, now_s, event_id, entity, time_ms, judged.values, row)
                for record, event_id, entity, time_ms, row in found
            ]
        facts = batch.select(list(self._facts)).to_pylist() if self._facts else [None] * len(records)
        kept = recorded if recorded is not None else [None] * len(records)
        return [
            EventArrived(record, now_s, event_id, entity, time_ms, judged.values, row, fact, (), value)
            for (record, event_id, entity, time_ms, row), fact, value in zip(found, facts, kept, strict=True)
        ]

    async def _one(self, record: Record, now_s: float, force: InForce, *, seen: bool) -> EventArrived | Refused:
        """One record by itself. ``seen``: the judgements know it already."""
        project = self._context.project
        values: dict[str, Any] | None = None
        event_id: str | None = None
        try:
            values = await self._context.codec.decode_record(record.value, self._schema)
            if not seen:
                self._judgements.see_one(record, values, force.learned)
            identity = identify(project, values)
            event_id = identity.event_id
            check_size(len(record.value or b""), self._largest)
            flags = check_expectations(project, values, received_ms=record.timestamp_ms, learned=force.rules)
            row = np.array([self._inputs.row(values)])
            kept, recorded = values, None
            if self._personal is not None:
                kept = await self._in_thread(self._hidden.record, values, self._context.clock.now_ms())
                recorded = self._context.codec.encode_record(self._topic, kept)
        except ContractError as error:
            if values is None and not seen:
                self._judgements.see_one(record, None, force.learned)
            return Refused(record, error.reason, safe_message(error, self._personal, values), event_id)
        facts = {name: kept.get(name) for name in self._facts} if self._facts else None
        entity = identity.entity if self._personal is None else str(kept[project.event.entity])
        return EventArrived(record, now_s, identity.event_id, entity, identity.time_ms, row, 0, facts, flags, recorded)

    def _recorded(self, batch: Any) -> list[bytes]:
        """The events as they are recorded, once their personal fields are replaced."""
        codec = self._context.codec
        if codec.columnar_of(self._schema) is not None:
            return codec.encode_columns(self._topic, batch)
        return [codec.encode_record(self._topic, row) for row in batch.to_pylist()]

    @property
    def _hidden(self) -> Pseudonyms:
        assert self._pseudonyms is not None, "a stream with personal fields has a key store"
        return self._pseudonyms


class LabelReader:
    """Reads the labels of one partition."""

    def __init__(self, context: Context, in_thread: InThread) -> None:
        self._context = context
        self._labelling = Offload(in_thread)
        self._schema = newest(LabelObserved.schema_name)

    async def read(self, records: Sequence[Record], now_s: float) -> list[LabelArrived | Refused]:
        """What became of each record, in their order."""
        values = [record.value for record in records]
        columnar = await self._context.codec.columnar(values, self._schema) if records else None
        batch = None if columnar is None else await self._labelling(len(values), columnar.decode, values)
        if batch is None:
            return [await self._one(record, now_s) for record in records]
        names = ("event_id", "label_time_ms", "label")
        rows = zip(records, *(batch.column(name).to_pylist() for name in names), strict=True)
        return [self._numbered(record, now_s, event_id, time_ms, label) for record, event_id, time_ms, label in rows]

    async def _one(self, record: Record, now_s: float) -> LabelArrived | Refused:
        label: Mapping[str, Any] | None = None
        try:
            label = await self._context.codec.decode_record(record.value, self._schema)
        except ContractError as error:
            return Refused(record, error.reason, safe_message(error, self._context.project.personal))
        return self._numbered(record, now_s, label["event_id"], label["label_time_ms"], label["label"])

    def _numbered(
        self, record: Record, now_s: float, event_id: str, time_ms: int, label: float | str
    ) -> LabelArrived | Refused:
        try:
            return LabelArrived(record, now_s, event_id, time_ms, self._context.project.label.to_number(label))
        except ValueError as error:
            refused = ContractError("bad-label", str(error))
            return Refused(record, refused.reason, safe_message(refused, self._context.project.personal))
