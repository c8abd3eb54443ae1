"""The rows of one window, gathered chunk by chunk in bounded memory. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.expectations import NUMBER_TYPES, TEXT_TYPES, plain_types
from millrace.contracts.project import Project
from millrace.data_report.sample import ROWS_MAX, chosen, rate_of
from millrace.data_report.source import raw_names

Floats = NDArray[np.float64]
FieldKind = Literal["NUMBER", "TEXT", "PERSONAL"]
TEXTS_MAX = 2_000  # different texts of a field that are counted; with more it is no category
LONGEST_TEXT = 100  # characters, as in millrace/expectations/learn.py
FLAGS_MAX = 200  # kinds
MILLISECONDS = pa.timestamp("ms", tz="UTC")


def fields_of(project: Project) -> dict[str, FieldKind]:
    """The fields of the event that a report describes: all numbers and texts but the event's id, entity and time."""
    skip = {project.event.id, project.event.entity, project.event.time}
    personal = project.personal_fields
    found: dict[str, FieldKind] = {}
    for name, kind in plain_types(project.event_schema).items():
        if name in skip or kind not in NUMBER_TYPES | TEXT_TYPES:
            continue
        found[name] = "PERSONAL" if name in personal else "NUMBER" if kind in NUMBER_TYPES else "TEXT"
    return found


