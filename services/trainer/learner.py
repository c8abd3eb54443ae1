"""What ingest shall expect of events bound for a new version: learned from the events behind its training rows."""

from typing import Any

import numpy as np
import pyarrow as pa

from millrace.bus.tasks import InThread
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.events import ExpectationsLearned, FieldExpectation, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.schemas import Schema
from millrace.expectations.learn import learn
from millrace.expectations.learned import plain_types
from millrace.expectations.window import learn_volume
from millrace.telemetry.log import get_logger
from services.trainer.train.window import Window

log = get_logger(__name__)
CATEGORIES_BYTES = 20_000  # of one field; forty such fields still fit into a record


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
        personal = frozenset(self._project.personal.fields if self._project.personal else ())
        plain = plain_types(self._project.event_schema)
        table = pa.Table.from_pylist([{name: event[name] for name in plain} for event in events])
        found, correlations = await self._in_thread(learn, table, skip=skipped, personal=personal)
        times_ms = np.array([event[fields.time] * self._project.time_to_ms for event in events]).astype(np.int64)
        return ExpectationsLearned(
            expectations_id=f"expectations/{started.run_id}",
            model=started.model,
            run_id=started.run_id,
            artifact_sha256=artifact_sha256,
            feature_set=started.feature_set,
            rows=len(events),
            fields=tuple(_bounded(field) for field in found),
            correlations=correlations,
            events_per_hour=learn_volume(times_ms) if events else None,
            learned_at_ms=now_ms,
        )


def _bounded(field: FieldExpectation) -> FieldExpectation:
    """Without its categories, if they would fill the record: so many long texts are no set to hold anything to."""
    size = sum(len(text.encode()) for text in field.categories)
    return field if size <= CATEGORIES_BYTES else field.model_copy(update={"categories": (), "category_shares": ()})
