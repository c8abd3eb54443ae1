"""One frame of observations as the monitor works on it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contracts.errors import UndecodableError
from millrace.contracts.events import ObservationsRecorded, VariantScored
from millrace.contracts.frames import decode_frame, feature_names, score_names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one partition in samples order. ``millrace/contracts/frames.py`` says what each column means.

    ``epoch``, ``champion``, ``rollout_id``, ``variants`` and ``until_offset`` are the frame's: it lies within one
    epoch. ``champion`` is 0 in frames of older writers. ``other_versions`` is 0, and what stands beside it NaN, where
    no second version scored the event; ``other_scores`` has no column where nobody scored any of them.
    """

    offsets: Ints
    is_label: npt.NDArray[np.bool_]
    event_ids: list[str]
    times_ms: Ints
    versions: npt.NDArray[np.int32]
    values: Floats
    labels: Floats
    scores: Floats
    other_versions: npt.NDArray[np.int32]
    other_values: Floats
    other_scores: Floats
    features: Mapping[str, Floats]
    epoch: int
    champion: int
    rollout_id: str | None
    variants: tuple[VariantScored, ...]
    until_offset: int

    def __len__(self) -> int:
        return len(self.event_ids)

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """Which rows are events that a version answered with a number."""
        return ~self.is_label & (self.versions > 0) & np.isfinite(self.values)

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which rows are events for which some version has a number, whether it answered or not."""
        return self.answered | (~self.is_label & (self.other_versions > 0) & np.isfinite(self.other_values))

    def cut(self, begin: int, end: int) -> "Rows":
        """The rows from ``begin`` up to ``end``. What the variants did goes with the frame's first row."""
        if begin == 0 and end == len(self):
            return self
        columns = {field.name: getattr(self, field.name)[begin:end] for field in fields(self) if field.name in COLUMNS}
        return replace(
            self,
            **columns,
            features={name: values[begin:end] for name, values in self.features.items()},
            variants=self.variants if begin == 0 else (),
            until_offset=self.until_offset if end == len(self) else int(self.offsets[end]),
        )

    def between(self, begin_offset: int, end_offset: int) -> "Rows":
        """The rows whose place in the samples log lies between the two, the second not included."""
        begin, end = np.searchsorted(self.offsets, [begin_offset, end_offset]).tolist()
        return self.cut(begin, end)


COLUMNS = frozenset({
    "offsets", "is_label", "event_ids", "times_ms", "versions", "values", "labels", "scores", "other_versions",
    "other_values", "other_scores",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class SavePoint:
    """The state of a partition as of a row.

    Attributes:
        until_sample_offset: first offset of the samples log that is not in it.
        join_from_sample: the oldest prediction that is remembered has this offset there.
        whole: whether it is the end of a frame, so that no row of that frame is left.
        content: of everything but the predictions that wait for labels: numbers, texts, lists and dicts of them.
    """

    until_sample_offset: int
    join_from_sample: int
    whole: bool
    content: dict[str, Any]


def read_rows(observed: ObservationsRecorded) -> Rows:
    """The rows of the frame.

    Raises:
        UndecodableError: it is no frame, or has not the rows that the event announces.
    """
    columns: dict[str, Any] = decode_frame(observed.frame)
    rows = len(columns["event_id"])
    if rows != observed.rows:
        raise UndecodableError(f"the frame has {rows} rows, the event says {observed.rows}")
    return Rows(
        offsets=columns["offset"],
        is_label=columns["is_label"],
        event_ids=columns["event_id"],
        times_ms=columns["time_ms"],
        versions=columns["version"],
        values=columns["value"],
        labels=columns["label"],
        scores=_scores(columns, ""),
        other_versions=columns.get("other_version", np.zeros(rows, np.int32)),
        other_values=columns.get("other_value", np.full(rows, np.nan)),
        other_scores=_scores(columns, "other_"),
        features={name: columns[name] for name in feature_names(columns)},
        epoch=observed.epoch,
        champion=observed.champion_version,
        rollout_id=observed.rollout_id,
        variants=observed.variants,
        until_offset=observed.until_offset,
    )


def _scores(columns: Mapping[str, Any], prefix: str) -> Floats:
    """The score columns side by side, by class."""
    scores = [columns[name] for name in score_names(columns, prefix)]
    return np.column_stack(scores) if scores else np.empty((len(columns["event_id"]), 0))
