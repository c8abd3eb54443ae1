"""Whether labels are late: only then may an estimate ask for a retrain."""

from dataclasses import dataclass, replace

from services.monitor.frames import Ints
from services.monitor.policy import Policy

LATE_DELAYS = 2.0  # labels are late when they are so many times their normal delay behind


@dataclass(frozen=True, slots=True)
class Lateness:
    """How far labels are behind events.

    They are late at an event if both hold, by the events and labels before it in the samples log:

    - in *event time*: the newest event that has a label is more than twice ``label.delay_s`` older than the newest
      event (before the first label: the first event is);
    - in *rows*: at least ``warm_up_rows`` of the newest events are younger than it, so that the error's own detector
      lacks as many rows as it would need to begin. No more of them are looked at than are kept.

    So a stream whose labels come in their declared time is never late, however long that is.

    Attributes:
        delay_ms: how old the newest label's event may be.
        rows: how many younger ones it may have.
        newest_ms: event time of the newest event; 0 before the first.
        labelled_ms: that of the newest one with a label; of the first one as long as none has.
    """

    delay_ms: float
    rows: int
    newest_ms: int = 0
    labelled_ms: int | None = None

    @classmethod
    def of(cls, policy: Policy) -> "Lateness":
        """Before the first event."""
        return cls(LATE_DELAYS * policy.label_delay_ms, policy.warm_up_rows)

    def after(self, times_ms: Ints, labelled_ms: Ints) -> "Lateness":
        """After events of these times, and labels of events of those times."""
        newest, labelled = self.newest_ms, self.labelled_ms
        if len(times_ms):
            newest = max(newest, int(times_ms.max()))
            labelled = int(times_ms[0]) if labelled is None else labelled
        if len(labelled_ms) and labelled is not None:
            labelled = max(labelled, int(labelled_ms.max()))
        return replace(self, newest_ms=newest, labelled_ms=labelled)

    def late(self, newest_times_ms: Ints, kept: int) -> bool:
        """Whether they are late, the newest events having these times, of which at most ``kept`` are known."""
        if self.labelled_ms is None:
            return False
        younger = int((newest_times_ms > self.labelled_ms).sum())
        return self.newest_ms - self.labelled_ms > self.delay_ms and younger >= min(self.rows, kept)

    def saved(self) -> list[int | None]:
        """Both times."""
        return [self.newest_ms, self.labelled_ms]

    def restored(self, saved: list[int | None]) -> "Lateness":
        """As it was when that was saved."""
        return replace(self, newest_ms=saved[0] or 0, labelled_ms=saved[1])
