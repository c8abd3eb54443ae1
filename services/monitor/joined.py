"""Labelled predictions, by the column, and what is counted on the way to them."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from services.monitor.frames import Floats, Ints
from services.monitor.slices import Codes


@dataclass(slots=True)
class Counts:
    """What became of labels and predictions since the monitor's state began.

    ``forgotten`` are predictions past the horizon, ``forgotten_unlabelled`` those of them that no label had come for.
    """

    joined: int = 0
    duplicate: int = 0
    unknown: int = 0
    unusable: int = 0
    repeated: int = 0
    forgotten_unlabelled: int = 0
    corrected: int = 0
    forgotten: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """Labelled predictions in the order of their labels.

    ``rows`` is the place of each label in its frame; ``offsets`` is the label's, ``times_ms`` the event's. ``epochs``
    and ``champions`` are those under which the event was scored; in frames of older writers, which name no champion,
    whoever answered is taken for it. ``other_versions`` is 0 where no second version scored the event. ``numbers`` are
    the predictions', counted from the partition's first; ``codes`` has for each declared slice the part that the event
    is in. ``corrections`` are second labels that say something else than the ones before.
    """

    rows: Ints
    offsets: Ints
    event_ids: list[str]
    times_ms: Ints
    epochs: Ints
    champions: Ints
    versions: Ints
    values: Floats
    labels: Floats
    scores: Floats
    other_versions: Ints
    other_values: Floats
    other_scores: Floats
    numbers: Ints
    codes: Codes
    corrections: "Joined | None" = None

    def __len__(self) -> int:
        return len(self.event_ids)

    def champion_values(self) -> Floats:
        """What the champion said to each event, answered by it or not; NaN where it did not score it."""
        other = np.where(self.other_versions == self.champions, self.other_values, np.nan)
        return np.where(self.versions == self.champions, self.values, other)

    def said_by(self, version: int) -> tuple[Ints, Floats, Floats]:
        """Which events the version scored with a number, answered by it or not, and its values and scores there."""
        answered = (self.versions == version) & np.isfinite(self.values)
        beside = (self.other_versions == version) & np.isfinite(self.other_values)
        own = np.flatnonzero(answered | beside)
        first = answered[own]
        return (
            own,
            np.where(first, self.values[own], self.other_values[own]),
            np.where(first[:, None], self.scores[own], self.other_scores[own]),
        )


def columns_of(joined: Joined) -> dict[str, Any]:
    """By name, without the corrections."""
    return {field.name: getattr(joined, field.name) for field in fields(Joined) if field.name != "corrections"}


def concatenate(parts: list[Joined]) -> Joined:
    """One after the other."""
    if len(parts) == 1:
        return parts[0]
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in columns_of(parts[0])
        if name != "event_ids"
    }
    corrections = [part.corrections for part in parts if part.corrections is not None]
    return Joined(
        event_ids=[event_id for part in parts for event_id in part.event_ids],
        corrections=concatenate(corrections) if corrections else None,
        **columns,
    )
