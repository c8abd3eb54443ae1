"""How whole windows of arriving events become judgements on the log.

A window is judged when its last record has arrived, and told once its events are decided and written: only then is it
known between which offsets of the samples log they stand. The range begins where the log ended when the window began,
so it may take in a few good samples more; none that is in question stands outside. A judgement that was not told when
the process was killed is not told later: what was wrong with single records is in the dead letters and flags.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from millrace.bus.context import Context
from millrace.bus.types import OutRecord, Record
from millrace.contracts import topics
from millrace.contracts.codec import schema_id_of
from millrace.contracts.errors import ContractError
from millrace.contracts.events import AlertRaised, DataQualityJudged, ExpectationsLearned
from millrace.contracts.expectations import NullShare
from millrace.expectations.window import VOLUME, Finding
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import DATA_QUALITY
from services.ingest.quality import QualityWatch

log = get_logger(__name__)
HARMLESS = frozenset({VOLUME})  # too few events are an alarm, but those that came may be trained on


@dataclass(frozen=True, slots=True)
class _Pending:
    finding: Finding
    expectations_id: str | None
    from_offset: int
    from_event_offset: int
    until_event_offset: int
    is_new: bool = True
    """Whether the window before was not alarming in the same way: only then is somebody called."""


class Judgements:
    """The windows of one partition, from the records that arrive to the events that tell what was found."""

    def __init__(self, context: Context, number: int) -> None:
        project = context.project
        self._context = context
        self._number = number
        shares = {rule.field: rule.most for rule in project.expectations if isinstance(rule, NullShare)}
        self._watch = QualityWatch(project, null_shares=shares)
        self._alarming: frozenset[tuple[str, str]] = frozenset()  # checks and subjects of the window before
        self._used = used_fields(context)
        self._offsets: deque[int] = deque()  # of the records since the window in hand began
        self._began_at = 0  # where the samples log ended then
        self._pending: list[_Pending] = []

    def begin(self, end: int) -> None:
        """The samples log ends here; what arrives from now on is written behind it."""
        self._began_at = end

    # ---- what arrives ------------------------------------------------------------------------------------------

    def see(self, records: Sequence[Record], batch: Any, learned: ExpectationsLearned | None, end: int) -> None:
        """Records that were decoded together."""
        self._see_schemas(records, end)
        self._offsets.extend(record.offset for record in records)
        self._note(self._watch.see(batch, learned), learned, end)

    def see_one(
        self, record: Record, values: Mapping[str, Any] | None, learned: ExpectationsLearned | None, end: int
    ) -> None:
        """A record that was decoded by itself, or could not be (None)."""
        self._see_schemas([record], end)
        self._offsets.append(record.offset)
        windows = self._watch.see_unreadable(learned) if values is None else self._watch.see_row(values, learned)
        self._note(windows, learned, end)

    def _see_schemas(self, records: Sequence[Record], end: int) -> None:
        first: dict[bytes, Record] = {}
        for record in records:
            first.setdefault((record.value or b"")[:5], record)
        for record in first.values():
            try:
                schema_id = schema_id_of(record.value)
            except ContractError:
                continue
            writer = self._context.codec.writer_schema(schema_id)
            for finding in () if writer is None else self._watch.see_schema(schema_id, writer, self._used):
                self._pending.append(_Pending(finding, None, end, record.offset, record.offset))

    def _note(self, windows: Iterable[Any], learned: ExpectationsLearned | None, end: int) -> None:
        for window in windows:
            offsets = [self._offsets.popleft() for _ in range(window.until - window.first)]
            known = learned.expectations_id if learned else None
            for found in window.findings:
                is_new = (found.check, found.subject) not in self._alarming
                one = _Pending(found, known, self._began_at, offsets[0], offsets[-1] + 1, is_new)
                self._pending.append(one)
            alarms = (found for found in window.findings if found.severity == "ALARM")
            self._alarming = frozenset((found.check, found.subject) for found in alarms)
            self._began_at = end

    # ---- what is told ------------------------------------------------------------------------------------------

    def ready(self, position: int) -> bool:
        """Whether something can be told when the events below this offset are decided and written."""
        return any(one.until_event_offset <= position for one in self._pending)

    def take(self, position: int, end: int, now_ms: int) -> list[OutRecord]:
        """The records of all that can be told; ``end`` is the end of the samples log. They are not given again."""
        ready = [one for one in self._pending if one.until_event_offset <= position]
        self._pending = [one for one in self._pending if one.until_event_offset > position]
        return [record for one in ready for record in self._records(self._event(one, end, now_ms), one.is_new)]

    def _event(self, one: _Pending, end: int, now_ms: int) -> DataQualityJudged:
        project, found = self._context.project, one.finding
        place = f"{project.stream}/{self._number}/{one.until_event_offset}"
        covers = one.until_event_offset > one.from_event_offset
        vetoes = project.data.quality.veto and covers and found.severity == "ALARM" and found.check not in HARMLESS
        return DataQualityJudged(
            judgement_id=f"quality/{place}/{found.check}/{found.subject}",
            stream=project.stream,
            model=project.model,
            partition=self._number,
            check=found.check,
            subject=found.subject,
            severity=found.severity,
            from_offset=one.from_offset,
            until_offset=end if covers else one.from_offset,
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

    def _records(self, judged: DataQualityJudged, is_new: bool) -> list[OutRecord]:  # noqa: FBT001  # a field of what is told
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
