"""What the events of a window hold, field by field: counted by the column, or from single events. Pure.

Columns are made numbers once for as many events as there are, and a window is a slice of them: what a window costs does
not grow with the number of batches, and hardly with the number of fields.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from millrace.expectations.window import FieldWindow
from services.ingest.admit import EARLIEST_MS, LATEST_MS

Floats = NDArray[np.float64]


class Columns:
    """Events by the column, as a ``pyarrow.RecordBatch``; ``numbers`` and ``texts`` are the fields to look at."""

    def __init__(self, batch: Any, numbers: Sequence[str], texts: Sequence[str], time: str, time_to_ms: float) -> None:
        self._numbers = numbers
        self._values = np.stack([floats(batch.column(name)) for name in numbers]) if numbers else np.empty((0, 0))
        self._missing = np.isnan(self._values)
        self._texts = {name: _coded(batch.column(name)) for name in texts}
        self._times_ms, self._bad_time = times_ms(floats(batch.column(time)), time_to_ms)
        self._all_good = not self._bad_time.any()

    def times_ms(self, start: int, stop: int) -> Floats:
        """The times of the events from ``start`` to ``stop``, without those that are none."""
        times = self._times_ms[start:stop]
        return times if self._all_good else times[~self._bad_time[start:stop]]

    def window(self, start: int, stop: int) -> dict[str, FieldWindow]:
        """Count the events from ``start`` to ``stop``."""
        fields: dict[str, FieldWindow] = {}
        if self._numbers:
            values, missing = self._values[:, start:stop], self._missing[:, start:stop].sum(axis=1).tolist()
            low, high = np.fmin.reduce(values, axis=1).tolist(), np.fmax.reduce(values, axis=1).tolist()
            for place, name in enumerate(self._numbers):
                seen = missing[place] < stop - start
                fields[name] = (
                    FieldWindow(missing[place], low[place], high[place]) if seen else FieldWindow(stop - start)
                )
        for name, (codes, texts) in self._texts.items():
            missing_texts, *counts = np.bincount(codes[start:stop], minlength=len(texts) + 1).tolist()
            seen_texts = {text: count for text, count in zip(texts, counts, strict=True) if count}
            fields[name] = FieldWindow(missing_texts, categories=seen_texts)
        return fields


def rows_window(
    rows: Sequence[Mapping[str, Any]], numbers: Sequence[str], texts: Sequence[str]
) -> dict[str, FieldWindow]:
    """The same for single events."""
    fields: dict[str, FieldWindow] = {}
    for name in numbers:
        values = [float(value) for row in rows if (value := row[name]) is not None and value == value]  # noqa: PLR0124
        missing = len(rows) - len(values)
        fields[name] = FieldWindow(missing, min(values), max(values)) if values else FieldWindow(missing)
    for name in texts:
        counts = Counter(row[name] for row in rows)
        fields[name] = FieldWindow(counts.pop(None, 0), categories=dict(counts))
    return fields


def joined(first: FieldWindow, second: FieldWindow) -> FieldWindow:
    """Two parts of one window."""
    return FieldWindow(
        first.missing + second.missing,
        min((low for low in (first.low, second.low) if low is not None), default=None),
        max((high for high in (first.high, second.high) if high is not None), default=None),
        Counter(first.categories) + Counter(second.categories),
    )


def times_ms(values: Floats, time_to_ms: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Event times in milliseconds, and which of them cannot be one."""
    times = values * time_to_ms
    return times, ~((times >= EARLIEST_MS) & (times <= LATEST_MS))


def floats(column: Any) -> Floats:
    """As float64, NaN where null."""
    column = column if pa.types.is_float64(column.type) else column.cast(pa.float64(), safe=False)
    values: Floats = column.to_numpy(zero_copy_only=False)
    return values


def _coded(column: Any) -> tuple[NDArray[np.int32], list[str]]:
    """Each text as its place among the texts, from 1 on; 0 where null."""
    coded = column.dictionary_encode()
    places = coded.indices.fill_null(-1) if column.null_count else coded.indices
    return places.to_numpy(zero_copy_only=False) + 1, coded.dictionary.to_pylist()
