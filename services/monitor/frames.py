"""One frame of observations as the monitor works on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contracts.errors import UndecodableError
from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.frames import decode_frame, feature_names, score_names

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one partition in samples order. ``millrace/contracts/frames.py`` says what each column means."""

    offsets: Ints
    is_label: npt.NDArray[np.bool_]
    event_ids: list[str]
    times_ms: Ints
    versions: npt.NDArray[np.int32]
    values: Floats
    labels: Floats
    scores: Floats
    features: Mapping[str, Floats]

    def __len__(self) -> int:
        return len(self.event_ids)

    @property
    def scored(self) -> npt.NDArray[np.bool_]:
        """Which rows are events that a version answered with a number."""
        return ~self.is_label & (self.versions > 0) & np.isfinite(self.values)


def read_rows(observed: ObservationsRecorded) -> Rows:
    """The rows of the frame.

    Raises:
        UndecodableError: it is no frame, or has not the rows that the event announces.
    """
    columns: dict[str, Any] = decode_frame(observed.frame)
    rows = len(columns["event_id"])
    if rows != observed.rows:
        raise UndecodableError(f"the frame has {rows} rows, the event says {observed.rows}")
    scores = [columns[name] for name in score_names(columns)]
    return Rows(
        offsets=columns["offset"],
        is_label=columns["is_label"],
        event_ids=columns["event_id"],
        times_ms=columns["time_ms"],
        versions=columns["version"],
        values=columns["value"],
        labels=columns["label"],
        scores=np.column_stack(scores) if scores else np.empty((rows, 0)),
        features={name: columns[name] for name in feature_names(columns)},
    )
