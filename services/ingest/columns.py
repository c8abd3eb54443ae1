"""The checks of ``admit.py`` for a whole batch by the column. Pure.

They find which records *may* be at fault; ``admit.py`` then judges those one by one and says what is wrong with them.
So a check here may suspect a good record, which costs time, and must never pass a bad one. A property test holds both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.columnar import Columnar
from millrace.contracts.project import Project
from millrace.expectations.columns import EXACT, Columns, Mask, Plan
from millrace.expectations.learned import LearnedRules
from millrace.features.inputs import Inputs
from services.ingest.admit import EARLIEST_MS, LATEST_MS, LONGEST_ID


@dataclass(frozen=True, slots=True)
class Judged:
    """Events by the column; ``values`` has shape (events, inputs). What stands in the rows of ``suspects`` is void."""

    event_id: list[str]
    entity: list[str]
    time_ms: list[int]
    values: NDArray[np.float64]
    suspects: list[int]


class EventColumns:
    """How events of one project are judged by the column. ``inputs`` are what features look at."""

    def __init__(self, project: Project, inputs: Inputs, largest_bytes: int) -> None:
        self._project = project
        self._inputs = inputs
        self._largest_bytes = largest_bytes
        self._learned: LearnedRules | None = None
        self._plan = Plan.of(project.expectations, project.feature_fields)

    def can_read(self, columnar: Columnar) -> bool:
        """Whether ids are strings or whole numbers, and every field that matters is a plain number or text, or null."""
        event, arrow = self._project.event, columnar.arrow
        numbers = {event.time, *self._plan.numbers}
        texts = {*self._plan.texts, *(name for _, name, kind in self._project.feature_needs if kind == "text")}
        return (
            all(_is_text(arrow.field(name).type) for name in (event.id, event.entity))
            and all(_is_number(arrow.field(name).type) for name in numbers)
            and all(pa.types.is_string(arrow.field(name).type) for name in texts)
        )

    def judge(
        self,
        batch: Any,
        sizes: Sequence[int],
        received_ms: Sequence[int] | None = None,
        learned: LearnedRules | None = None,
    ) -> Judged:
        """Judge a ``pyarrow.RecordBatch`` of events.

        Their records have these sizes in bytes, and the broker got them at these times. A row that may break any rule,
        whether it would be rejected or flagged, is a suspect.
        """
        if learned is not self._learned:
            self._plan = Plan.of(self._project.expectations, self._project.feature_fields, learned)
            self._learned = learned
        fields, columns = self._project.event, Columns(batch)
        event_id, entity = _text(batch.column(fields.id)), _text(batch.column(fields.entity))
        suspect = _bad_name(event_id) | _bad_name(entity) | (np.asarray(sizes) > self._largest_bytes)
        time_ms, bad_time = self._times(batch.column(fields.time))
        received = None if received_ms is None else np.asarray(received_ms, np.int64)
        suspect |= bad_time | self._plan.suspects(columns, time_ms, received)
        return Judged(
            event_id.to_pylist(),
            entity.to_pylist(),
            time_ms.tolist(),
            self._inputs.columns(batch),
            np.flatnonzero(suspect).tolist(),
        )

    def _times(self, column: Any) -> tuple[NDArray[np.int64], Mask]:
        """The times in milliseconds, rounded as Python rounds: half to even."""
        if pa.types.is_integer(column.type) and self._project.time_to_ms == 1:
            times = pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(np.int64)
            bad = _nulls(column)
        else:
            exact = _floats(column)
            bad = ~(np.abs(exact) <= EXACT)
            times = np.rint(np.where(bad, 0.0, exact) * self._project.time_to_ms)
            bad |= np.abs(times) > EXACT
            times = np.where(bad, 0.0, times).astype(np.int64)
        return times, bad | (times < EARLIEST_MS) | (times > LATEST_MS)


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _text(column: Any) -> Any:
    return column if pa.types.is_string(column.type) else column.cast(pa.utf8())


def _nulls(column: Any) -> Mask:
    nulls: Mask = column.is_null().to_numpy(zero_copy_only=False)
    return nulls


def _bad_name(column: Any) -> Mask:
    """Missing, empty or too long."""
    lengths = pc.fill_null(pc.utf8_length(column), 0).to_numpy(zero_copy_only=False)
    bad: Mask = (lengths == 0) | (lengths > LONGEST_ID)
    return bad


def _floats(column: Any) -> NDArray[np.float64]:
    """As float64, NaN where null."""
    floats: NDArray[np.float64] = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats
