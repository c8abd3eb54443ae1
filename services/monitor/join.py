"""The join: each label finds the prediction that it is the truth about, by event id.

Rules, each of them by order in the samples log and not by time, so that a replay does the same:

- A prediction waits until ``horizon_rows`` newer ones have come; then it is forgotten (FIFO). That bounds the memory.
- The first label of an event counts. Another one within the horizon is a duplicate if it says the same, else it
  corrects: it takes the place of the one before in what is measured, and nowhere else. Detectors, and the evidence
  about a rollout, are not taken back to what they did not know; what a correction moves there is seen in later rows.
- A label before its event, for an event that no version scored, or past the horizon, is unknown.
- The first prediction of an event id counts. Another one within the horizon is a repeat and is left out.

Where two versions scored an event, what both said waits together: one prediction here is one event.

Work is by the column. Only where an event id comes again, or two labels of one event in the same slice, rows are looked
at one by one; both ways do the same.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import repeat
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from services.monitor.frames import Floats, Ints, Rows
from services.monitor.joined import Counts, Joined, columns_of, concatenate
from services.monitor.slices import Slicer

__all__ = ["Counts", "Join", "Joined"]

SLICE_ROWS = 4096  # a frame is taken in slices, so that the ring needs only this much more room than the horizon
MARK_ROWS = 512  # between predictions whose numbers are saved
WAITING, DONE, REPEAT = 0, 1, 2
NOBODY = -1
WHOLE = ("offsets", "times_ms", "epochs", "champions", "versions", "other_versions")  # columns of whole numbers
OF_ROWS = ("offsets", "times_ms", "versions", "values", "other_versions", "other_values")  # columns taken as they are


class Join:
    """The predictions of one partition that wait for their labels.

    Args:
        horizon_rows: newer predictions after which one is forgotten.
        classes: number of scores of a prediction; 0 if it has none.
        slicer: says which parts an event is in; none without it.
    """

    def __init__(self, horizon_rows: int, classes: int, slicer: Slicer | None = None) -> None:
        self.counts = Counts()
        self._horizon = horizon_rows
        self._slicer = slicer or Slicer()
        self._size = size = horizon_rows + SLICE_ROWS
        self._seen = 0  # predictions so far; the n-th has its place n % size in the ring
        self._first = 0  # number of the first one that was ever remembered here
        self._forgotten_until = 0
        self._marks: list[
            tuple[int, int]
        ] = []  # number and offset of some saved predictions, until they are read again
        self._index: dict[str, int] = {}
        self._ids = [""] * size
        self._states = np.zeros(size, np.int8)
        self._labels = np.empty(size)
        self._scratch = np.empty(size, np.int64)
        self._known_repeats: frozenset[int] = frozenset()  # among the predictions that are read again
        self._known_until = 0
        self._columns: dict[str, npt.NDArray[Any]] = {
            **{name: np.empty(size, np.int64) for name in WHOLE},
            **{name: np.empty(size) for name in ("values", "other_values")},
            **{name: np.empty((size, classes)) for name in ("scores", "other_scores")},
            "codes": np.empty((size, len(self._slicer.slices)), np.int32),
        }

    @property
    def waiting(self) -> int:
        """Predictions that are remembered, labelled or not."""
        return len(self._index)

    @property
    def oldest_offset(self) -> int | None:
        """Samples offset of the oldest prediction within the horizon; None if there is none."""
        return int(self._columns["offsets"][self._begin % self._size]) if self._seen > self._begin else None

    @property
    def _begin(self) -> int:
        """Number of the oldest prediction that is remembered."""
        return max(self._first, self._seen - self._horizon)

    def take(self, rows: Rows) -> Joined:
        """Remember the frame's predictions and return those that its labels complete."""
        self._marks = []
        return self._take(rows)

    def _take(self, rows: Rows) -> Joined:
        return concatenate(
            [self._take_slice(rows, lo, min(lo + SLICE_ROWS, len(rows))) for lo in range(0, len(rows) or 1, SLICE_ROWS)]
        )

    def remember(self, rows: Rows) -> None:
        """Take in again what was taken before the state was saved: nothing is counted or returned.

        Where the rows begin later than the saved predictions do, because older ones are no longer in the log, those
        are given up, and some of the next ones with them, up to a place whose number is known.
        """
        offsets = rows.offsets[rows.scored]
        if self._marks and len(offsets):
            marks = [mark for mark in self._marks if mark[1] >= offsets[0]]
            if not marks or marks[0][1] > offsets[-1]:
                return
            self._begin_at(marks[0][0])
            rows = rows.between(marks[0][1], int(rows.offsets[-1]) + 1)
        counts, self.counts = self.counts, Counts()
        self._take(rows)
        self.counts = counts

    def saved(self) -> dict[str, Any]:
        """Counts, and what it takes to read the predictions again: their numbers at some offsets, and the repeats."""
        numbers = np.arange(self._begin, self._seen)
        repeats = numbers[self._states[numbers % self._size] == REPEAT]
        marked = numbers[::MARK_ROWS]
        marks = zip(marked.tolist(), self._columns["offsets"][marked % self._size].tolist(), strict=True)
        return {
            "counts": asdict(self.counts),
            "seen": self._seen,
            "marks": [list(mark) for mark in marks],
            "repeats": repeats.tolist(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Begin where the saved one did; the rows from there on are to be given to ``remember``.

        A join that is there already, because it is the one that was saved, keeps its predictions.
        """
        self.counts = Counts(**saved["counts"])
        if self._seen == saved["seen"]:
            return
        self._begin_at(saved["seen"])
        self._marks = [(number, offset) for number, offset in saved["marks"]]
        self._known_repeats = frozenset(saved["repeats"])
        self._known_until = max(self._known_repeats, default=-1) + 1
        self._index.clear()
        self._states[:] = DONE

    def _begin_at(self, number: int) -> None:
        """The next prediction has this number, and no older one is remembered."""
        self._seen = self._first = self._forgotten_until = number
        self._marks = []

    def _take_slice(self, rows: Rows, lo: int, hi: int) -> Joined:
        events = lo + np.flatnonzero(rows.scored[lo:hi])
        labels = lo + np.flatnonzero(rows.is_label[lo:hi])
        event_ids, label_ids = _picked(rows.event_ids, events), _picked(rows.event_ids, labels)
        self._store(rows, events, event_ids)
        usable = np.isfinite(rows.labels[labels])
        self.counts.unusable += int((~usable).sum())
        new = dict(zip(event_ids, range(self._seen, self._seen + len(event_ids)), strict=True))
        if self._all_new(event_ids, new):
            numbers = self._find(label_ids, self._seen + np.searchsorted(events, labels), new)
        else:
            numbers = self._find_one_by_one(label_ids, labels, event_ids, events)
        self.counts.unknown += int((usable & (numbers == NOBODY)).sum())
        found = np.flatnonzero(usable & (numbers != NOBODY))
        first, corrected = self._settle(numbers[found], rows.labels[labels[found]])
        self._forget()
        joined = self._joined(rows, labels[found[first]], numbers[found[first]])
        if not len(corrected):
            return joined
        corrections = self._joined(rows, labels[found[corrected]], numbers[found[corrected]])
        return Joined(**{**columns_of(joined), "corrections": corrections})

    def _store(self, rows: Rows, events: Ints, ids: Sequence[str]) -> None:
        """Write the columns of the slice's predictions into the ring; the index makes them known."""
        places = (self._seen + np.arange(len(events))) % self._size
        columns = self._columns
        for name in OF_ROWS:
            columns[name][places] = getattr(rows, name)[events]
        columns["epochs"][places] = rows.epoch
        columns["champions"][places] = rows.champion or rows.versions[events]
        for name in ("scores", "other_scores"):
            given = getattr(rows, name)
            shared = min(given.shape[1], columns[name].shape[1])
            columns[name][places] = np.nan
            columns[name][places, :shared] = given[events, :shared]
        if self._slicer.slices:
            columns["codes"][places] = self._slicer.codes(rows)[events]
        self._states[places] = WAITING
        at = self._seen % self._size
        self._ids[at : at + len(ids)] = ids[: self._size - at]
        if at + len(ids) > self._size:
            self._ids[: at + len(ids) - self._size] = ids[self._size - at :]

    def _all_new(self, event_ids: Sequence[str], new: Mapping[str, int]) -> bool:
        """Whether none of the slice's predictions may be a repeat."""
        numbers = range(self._seen, self._seen + len(event_ids))
        if self._seen < self._known_until and not self._known_repeats.isdisjoint(numbers):
            return False
        return len(new) == len(event_ids) and self._index.keys().isdisjoint(new)

    def _find(self, label_ids: Sequence[str], seen: Ints, new: Mapping[str, int]) -> Ints:
        """The number of each label's prediction, when ``seen`` predictions had come before the label."""
        self._index.update(new)
        self._seen += len(new)
        numbers = np.fromiter(map(self._index.get, label_ids, repeat(NOBODY)), np.int64, len(label_ids))
        return np.where((numbers < seen) & (numbers >= seen - self._horizon), numbers, NOBODY)

    def _find_one_by_one(self, label_ids: Sequence[str], labels: Ints, event_ids: Sequence[str], events: Ints) -> Ints:
        """The same where an id may come again: what it means depends on what is forgotten by then."""
        numbers = np.full(len(labels), NOBODY, np.int64)
        marks = [*((row, place, True) for place, row in enumerate(labels.tolist()))]
        marks += [(row, place, False) for place, row in enumerate(events.tolist())]
        for _, place, is_label in sorted(marks):
            if is_label:
                numbers[place] = self._index.get(label_ids[place], NOBODY)
                continue
            number, self._seen = self._seen, self._seen + 1
            if number >= self._horizon:
                gone = self._ids[(number - self._horizon) % self._size]
                if self._index.get(gone) == number - self._horizon:
                    del self._index[gone]
            if number in self._known_repeats or self._index.setdefault(event_ids[place], number) != number:
                self._states[number % self._size] = REPEAT
                self.counts.repeated += 1
        return numbers

    def _settle(self, numbers: Ints, values: Floats) -> tuple[Ints, Ints]:
        """Which of these labels are the first ones of their events, and which correct another."""
        places = numbers % self._size
        if self._differ(places):
            is_first = self._states[places] == WAITING
            is_other = ~is_first & (self._labels[places] != values)
            self._labels[places] = values
            self._states[places] = DONE
        else:
            is_first, is_other = np.zeros(len(numbers), bool), np.zeros(len(numbers), bool)
            for row, (place, value) in enumerate(zip(places.tolist(), values.tolist(), strict=True)):
                is_first[row] = self._states[place] == WAITING
                is_other[row] = not is_first[row] and self._labels[place] != value
                self._labels[place], self._states[place] = value, DONE
        first, corrected = np.flatnonzero(is_first), np.flatnonzero(is_other)
        self.counts.joined += len(first)
        self.counts.corrected += len(corrected)
        self.counts.duplicate += len(numbers) - len(first) - len(corrected)
        return first, corrected

    def _differ(self, places: Ints) -> bool:
        """Whether no place comes twice: then each still holds the number that was written to it."""
        own = np.arange(len(places))
        self._scratch[places] = own
        return bool((self._scratch[places] == own).all())

    def _forget(self) -> None:
        """Let go of what has passed the horizon since the last slice."""
        begin = self._forgotten_until
        gone = np.arange(begin, self._begin)
        if not len(gone):
            return
        places = gone % self._size
        states = self._states[places]
        self.counts.forgotten_unlabelled += int((states == WAITING).sum())
        self.counts.forgotten += int((states != REPEAT).sum())
        ids = _picked(self._ids, places)
        numbers = np.fromiter(map(self._index.get, ids, repeat(NOBODY)), np.int64, len(ids))
        deque(map(self._index.pop, _picked(ids, np.flatnonzero(numbers == gone))), maxlen=0)
        self._forgotten_until = self._begin

    def _joined(self, rows: Rows, labels: Ints, numbers: Ints) -> Joined:
        places = numbers % self._size
        columns: dict[str, Any] = {name: column[places] for name, column in self._columns.items() if name != "offsets"}
        return Joined(
            rows=labels,
            offsets=np.asarray(rows.offsets[labels], np.int64),
            event_ids=_picked(rows.event_ids, labels),
            labels=np.asarray(rows.labels[labels], np.float64),
            numbers=numbers,
            **columns,
        )


def _picked(ids: Sequence[str], places: Ints) -> list[str]:
    """The ids at these places."""
    if len(places) <= 1:  # for one place ``itemgetter`` gives no tuple
        return [ids[place] for place in places.tolist()]
    return list(itemgetter(*places.tolist())(ids))
