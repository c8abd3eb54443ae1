"""Windows of arriving events, cut and judged as they come. The comparisons are in ``expectations/window.py``.

A window is complete after ``data.quality.window_rows`` records, however they were cut into batches, and is compared
with what serves at that moment. Every record counts, also one that was refused or cannot be read: so windows stand for
places in the events log. What a record does not tell is left out of the shares. A window that is not complete when the
process ends is not judged.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from millrace.contracts.events import ExpectationsLearned
from millrace.contracts.expectations import NUMBER_TYPES, TEXT_TYPES, plain_types
from millrace.contracts.project import Project
from millrace.contracts.schemas import JsonSchema
from millrace.expectations.window import FieldWindow, Finding, Window, judge, too_many_missing
from services.ingest.skew import skew
from services.ingest.window_fields import Columns, joined, rows_window, times_ms

NOTHING_DECLARED: Mapping[str, float] = {}


@dataclass(frozen=True, slots=True)
class WindowJudged:
    """A complete window: records ``first`` to ``until`` (exclusive), ``rows`` of them readable."""

    first: int
    until: int
    rows: int
    findings: tuple[Finding, ...]


class QualityWatch:
    """The windows of one partition.

    Parameters:
        project: its events' schema and its ``data.quality``.
        null_shares: what the owner declared: field -> share of events in which it may be missing.
        first: number of the first record, such as its offset; it only numbers the windows.
    """

    def __init__(
        self, project: Project, *, null_shares: Mapping[str, float] = NOTHING_DECLARED, first: int = 0
    ) -> None:
        self._policy = project.data.quality
        self._reader = project.event_schema
        self._null_shares = null_shares
        self._time, self._time_to_ms = project.event.time, project.time_to_ms
        self._volume_share = 1 / project.partitions
        self._hidden = project.personal_fields
        kinds = plain_types(project.event_schema)
        names = {project.event.id, project.event.entity, project.event.time}
        self._texts = [name for name, kind in kinds.items() if kind in TEXT_TYPES and name not in names]
        self._numbers = [name for name, kind in kinds.items() if kind in NUMBER_TYPES and name not in names]
        unknown = sorted(null_shares.keys() - {*self._texts, *self._numbers})
        if unknown:
            raise ValueError(f"a null share is declared of {unknown}, which are no fields with numbers or texts")
        self._keep = [*self._texts, *self._numbers, self._time]
        self._seen_schemas: set[int] = set()
        self._begin(first)

    def _begin(self, first: int) -> None:
        self._first = first
        self._batches: list[Any] = []
        self._rows: list[Mapping[str, Any]] = []
        self._unreadable = 0
        self._left = self._policy.window_rows

    # ---- what arrives ------------------------------------------------------------------------------------------

    def see(self, batch: Any, learned: ExpectationsLearned | None) -> list[WindowJudged]:
        """Take in a ``pyarrow.RecordBatch`` of decoded events; returns the windows that it completes."""
        if not batch.num_rows:
            return []
        kept = pa.RecordBatch.from_arrays([batch.column(name) for name in self._keep], names=self._keep)
        if kept.num_rows < self._left:
            self._batches.append(kept)
            self._left -= kept.num_rows
            return []
        together = pa.concat_batches([*self._batches, kept]) if self._batches else kept
        columns = self._columns(together, learned)
        judged, start, stop = [], 0, together.num_rows - kept.num_rows + self._left
        while stop <= together.num_rows:
            judged.append(self._judge(columns, start, stop, learned))
            self._begin(self._first + self._policy.window_rows)
            start, stop = stop, stop + self._left
        if start < together.num_rows:
            self._batches = [together.slice(start)]
            self._left -= together.num_rows - start
        return judged

    def see_row(self, values: Mapping[str, Any], learned: ExpectationsLearned | None) -> list[WindowJudged]:
        """The same for one event that was decoded by itself."""
        self._rows.append({name: values.get(name) for name in self._keep})
        return self._one_more(learned)

    def see_unreadable(self, learned: ExpectationsLearned | None) -> list[WindowJudged]:
        """The same for one record that could not be decoded: it counts, and tells nothing."""
        self._unreadable += 1
        return self._one_more(learned)

    def see_schema(self, schema_id: int, writer_schema: JsonSchema, used: AbstractSet[str]) -> list[Finding]:
        """Compare the schema that events are written with to the project's. Nothing from the second time on."""
        if schema_id in self._seen_schemas:
            return []
        self._seen_schemas.add(schema_id)
        return skew(self._reader, writer_schema, used)

    # ---- judging -----------------------------------------------------------------------------------------------

    def _one_more(self, learned: ExpectationsLearned | None) -> list[WindowJudged]:
        self._left -= 1
        if self._left:
            return []
        together = pa.concat_batches(self._batches) if self._batches else None
        columns = None if together is None else self._columns(together, learned)
        judged = self._judge(columns, 0, 0 if together is None else together.num_rows, learned)
        self._begin(self._first + self._policy.window_rows)
        return [judged]

    def _columns(self, batch: Any, learned: ExpectationsLearned | None) -> Columns:
        return Columns(batch, *self._fields(learned), self._time, self._time_to_ms)

    def _fields(self, learned: ExpectationsLearned | None) -> tuple[list[str], list[str]]:
        """The fields with numbers, and those with texts, that something is known of."""
        expected = {each.name: each.kind for each in learned.fields} if learned else {}
        numbers = [name for name in self._numbers if expected.get(name) == "NUMBER" or name in self._null_shares]
        texts = [name for name in self._texts if expected.get(name) == "TEXT" or name in self._null_shares]
        return numbers, texts

    def _judge(
        self, columns: Columns | None, start: int, stop: int, learned: ExpectationsLearned | None
    ) -> WindowJudged:
        """Judge the events from ``start`` to ``stop`` of the columns, together with the single ones."""
        fields: dict[str, FieldWindow] = {}
        times = np.empty(0)
        if columns is not None:
            fields, times = columns.window(start, stop), columns.times_ms(start, stop)
        if self._rows or columns is None:
            single = rows_window(self._rows, *self._fields(learned))
            fields = {name: joined(fields[name], each) if name in fields else each for name, each in single.items()}
            at = [np.nan if row[self._time] is None else row[self._time] for row in self._rows]
            single_times, bad = times_ms(np.array(at, np.float64), self._time_to_ms)
            times = np.concatenate([times, single_times[~bad]])
        for name in self._hidden & fields.keys():  # what persons are called is compared with nothing, and never told
            fields[name] = FieldWindow(fields[name].missing)
        rows = self._policy.window_rows - self._unreadable
        declared = [too_many_missing(name, fields[name], rows, most) for name, most in self._null_shares.items()]
        findings = [one for one in declared if one is not None]
        if learned is not None:
            window = Window(rows, fields, times)
            findings += judge(window, learned, self._policy.false_alarms, volume_share=self._volume_share)
        return WindowJudged(self._first, self._first + self._policy.window_rows, rows, tuple(findings))