class Gathered:
    """A window of events.

    ``rows`` counts events, ``missing`` the rows in which a field or feature is null or NaN: of all rows. ``offsets``,
    ``times_ms``, ``fields`` and ``features`` are of the sample. ``texts`` counts all rows; None is a field with too
    many different ones. ``flags`` are the flags with their count, first and last offset.

    Parameters:
        span: how many offsets the window has in all; decides which share of its rows is in the sample.
        fields: what is described, by its kind.
        features: names, in the order of ``feature_set``; none are gathered of rows of another set.
        trained: take only what a run trains on: events of the feature set without flags.
        most: rows of the sample.
    """

    def __init__(
        self,
        span: int,
        fields: Mapping[str, FieldKind],
        features: Sequence[str],
        feature_set: str,
        *,
        trained: bool = False,
        most: int = ROWS_MAX,
    ) -> None:
        self._kinds = dict(fields)
        self._names = tuple(features)
        self._feature_set = feature_set
        self._trained = trained
        self._rate = rate_of(span, most)
        self.rows = self.feature_rows = 0
        self.missing: Counter[str] = Counter()
        self.feature_missing: NDArray[np.int64] = np.zeros(len(self._names), np.int64)
        self.texts: dict[str, Counter[str] | None] = {
            name: Counter() for name, kind in self._kinds.items() if kind == "TEXT"
        }
        self.flags: dict[str, list[int]] = {}
        self.sources: dict[str, tuple[int, int]] = {}
        self._offsets: list[NDArray[np.int64]] = []
        self._times: list[NDArray[np.int64]] = []
        self._numbers: dict[str, list[Floats]] = {name: [] for name, kind in self._kinds.items() if kind == "NUMBER"}
        self._features: list[Floats] = []

    # ---- taking in -----------------------------------------------------------------------------------------------

    def add(self, table: Any, partition: int, excluded: Sequence[tuple[int, int]] = ()) -> None:
        """Take in samples of one partition; events between ``excluded`` (half-open) offsets are left out."""
        self._note_sources(table)
        events = table.filter(self._wanted(table, excluded))
        if not events.num_rows:
            return
        self.rows += events.num_rows
        self._note_flags(events)
        offsets = events.column("offset").to_numpy()
        take = chosen(partition, offsets, self._rate)
        self._offsets.append(offsets[take])
        self._times.append(events.column("time").cast(MILLISECONDS).cast(pa.int64()).to_numpy()[take])
        for name, kind in self._kinds.items():
            column = _column(events, name, kind)
            if kind == "NUMBER":
                values = column.to_numpy()
                self.missing[name] += int(np.isnan(values).sum())
                self._numbers[name].append(values[take])
            else:
                self.missing[name] += column.null_count
                self._count_texts(name, column)
        self._add_features(events, take)

    def _wanted(self, table: Any, excluded: Sequence[tuple[int, int]]) -> Any:
        wanted = pc.equal(table.column("kind"), "EVENT")
        if self._trained:
            wanted = pc.and_(wanted, pc.equal(pc.fill_null(table.column("flags"), ""), ""))
            wanted = pc.and_(wanted, pc.equal(table.column("feature_set"), self._feature_set))
        offsets = table.column("offset")
        for low, high in excluded:
            inside = pc.and_(pc.greater_equal(offsets, low), pc.less(offsets, high))
            wanted = pc.and_(wanted, pc.invert(inside))
        return wanted

    def _note_sources(self, table: Any) -> None:
        """Which records of each input topic these samples came from."""
        grouped = table.group_by("source_topic").aggregate([("source_offset", "min"), ("source_offset", "max")])
        for row in grouped.to_pylist():
            low, high = self.sources.get(row["source_topic"], (row["source_offset_min"], row["source_offset_max"]))
            self.sources[row["source_topic"]] = (
                min(low, row["source_offset_min"]), max(high, row["source_offset_max"]),
            )  # fmt: skip

    def _note_flags(self, events: Any) -> None:
        flagged = events.filter(pc.not_equal(pc.fill_null(events.column("flags"), ""), "")).select(["offset", "flags"])
        for row in flagged.to_pylist():
            for flag in row["flags"].split(","):
                if flag not in self.flags and len(self.flags) >= FLAGS_MAX:
                    continue
                seen = self.flags.setdefault(flag, [0, row["offset"], row["offset"]])
                seen[0] += 1
                seen[2] = row["offset"]

    def _count_texts(self, name: str, column: Any) -> None:
        counted = self.texts.get(name)
        if counted is None:  # personal, or given up
            return
        present = column.drop_null()
        if len(present) and pc.max(pc.utf8_length(present)).as_py() > LONGEST_TEXT:
            self.texts[name] = None
            return
        for each in pc.value_counts(present).to_pylist():
            counted[each["values"]] += each["counts"]
        if len(counted) > TEXTS_MAX:
            self.texts[name] = None

    def _add_features(self, events: Any, take: NDArray[np.bool_]) -> None:
        width = len(self._names)
        if not width:
            return
        ours = pc.equal(events.column("feature_set"), self._feature_set).to_numpy()
        lists = events.column("features").combine_chunks()
        flat = np.full((events.num_rows, width), np.nan)
        own = lists.filter(pa.array(ours))
        values = own.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
        if len(values) != len(own) * width:
            return  # recorded by a definition that hashes alike and is not: cannot be, and is not worth a crash
        flat[ours] = values.reshape(-1, width)
        self.feature_rows += int(ours.sum())
        self.feature_missing += np.isnan(flat[ours]).sum(axis=0)
        self._features.append(flat[take])

    # ---- what was gathered -----------------------------------------------------------------------------------------

    @property
    def offsets(self) -> NDArray[np.int64]:
        """Of the sample, in their order."""
        return np.concatenate([np.empty(0, np.int64), *self._offsets])

    @property
    def times_ms(self) -> NDArray[np.int64]:
        """Event times of the sample."""
        return np.concatenate([np.empty(0, np.int64), *self._times])

    @property
    def has_features(self) -> bool:
        """Whether there are rows of the feature set."""
        return bool(self._names) and self.feature_rows > 0

    def has(self, *names: str) -> bool:
        """Whether all of these are fields with numbers."""
        return all(name in self._numbers for name in names)

    def numbers(self, name: str) -> Floats:
        """A field of the sample; NaN where it is missing."""
        return np.concatenate([np.empty(0), *self._numbers.get(name, [])])

    def feature(self, name: str) -> Floats:
        """A feature of the sample; NaN where it is missing, or the row is of another feature set."""
        place = self._names.index(name)
        return np.concatenate([np.empty(0), *(each[:, place] for each in self._features)])

    def missing_feature(self, name: str) -> int:
        """In how many of ``feature_rows`` it is missing."""
        return int(self.feature_missing[self._names.index(name)])


def _column(events: Any, field: str, kind: FieldKind) -> Any:
    """The field's values, whatever types it came with; null where none of its columns has one."""
    wanted = pa.float64() if kind == "NUMBER" else pa.string()
    found = [events.column(name) for name in raw_names(events.column_names, field)]
    fitting = [pc.cast(one, wanted, safe=False) for one in found if _fits(one.type, kind)]
    if not fitting:
        return pa.chunked_array([pa.nulls(events.num_rows, wanted)])
    return pc.coalesce(*fitting)


def _fits(found: Any, kind: FieldKind) -> bool:
    if kind == "NUMBER":
        return bool(pa.types.is_floating(found) or pa.types.is_integer(found) or pa.types.is_boolean(found))
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found))
