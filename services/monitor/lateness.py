"""Whether labels are late: only then may an estimate ask for a retrain."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from services.monitor.frames import Ints
from services.monitor.policy import Policy
from services.monitor.trail import packed, unpacked

LATE_DELAYS = 2.0  # labels are late when they are so many times their normal delay behind
KEPT = 500  # event times of the newest rows that are remembered, of events and of labels
WILD = 3  # events among them may be dated in the future, and move nothing
FIRST = 2 * WILD + 1  # events whose times say when the stream began
NO_TIMES: Ints = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Lateness:
    """How far labels are behind events.

    They are late at an event if both hold, by the events and labels before it in the samples log:

    - in *event time*: the newest event that has a label is more than twice ``label.delay_s`` older than the newest
      event (before the first label: the first event is);
    - in *rows*: at least ``warm_up_rows`` of the newest events are younger than it, so that the error's own detector
      lacks as many rows as it would need to begin. No more of them are looked at than are kept.

    So a stream whose labels come in their declared time is never late, however long that is, and however few events
    have one. An event that is dated a year ahead would stand for the newest one for a year: the newest event is the
    fourth newest of the last ``KEPT``, the newest one with a label is the newest of the last ``KEPT`` labels that is no
    newer than that, and the first event is the middle one of the first seven.

    Attributes:
        delay_ms: how old the newest label's event may be.
        rows: how many younger ones it may have.
        first_times_ms: of the first events, in samples order.
        times_ms: of the last events, likewise.
        labelled_times_ms: of the events of the last labels, likewise.
    """

    delay_ms: float
    rows: int
    first_times_ms: Ints = field(default_factory=lambda: NO_TIMES)
    times_ms: Ints = field(default_factory=lambda: NO_TIMES)
    labelled_times_ms: Ints = field(default_factory=lambda: NO_TIMES)

    @classmethod
    def of(cls, policy: Policy) -> "Lateness":
        """Before the first event."""
        return cls(LATE_DELAYS * policy.label_delay_ms, policy.warm_up_rows)

    @property
    def newest_ms(self) -> int:
        """Event time of the newest event; 0 before the first."""
        return _newest(self.times_ms) if len(self.times_ms) else 0

    @property
    def labelled_ms(self) -> int | None:
        """That of the newest one with a label; of the first one as long as none has; None before it."""
        known = self.labelled_times_ms[self.labelled_times_ms <= self.newest_ms]
        if len(known):
            return int(known.max())
        return int(np.sort(self.first_times_ms)[len(self.first_times_ms) // 2]) if len(self.first_times_ms) else None

    def after(self, times_ms: Ints, labelled_ms: Ints) -> "Lateness":
        """After events of these times, and labels of events of those times."""
        return replace(
            self,
            first_times_ms=np.concatenate([self.first_times_ms, times_ms[:FIRST]])[:FIRST],
            times_ms=np.concatenate([self.times_ms, times_ms[-KEPT:]])[-KEPT:],
            labelled_times_ms=np.concatenate([self.labelled_times_ms, labelled_ms[-KEPT:]])[-KEPT:],
        )

    def late(self, newest_times_ms: Ints, kept: int) -> bool:
        """Whether they are late, the newest events having these times, of which at most ``kept`` are known."""
        labelled_ms = self.labelled_ms
        if labelled_ms is None:
            return False
        younger = int((newest_times_ms > labelled_ms).sum())
        return self.newest_ms - labelled_ms > self.delay_ms and younger >= min(self.rows, kept)

    def saved(self) -> list[Any]:
        """All that it remembers, as plain data."""
        return [packed(self.first_times_ms), packed(self.times_ms), packed(self.labelled_times_ms)]

    def restored(self, saved: list[Any]) -> "Lateness":
        """As it was when that was saved."""
        first, times, labelled = (unpacked(each) for each in saved)
        return replace(self, first_times_ms=first, times_ms=times, labelled_times_ms=labelled)


def _newest(times_ms: Ints) -> int:
    """The newest time that does not stand alone.

    >>> _newest(np.array([7, 9, 8])), _newest(np.arange(100)), _newest(np.append(np.arange(100), 10**15))
    (8, 96, 97)
    """
    place = len(times_ms) - 1 - min(WILD, (len(times_ms) - 1) // 2)
    return int(np.partition(times_ms, place)[place])
