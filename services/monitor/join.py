"""The join: each label finds the prediction that it is the truth about, by event id.

Rules, each of them by order in the samples log and not by time, so that a replay does the same:

- A prediction waits until ``horizon_rows`` newer ones have come; then it is forgotten (FIFO). That bounds the memory.
- The first label of an event counts. Another one within the horizon is a duplicate.
- A label before its event, for an event that no model answered, or past the horizon, is unknown.
- The first prediction of an event id counts. Another one within the horizon is a repeat and is left out.
"""

from dataclasses import dataclass

import numpy as np

from services.monitor.frames import Floats, Ints, Rows

SLICE_ROWS = 4096  # a frame is taken in slices, so that the ring needs only this much more room than the horizon
WAITING, DONE = 0, 1


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

    ``rows`` is the place of each label in its frame; ``offsets`` is the label's, ``times_ms`` the event's.
    """

    rows: Ints
    offsets: Ints
    event_ids: list[str]
    times_ms: Ints
    versions: Ints
    values: Floats
    labels: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.event_ids)


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
        self._times = np.empty(size, np.int64)
        self._versions = np.empty(size, np.int64)
        self._values = np.empty(size)
        self._scores = np.empty((size, classes))

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
            times_ms=self._times[places],
            versions=self._versions[places],
            values=self._values[places],
            labels=rows.labels[found] if found else np.empty(0),
            scores=self._scores[places],
        )

    def _store(self, rows: Rows, events: Ints) -> None:
        """Write the columns of the slice's predictions into the ring; the index makes them known one by one."""
        places = (self._seen + np.arange(len(events))) % self._size
        self._times[places] = rows.times_ms[events]
        self._versions[places] = rows.versions[events]
        self._values[places] = rows.values[events]
        shared = min(rows.scores.shape[1], self._scores.shape[1])
        self._scores[places] = np.nan
        self._scores[places, :shared] = rows.scores[events, :shared]

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
    return Joined(
        rows=np.concatenate([part.rows for part in parts]),
        offsets=np.concatenate([part.offsets for part in parts]),
        event_ids=[event_id for part in parts for event_id in part.event_ids],
        times_ms=np.concatenate([part.times_ms for part in parts]),
        versions=np.concatenate([part.versions for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
    )
