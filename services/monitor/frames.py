"""One frame of observations as the monitor works on it."""

from collections.abc import Mapping
from dataclasses import dataclass
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
