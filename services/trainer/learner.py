"""What ingest shall expect of events bound for a new version: learned from the events behind its training rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.bus.tasks import InThread
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.events import ExpectationsLearned, FieldCorrelation, FieldExpectation, TrainingRunChanged
from millrace.contracts.expectations import plain_types
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.expectations.learn import learn
from millrace.expectations.window import learn_volume
from millrace.telemetry.log import get_logger
from services.trainer.train.window import Window

log = get_logger(__name__)
# What is learned has to fit into one record of 1 MB: 2,000 fields take 400 kB, 1,000 pairs 100 kB at most.
FIELDS_MAX = 2_000
CATEGORIES_BYTES = 300_000
CORRELATIONS_MAX = 1_000


class Learner:
    """Learns expectations for one project's models."""

    def __init__(self, project: Project, codec: Codec, in_thread: InThread) -> None:
        self._project = project
        self._codec = codec
        self._in_thread = in_thread
        self._schema = Schema.of(project.event_schema)

    async def learn(
        self, window: Window, started: TrainingRunChanged, artifact_sha256: str, now_ms: int
    ) -> ExpectationsLearned:
        """What the window's events look like. Rows without a readable event are left out, and logged."""
        events: list[dict[str, Any]] = []
        for row in window.rows:
            try:
                events.append(await self._codec.decode_record(row.event, self._schema))
            except ContractError as error:
                log.debug("event left out of what is learned", offset=row.offset, error=str(error))
        if len(events) < len(window.rows):
            log.warning("events cannot be read again", rows=len(window.rows), readable=len(events))
        fields = self._project.event
        skipped = frozenset({fields.id, fields.entity, fields.time})
        plain = plain_types(self._project.event_schema)
        table = pa.Table.from_pylist([{name: event[name] for name in plain} for event in events])
        found, correlations = (
            await self._in_thread(learn, table, skip=skipped, personal=self._project.personal_fields)
            if events
            else ((), ())
        )
        times_ms = np.array([event[fields.time] * self._project.time_to_ms for event in events]).astype(np.int64)
        return ExpectationsLearned(
            expectations_id=f"expectations/{started.run_id}",
            model=started.model,
            run_id=started.run_id,
            artifact_sha256=artifact_sha256,
            feature_set=started.feature_set,
            rows=len(events),
            fields=bounded(found),
            correlations=strongest(correlations),
            events_per_hour=learn_volume(times_ms) if events else None,
            learned_at_ms=now_ms,
        )


def bounded(fields: Sequence[FieldExpectation]) -> tuple[FieldExpectation, ...]:
    """As many fields, and as many of their sets of categories, the smallest first, as fit into one record."""
    sizes = {field.name: sum(len(text.encode()) + 10 for text in field.categories) for field in fields[:FIELDS_MAX]}
    left, kept = CATEGORIES_BYTES, set[str]()
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        left -= size
        if left >= 0:
            kept.add(name)
    if dropped := sorted(field.name for field in fields if field.name not in kept):
        log.warning("too much to be learned: no expectation, or no categories, of these", fields=dropped)
    bare = {"categories": (), "category_shares": ()}
    return tuple(field if field.name in kept else field.model_copy(update=bare) for field in fields[:FIELDS_MAX])


def strongest(pairs: Sequence[FieldCorrelation]) -> tuple[FieldCorrelation, ...]:
    """The pairs of fields that move together most closely, as many as fit."""
    return tuple(sorted(pairs, key=lambda pair: -abs(pair.value))[:CORRELATIONS_MAX])
