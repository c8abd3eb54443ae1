"""Which rows a model is trained on, found from the end of the samples log backwards.

A *row* is an EVENT of the current feature set that is followed, inside the range, by its LABEL. Rules:

- The log is read backwards in chunks, from the marks or the end, until there are enough rows. A running index would
  be quicker to ask, but it has to decode every sample as it arrives, for ever, and to be rebuilt at each start, for
  the sake of a run every few hours; a window of 5,000 rows is two or three chunks.
- Across partitions rows are ordered by *(t, partition, offset)*, where *t* is the earliest event time at or after the
  row in its own partition. In a partition that is the order of the log; between partitions it is event time. So the
  newest *n* rows are the end of each partition, the offset ranges name them exactly, and reading the ranges again
  gives the same rows in the same order. One event dated long ago makes the rows before it in its partition look as
  old as itself, so that those of other partitions are preferred.
- An event without a label is no row. Nor is one whose label lies at or after the mark.
- Nor is an event that carries flags, or one in a part of the log that was vetoed: what broke an expectation, or came
  in a window that was found bad, is never trained on.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from millrace.contracts.events import OffsetRange
from services.trainer.train.task import Rows

REACH = 40  # offsets read back for each row wanted; past it rows are too rare to be called the newest
RECORDS_PER_ROW = 2.5  # event, label, and some markers and events that still wait
CHUNK_MIN = 1000


class Row(NamedTuple):
    """One labelled event. The first three fields are its place in the order; ``event`` is its bytes as recorded."""

    time_ms: int
    partition: int
    offset: int
    features: Sequence[float]
    label: float
    event: bytes | None = None


class Window(NamedTuple):
    """Rows in order, oldest first, and the ranges that hold exactly these."""

    ranges: tuple[OffsetRange, ...]
    rows: tuple[Row, ...]

    @property
    def sha256(self) -> str:
        """Of features (float64) and labels, row after row: equal for equal rows in equal order, and only for these."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(np.array([*row.features, row.label], dtype="<f8").tobytes())
        return digest.hexdigest()


class Tail:
    """The end of one partition, growing backwards from ``until``; nothing below ``begin`` exists any more.

    ``excluded`` are half-open ranges of offsets whose events are no rows.
    """

    def __init__(
        self, partition: int, begin: int, until: int, feature_set: str, excluded: Sequence[tuple[int, int]] = ()
    ) -> None:
        self.partition = partition
        self.until = until
        self.read_from = until
        self.rows: list[Row] = []  # newest first
        self.frontier: float = float("inf")  # no row that is not read yet has a later time
        self._begin = begin
        self._feature_set = feature_set
        self._excluded = tuple(excluded)
        self._labels: dict[str, float] = {}  # of events that are not read yet

    def next_chunk(self, rows: int, partitions: int) -> tuple[int, int] | None:
        """The offsets to be read next, for a window of so many rows over so many partitions; None at the end."""
        lowest = max(self._begin, self.until - REACH * rows)
        if self.read_from <= lowest:
            return None
        size = max(CHUNK_MIN, int(RECORDS_PER_ROW * rows / partitions))
        return max(lowest, self.read_from - size), self.read_from

    def extend(self, start: int, samples: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Take in the records from ``start`` up to what was read before, as (offset, record) in offset order."""
        excluded = [(low, high) for low, high in self._excluded if low < self.read_from and start < high]
        for offset, sample in reversed(list(samples)):
            if sample["kind"] == "LABEL":
                self._labels.setdefault(sample["event_id"], sample["label"])  # the newest truth is met first
                continue
            label = self._labels.pop(sample["event_id"], None)
            if sample["feature_set"] != self._feature_set:
                continue
            self.frontier = min(self.frontier, sample["time_ms"])
            if label is None or sample.get("flags") or any(low <= offset < high for low, high in excluded):
                continue
            self.rows.append(
                Row(int(self.frontier), self.partition, offset, sample["features"], label, sample.get("event"))
            )
        self.read_from = start


def next_tail(tails: Sequence[Tail], rows: int) -> Tail | None:
    """The tail that has to be read further back before the newest ``rows`` rows are known; None when they are."""
    found = sorted((row.time_ms for tail in tails for row in tail.rows), reverse=True)
    oldest = found[rows - 1] if len(found) >= rows else -float("inf")
    unread = [
        tail
        for tail in tails
        if len(tail.rows) < rows and tail.frontier >= oldest and tail.next_chunk(rows, len(tails))
    ]
    return max(unread, key=lambda tail: tail.frontier, default=None)


def choose(topic: str, tails: Sequence[Tail], rows: int | None) -> Window:
    """The newest ``rows`` rows of what was read (all for None), and their ranges."""
    ordered = sorted((row for tail in tails for row in tail.rows), key=lambda row: row[:3])
    chosen = ordered if rows is None else ordered[max(0, len(ordered) - rows) :]
    first = {row.partition: row.offset for row in reversed(chosen)}
    ranges = tuple(
        OffsetRange(topic=topic, partition=tail.partition, from_offset=first[tail.partition], until_offset=tail.until)
        for tail in sorted(tails, key=lambda tail: tail.partition)
        if tail.partition in first
    )
    return Window(ranges, tuple(chosen))


def split(rows: Sequence[Row], holdout_rows: int) -> tuple[Rows, Rows]:
    """Training rows, and the newest ``holdout_rows`` that are held out."""
    cut = len(rows) - holdout_rows
    return _arrays(rows[:cut]), _arrays(rows[cut:])


def _arrays(rows: Sequence[Row]) -> Rows:
    x = np.array([row.features for row in rows], dtype=np.float32)
    return Rows(x, np.array([row.label for row in rows], dtype=np.float64))
