"""The join: each label finds the prediction that it is the truth about, by event id.

Rules, each of them by order in the samples log and not by time, so that a replay does the same:

- A prediction waits until ``horizon_rows`` newer ones have come; then it is forgotten (FIFO). That bounds the memory.
- The first label of an event counts. Another one within the horizon is a duplicate.
- A label before its event, for an event that no version scored, or past the horizon, is unknown.
- The first prediction of an event id counts. Another one within the horizon is a repeat and is left out.

Where two versions scored an event, what both said waits together: one prediction here is one event.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from services.monitor.frames import Floats, Ints, Rows

SLICE_ROWS = 4096  # a frame is taken in slices, so that the ring needs only this much more room than the horizon
WAITING, DONE = 0, 1
WHOLE = ("times_ms", "epochs", "champions", "versions", "other_versions")  # columns of whole numbers


@dataclass(slots=True)
class Counts:
    """What became of labels and predictions since the monitor's state began."""

    joined: int = 0
    duplicate: int = 0
    unknown: int = 0
    unusable: int = 0
    repeated: int = 0
    forgotten_unlabelled: int = 0


@dataclass(frozen=True, slots=True)
class Joined:
    """Labelled predictions in the order of their labels.

    ``rows`` is the place of each label in its frame; ``offsets`` is the label's, ``times_ms`` the event's. ``epochs``
    and ``champions`` are those under which the event was scored; in frames of older writers, which name no champion,
    whoever answered is taken for it. ``other_versions`` is 0 where no second version scored the event.
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


class Join:
    """The predictions of one partition that wait for their labels.

    Args:
        horizon_rows: newer predictions after which one is forgotten.
        classes: number of scores of a prediction; 0 if it has none.
    """

    def __init__(self, horizon_rows: int, classes: int) -> None:
        self.counts = Counts()
        self._horizon = horizon_rows
        self._size = size = horizon_rows + SLICE_ROWS
        self._seen = 0  # predictions so far; the n-th has its place n % size in the ring
        self._index: dict[str, int] = {}
        self._ids = [""] * size
        self._done = bytearray(size)
        self._columns: dict[str, npt.NDArray[Any]] = {
            **{name: np.empty(size, np.int64) for name in WHOLE},
            **{name: np.empty(size) for name in ("values", "other_values")},
            **{name: np.empty((size, classes)) for name in ("scores", "other_scores")},
        }

    @property
    def waiting(self) -> int:
        """Predictions that are remembered, labelled or not."""
        return len(self._index)

    def take(self, rows: Rows) -> Joined:
        """Remember the frame's predictions and return those that its labels complete."""
        return _concatenate(
            [self._take_slice(rows, lo, min(lo + SLICE_ROWS, len(rows))) for lo in range(0, len(rows) or 1, SLICE_ROWS)]
        )

    def _take_slice(self, rows: Rows, lo: int, hi: int) -> Joined:
        scored = rows.scored[lo:hi]
        self._store(rows, lo + np.flatnonzero(scored))
        found, places = [], []
        marks = zip(range(lo, hi), rows.event_ids[lo:hi], rows.is_label[lo:hi].tolist(), scored.tolist(), strict=True)
        usable = np.isfinite(rows.labels)
        for row, event_id, is_label, is_scored in marks:
            if is_label:
                number = self._label(event_id, usable=bool(usable[row]))
                if number is not None:
                    found.append(row)
                    places.append(number % self._size)
            elif is_scored:
                self._prediction(event_id)
        return Joined(
            rows=np.array(found, np.int64),
            offsets=rows.offsets[found] if found else np.empty(0, np.int64),
            event_ids=[rows.event_ids[row] for row in found],
            labels=rows.labels[found] if found else np.empty(0),
            **{name: column[places] for name, column in self._columns.items()},
        )

    def _store(self, rows: Rows, events: Ints) -> None:
        """Write the columns of the slice's predictions into the ring; the index makes them known one by one."""
        places = (self._seen + np.arange(len(events))) % self._size
        columns = self._columns
        for name in ("times_ms", "versions", "values", "other_versions", "other_values"):
            columns[name][places] = getattr(rows, name)[events]
        columns["epochs"][places] = rows.epoch
        columns["champions"][places] = rows.champion or rows.versions[events]
        for name in ("scores", "other_scores"):
            given = getattr(rows, name)
            shared = min(given.shape[1], columns[name].shape[1])
            columns[name][places] = np.nan
            columns[name][places, :shared] = given[events, :shared]

    def _prediction(self, event_id: str) -> None:
        number, self._seen = self._seen, self._seen + 1
        if number >= self._horizon:
            self._forget(number - self._horizon)
        place = number % self._size
        self._ids[place] = event_id
        if self._index.setdefault(event_id, number) == number:
            self._done[place] = WAITING
        else:
            self._done[place] = DONE
            self.counts.repeated += 1

    def _forget(self, number: int) -> None:
        place = number % self._size
        event_id = self._ids[place]
        if self._index.get(event_id) == number:
            del self._index[event_id]
        if self._done[place] == WAITING:
            self.counts.forgotten_unlabelled += 1

    def _label(self, event_id: str, *, usable: bool) -> int | None:
        number = self._index.get(event_id)
        if not usable:
            self.counts.unusable += 1
        elif number is None:
            self.counts.unknown += 1
        elif self._done[number % self._size] == DONE:
            self.counts.duplicate += 1
        else:
            self._done[number % self._size] = DONE
            self.counts.joined += 1
            return number
        return None


def _concatenate(parts: list[Joined]) -> Joined:
    if len(parts) == 1:
        return parts[0]
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(Joined)
        if field.name != "event_ids"
    }
    return Joined(event_ids=[event_id for part in parts for event_id in part.event_ids], **columns)
