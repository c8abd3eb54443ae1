"""All that is computed from one partition's observations: a function of their order, whatever the timing."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from services.monitor.drifts import Drifts
from services.monitor.evidence import ERROR, Drift, Uncompared
from services.monitor.frames import Ints, Rows, SavePoint
from services.monitor.join import Counts, Join
from services.monitor.measure import Measured, Prequential
from services.monitor.policy import Policy
from services.monitor.rollout import RolloutFinding, RolloutWatch
from services.monitor.slices import Profiles, Slicer

__all__ = ["ERROR", "Drift", "Finding", "Uncompared", "Watch"]

Finding = Drift | Measured | RolloutFinding | Uncompared


class Watch:
    """The state of one partition. Equal logs give equal states, however they are cut into frames.

    Drift is judged on the champion's answers, published or not: during a rollout other versions answer some events, and
    theirs are no change of the world. Where the champion did not score an event, nothing is said about its error.

    At each multiple of ``save_every_rows`` rows of the partition, wherever frames are cut, the state is saved and also
    restored from what was saved. A detector that remembers only its newest rows may know less after that; this way it
    does in a process that runs on as in one that was killed, so both go on equally.

    Args:
        policy: the numbers.
        profiles: the training profile of a version, if there is one.
    """

    def __init__(self, policy: Policy, profiles: Profiles = lambda _: None) -> None:
        self._policy = policy
        self._slicer = Slicer(policy.slices, profiles)
        self._join = Join(policy.horizon_rows, policy.classes, self._slicer)
        self._prequential = Prequential(
            policy.task, policy.metrics_window_rows, policy.classes, self._slicer, policy.calibration_bins
        )
        self._drifts = Drifts(policy, profiles, self._slicer)
        self._rollout = RolloutWatch(policy.task, policy.gate_metric, policy.evidence_rows, policy.guard_rows)
        self._serving = 0
        self._rows = 0
        self.save_point: SavePoint | None = None

    @property
    def counts(self) -> Counts:
        """What became of labels and predictions."""
        return self._join.counts

    @property
    def waiting(self) -> int:
        """Predictions that are remembered for their labels."""
        return self._join.waiting

    @property
    def newest_time_ms(self) -> int:
        """Event time of the newest event; 0 before the first."""
        return self._drifts.newest_time_ms

    def take(self, rows: Rows) -> list[Finding]:
        """Take the next frame. Returns what it showed, in samples order.

        ``save_point`` is afterwards the newest one within the frame, or None.
        """
        self.save_point = None
        findings: list[Finding] = []
        for begin, end, champion in self._parts(rows):
            self._serving = champion
            findings += self._take(rows.cut(begin, end), champion)
            self._rows += end - begin
            if end > begin and self._rows % self._policy.save_every_rows == 0:
                self._save(rows, end)
        return findings

    def remember(self, rows: Rows) -> None:
        """Take in predictions and labels from before a save point again, for the join only."""
        self._join.remember(rows)

    def _parts(self, rows: Rows) -> Iterator[tuple[int, int, int]]:
        """The frame, cut where a state is due to be saved and where the champion changes, with the champion."""
        serving = self._serving_at(rows)
        every = self._policy.save_every_rows
        save = range(every - self._rows % every, len(rows), every)
        changes = (np.flatnonzero(np.diff(serving)) + 1).tolist()
        ends = sorted({*save, *changes, len(rows)})
        begin = 0
        for end in ends:
            yield begin, end, int(serving[begin]) if end > begin else self._serving
            begin = end

    def _serving_at(self, rows: Rows) -> Ints:
        """For each row the champion; in a frame that does not name it, the version that answered the newest event."""
        if rows.champion:
            serving = np.full(len(rows), rows.champion, np.int64)
        else:
            newest = np.maximum.accumulate(np.where(rows.answered, np.arange(len(rows)), -1))
            serving = np.where(newest >= 0, rows.versions[newest], self._serving).astype(np.int64)
        return serving

    def _take(self, rows: Rows, champion: int) -> list[Finding]:
        """Take rows of one champion."""
        joined = self._join.take(rows)
        findings: list[Finding] = [
            *self._drifts.take(rows, joined, champion),
            *self._prequential.take(joined, rows),
            *self._rollout.take(rows, joined),
        ]
        return sorted(findings, key=lambda finding: finding.offset)  # stable: drifts, metrics, rollout

    def _save(self, rows: Rows, end: int) -> None:
        content = self.saved()
        self.restore(content)
        whole = end == len(rows)
        until = rows.until_offset if whole else int(rows.offsets[end])
        oldest = self._join.oldest_offset
        self.save_point = SavePoint(until, until if oldest is None else oldest, whole, content)

    def saved(self) -> dict[str, Any]:
        """All that it remembers but the predictions that wait for their labels, as plain data."""
        return {
            "rows": self._rows,
            "serving": self._serving,
            "slicer": self._slicer.saved(),
            "join": self._join.saved(),
            "prequential": self._prequential.saved(),
            "drifts": self._drifts.saved(),
            "rollout": self._rollout.saved(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved; :meth:`remember` gives the waiting predictions back."""
        self._rows, self._serving = saved["rows"], saved["serving"]
        self._slicer.restore(saved["slicer"])
        self._join.restore(saved["join"])
        self._prequential.restore(saved["prequential"])
        self._drifts.restore(saved["drifts"])
        self._rollout.restore(saved["rollout"])
