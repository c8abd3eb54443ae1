"""How whole windows of arriving events become judgements on the log.

A window is judged when its last record has arrived, and told once its events are decided and written. Then it is
known at which offsets of the samples log they stand, and the judgement names just these: from the sample of its first
event to that of its last one. A judgement that was not told when the process was killed is not told later; what was
wrong with single records is in the dead letters and flags.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from millrace.bus.context import Context
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import schema_id_of
from millrace.contracts.columnar import HEADER_BYTES
from millrace.contracts.errors import ContractError
from millrace.contracts.events import AlertRaised, DataQualityJudged, ExpectationsLearned
from millrace.contracts.expectations import NullShare
from millrace.expectations.window import VOLUME, Finding
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DATA_QUALITY
from services.ingest.quality import QualityWatch, WindowJudged

log = get_logger(__name__)
Offsets = NDArray[np.int64]
HARMLESS = frozenset({VOLUME})  # too few events are an alarm, but those that came may be trained on


@dataclass(frozen=True, slots=True)
class _Pending:
    """A finding about events from one offset up to another (exclusive); about none if they are equal.

    ``place`` names it in its id. ``is_new``: the window before was not alarming in the same way; only then is somebody
    called.
    """

    finding: Finding
    expectations_id: str | None
    from_event_offset: int
    until_event_offset: int
    place: str
    is_new: bool = True


class Judgements:
    """The windows of one partition, from the records that arrive to the events that tell what was found."""

    def __init__(self, context: Context, number: int) -> None:
        project = context.project
        self._context = context
        self._number = number
        shares = {rule.field: rule.most for rule in project.expectations if isinstance(rule, NullShare)}
        self._watch = QualityWatch(project, null_shares=shares)
        self._heads: set[bytes] = set()  # of schemas that were compared
        self._alarming: frozenset[tuple[str, str]] = frozenset()  # checks and subjects of the window before
        self._used = used_fields(context)
        self._offsets: deque[int] = deque()  # of the records since the window in hand began
        self._written: deque[tuple[Offsets, Offsets]] = deque()  # of events, and of their samples
        self._pending: list[_Pending] = []

    # ---- what arrives ------------------------------------------------------------------------------------------

    def see(self, records: Sequence[Record], batch: Any, learned: ExpectationsLearned | None) -> None:
        """Records that were decoded together."""
        self._see_schemas(records)
        self._offsets.extend([record.offset for record in records])
        self._note(self._watch.see(batch, learned), learned)

    def see_one(self, record: Record, values: Mapping[str, Any] | None, learned: ExpectationsLearned | None) -> None:
        """A record that was decoded by itself, or could not be (None)."""
        self._see_schemas([record])
        self._offsets.append(record.offset)
        windows = self._watch.see_unreadable(learned) if values is None else self._watch.see_row(values, learned)
        self._note(windows, learned)

    def _see_schemas(self, records: Sequence[Record]) -> None:
        heads = {(record.value or b"")[:HEADER_BYTES] for record in records}
        for head in heads - self._heads:
            try:
                schema_id = schema_id_of(head)
            except ContractError:
                continue
            writer = self._context.codec.writer_schema(schema_id)
            if writer is None:
                continue
            self._heads.add(head)
            place = f"schema-{schema_id}"
            for finding in self._watch.see_schema(schema_id, writer, self._used):
                self._pending.append(_Pending(finding, None, records[0].offset, records[0].offset, place))

    def _note(self, windows: Iterable[WindowJudged], learned: ExpectationsLearned | None) -> None:
        for window in windows:
            offsets = [self._offsets.popleft() for _ in range(window.until - window.first)]
            known = learned.expectations_id if learned else None
            place = f"{self._number}/{offsets[-1] + 1}"
            for found in window.findings:
                is_new = (found.check, found.subject) not in self._alarming
                self._pending.append(_Pending(found, known, offsets[0], offsets[-1] + 1, place, is_new))
            alarms = (found for found in window.findings if found.severity == "ALARM")
            self._alarming = frozenset((found.check, found.subject) for found in alarms)

    def wrote(self, events: Offsets, samples: Offsets) -> None:
        """These events, by their offsets, are on the samples log at these."""
        if not len(events):
            return
        self._written.append((events, samples))
        waiting = [one.from_event_offset for one in self._pending]
        oldest = min([*waiting, self._offsets[0] if self._offsets else int(events[-1]) + 1])
        while self._written and self._written[0][0][-1] < oldest:
            self._written.popleft()

    # ---- what is told ------------------------------------------------------------------------------------------

    def ready(self, position: int) -> bool:
        """Whether something can be told when the events below this offset are decided and written."""
        return any(one.until_event_offset <= position for one in self._pending)

    def take(self, position: int, now_ms: int) -> list[OutRecord]:
        """The records of all that can be told when the events below this offset are written; given only once."""
        ready = [one for one in self._pending if one.until_event_offset <= position]
        self._pending = [one for one in self._pending if one.until_event_offset > position]
        return [record for one in ready for record in self._records(self._event(one, now_ms), is_new=one.is_new)]

    def _samples(self, one: _Pending) -> tuple[int, int]:
        """From which sample on, and up to which (exclusive), the events of the window stand; equal for none."""
        found = [
            samples[(events >= one.from_event_offset) & (events < one.until_event_offset)]
            for events, samples in self._written
        ]
        places = np.concatenate([*found, np.empty(0, np.int64)])
        return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)

    def _event(self, one: _Pending, now_ms: int) -> DataQualityJudged:
        project, found = self._context.project, one.finding
        from_offset, until_offset = self._samples(one)
        alarms = found.severity == "ALARM" and found.check not in HARMLESS
        vetoes = project.data.quality.veto and alarms and from_offset < until_offset
        return DataQualityJudged(
            judgement_id=f"quality/{project.stream}/{one.place}/{found.check}/{found.subject}",
            stream=project.stream,
            model=project.model,
            partition=self._number,
            check=found.check,
            subject=found.subject,
            severity=found.severity,
            from_offset=from_offset,
            until_offset=until_offset,
            from_event_offset=one.from_event_offset,
            until_event_offset=one.until_event_offset,
            rows=found.rows,
            observed=found.observed,
            expected=found.expected,
            message=found.message,
            expectations_id=one.expectations_id,
            vetoes=vetoes,
            judged_at_ms=now_ms,
        )

    def _records(self, judged: DataQualityJudged, *, is_new: bool) -> list[OutRecord]:
        """The judgement, and for an alarm that begins an alert."""
        codec, project = self._context.codec, self._context.project
        DATA_QUALITY.labels(judged.stream, judged.check, judged.severity).inc()
        log.warning(
            "data quality", check=judged.check, subject=judged.subject, severity=judged.severity,
            events=[judged.from_event_offset, judged.until_event_offset], message=judged.message,
        )  # fmt: skip
        topic = topics.DATA_QUALITY.suffix
        records = [OutRecord(topic, project.stream.encode(), codec.encode(topic, judged))]
        if judged.severity == "ALARM" and is_new:
            alert = AlertRaised(
                alert_id=f"alert/{judged.judgement_id}",
                service="ingest",
                severity="WARNING",
                reason=f"data-quality-{judged.check}",
                subject=judged.subject,
                message=judged.message,
                raised_at_ms=judged.judged_at_ms,
            )
            topic = topics.ALERTS.suffix
            records.append(OutRecord(topic, project.model.encode(), codec.encode(topic, alert)))
        return records


def used_fields(context: Context) -> AbstractSet[str]:
    """The fields that the project looks at: identity, features and rules."""
    project = context.project
    named = {project.event.id, project.event.entity, project.event.time}
    named |= {field for _, field, _ in project.feature_needs}
    return named | {field for rule in project.expectations for field in rule.needs}
