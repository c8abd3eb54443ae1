"""All that is computed from one partition's observations: a function of their order, whatever the timing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from services.monitor.detect import Adwin, Change, Detector
from services.monitor.frames import Ints, Rows
from services.monitor.join import Counts, Join, Joined
from services.monitor.measure import Measured, Prequential, errors
from services.monitor.policy import ErrorWatch, Policy
from services.monitor.rollout import RolloutFinding, RolloutWatch

ERROR = "error"
NOBODY = 0  # stands for the champion where it did not score the event


@dataclass(frozen=True, slots=True)
class Drift:
    """A change that counts, with its evidence and its place. ``since_time_ms`` is known for errors only."""

    version: int
    subject: str
    detector: str
    severity: Literal["WARNING", "ALARM"]
    offset: int
    event_id: str
    time_ms: int
    change: Change
    parameters: Mapping[str, float]
    since_time_ms: int | None = None


Finding = Drift | Measured | RolloutFinding


class FeatureWatch:
    """One feature over all events, whatever version answers them; a change in either direction counts.

    Changes within ``cool_down_rows`` events of the last one that counted are dropped; the detector has begun anew.
    """

    def __init__(self, policy: Policy) -> None:
        self.detector: Detector = Adwin(**policy.features)  # type: ignore[arg-type]  # counts are ints in the project
        self._cool_down = policy.cool_down_rows
        self._events = 0
        self._quiet_until = 0

    def take(self, values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[tuple[int, Change]]:
        """Take the feature of the next events. Returns the changes that count, with their place in ``values``."""
        counted = []
        for place, change in self.detector.feed(values):
            number = self._events + place
            if number >= self._quiet_until:
                self._quiet_until = number + self._cool_down
                counted.append((place, change))
        self._events += len(values)
        return counted


class Watch:
    """The state of one partition. Equal logs give equal states, however they are cut into frames.

    Drift is judged on the champion's answers, published or not: during a rollout other versions answer some events, and
    theirs are no change of the world. Where the champion did not score an event, nothing is said about its error.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._join = Join(policy.horizon_rows, policy.classes)
        self._prequential = Prequential(policy.task, policy.metrics_window_rows)
        self._error = ErrorWatch(policy)
        self._features: dict[str, FeatureWatch] = {}
        self._rollout = RolloutWatch(policy.task, policy.gate_metric, policy.evidence_rows, policy.guard_rows)
        self._serving = 0

    @property
    def counts(self) -> Counts:
        """What became of labels and predictions."""
        return self._join.counts

    @property
    def waiting(self) -> int:
        """Predictions that are remembered for their labels."""
        return self._join.waiting

    def take(self, rows: Rows) -> list[Finding]:
        """Take the next frame. Returns what it showed, in samples order."""
        serving = self._serving_at(rows)
        joined = self._join.take(rows)
        drifts = self._feature_drifts(rows, serving) + self._error_drifts(joined, serving)
        findings: list[Finding] = [*drifts, *self._prequential.take(joined), *self._rollout.take(rows, joined)]
        return sorted(findings, key=lambda finding: finding.offset)  # stable: features, error, metrics, rollout

    def _serving_at(self, rows: Rows) -> Ints:
        """For each row the champion; in a frame that does not name it, the version that answered the newest event."""
        if rows.champion:
            serving = np.full(len(rows), rows.champion, np.int64)
        else:
            newest = np.maximum.accumulate(np.where(rows.answered, np.arange(len(rows)), -1))
            serving = np.where(newest >= 0, rows.versions[newest], self._serving).astype(np.int64)
        if len(rows):
            self._serving = int(serving[-1])
        return serving

    def _feature_drifts(self, rows: Rows, serving: Ints) -> list[Drift]:
        events = np.flatnonzero(~rows.is_label)
        drifts = []
        for name, values in rows.features.items():
            watch = self._features.setdefault(name, FeatureWatch(self._policy))
            for place, change in watch.take(values[events]):
                row = int(events[place])
                drifts.append(
                    Drift(
                        version=int(serving[row]),
                        subject=f"feature:{name}",
                        detector=watch.detector.name,
                        severity="WARNING",
                        offset=int(rows.offsets[row]),
                        event_id=rows.event_ids[row],
                        time_ms=int(rows.times_ms[row]),
                        change=change,
                        parameters=watch.detector.parameters,
                    )
                )
        return drifts

    def _error_drifts(self, joined: Joined, serving: Ints) -> list[Drift]:
        values = joined.champion_values()
        columns = zip(
            errors(self._policy.task, values, joined.labels).tolist(),
            np.where(np.isfinite(values), joined.champions, NOBODY).tolist(),
            serving[joined.rows].tolist(),
            joined.times_ms.tolist(),
            strict=True,
        )
        drifts = []
        for place, (error, version, serves, time_ms) in enumerate(columns):
            alarm = self._error.update(error, version, serves, time_ms)
            if alarm is not None:
                drifts.append(
                    Drift(
                        version=version,
                        subject=ERROR,
                        detector=alarm.detector,
                        severity="ALARM",
                        offset=int(joined.offsets[place]),
                        event_id=joined.event_ids[place],
                        time_ms=time_ms,
                        change=alarm.change,
                        parameters=alarm.parameters,
                        since_time_ms=alarm.since_time_ms,
                    )
                )
        return drifts
