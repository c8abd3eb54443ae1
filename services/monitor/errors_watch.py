"""When a change of the champion's error counts.

Rows are counted, never time, so that the same log always gives the same decisions.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from millrace.contracts.profile import Profile
from services.monitor.detect import Change, Detector
from services.monitor.evidence import Picture, counted, picture, right_and_wrong
from services.monitor.frames import Floats, Ints
from services.monitor.losses import bound, bound_of
from services.monitor.policy import Policy
from services.monitor.trail import Trail

PERSISTING = "persisting"  # the detector's name in drift events that come from the rule, not from a detector
JUDGED_ROWS_MIN = 30  # rows in a mean before it is compared: a share of 0.1 has a standard error of 0.055 there
TRAIL_ROWS = 10_000  # newest rows that date a change; no detector looks for one further back
COLUMN = "error"

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ErrorAlarm:
    """The error of the champion is higher than it was, since this event time and samples offset."""

    detector: str
    change: Change
    parameters: Mapping[str, float]
    since_time_ms: int
    since_offset: int
    picture: Picture


@dataclass(frozen=True, slots=True)
class _Level:
    """What the error was before a drift: its mean, of how many rows, and their histogram."""

    mean: float
    rows: int
    bins: tuple[float, ...]
    counts: tuple[int, ...]


class ErrorWatch:
    """The error of the champion, row by row.

    1. A new champion begins with a detector of its own; what it scored before, as a candidate, is not looked at, nor
       are errors of earlier champions, whose labels come later. Such rows count only for the cool-down, as do events
       that the champion did not score.
    2. A change counts only if the error rose. It is an alarm if ``cool_down_rows`` labelled rows have passed since the
       last one, and ``warm_up_rows`` of this version.
    3. *Persisting*: an alarm leaves behind the level from before it. When cool-down and warm-up are over, the mean of
       the detector's rows is compared with that level, once. If it is higher by more than the margin, that is an
       alarm too, up to ``persisting_limit`` times; else the level is forgotten. So a retrain that was rejected, failed
       or did not help is followed by another. A rise too early for rule 2 leaves its level behind in the same way.
    4. Detectors of known false-alarm rate want losses between 0 and 1. The error of a class is 0 or 1. An absolute
       error of a regression is divided by the 99 % quantile of the champion's own errors on the hold-out rows of its
       training profile, and cut off at 1; without a profile, of the errors of its first ``warm_up_rows`` labelled rows,
       at least 30, which reach no detector. Means are reported in the unit of the label, as cut off; the parameter
       ``loss_bound`` says where. Histograms are of the errors as they are.

    Args:
        policy: the numbers.
        estimates: a detector for errors that are only expected: numbers between 0 and 1; rule 3 does not hold.
    """

    def __init__(self, policy: Policy, estimates: Detector | None = None) -> None:
        self._policy = policy
        self._margin = policy.persisting_margin if estimates is None else None
        self._shares = estimates is not None or policy.task == "classification"
        self._exact = estimates is None and self._shares  # errors are 0 or 1
        self._detector = estimates or policy.error_watcher()
        self._version = 0
        self._bound: float | None = None
        self._first: list[float] = []  # errors from which the bound will be taken
        self._rows_since_alarm = policy.cool_down_rows
        self._rows_of_version = 0
        self._level: _Level | None = None
        self._spoken = 0
        self._trail = Trail(TRAIL_ROWS)
        self.losses: Floats = np.empty(0)  # of the rows taken last, from 0 to 1; NaN where none was watched

    def begin(self, version: int, profile: Profile | None) -> None:
        """A version has become champion. The same one again is no new beginning."""
        if version == self._version:
            return
        self._version, self._rows_of_version, self._first = version, 0, []
        self._bound = 1.0 if self._shares else bound_of(profile)
        self._detector.reset()
        self._trail.clear()
        if not self._policy.persisting_new_version:
            self._level = None

    def take(self, errors: Floats, own: Bools, times_ms: Ints, offsets: Ints) -> list[tuple[int, ErrorAlarm]]:
        """Take the next labelled predictions.

        Args:
            errors: of the predictions.
            own: which of them the champion made as such; the others' errors are not looked at.
            times_ms: of the events.
            offsets: in the samples log, at which the errors became known.

        Returns:
            The alarms, each with the place of the row that showed it.
        """
        places = np.flatnonzero(own)
        raw = errors[places]
        self._trail.extend(offsets[places], times_ms[places], {COLUMN: raw})
        self.losses = np.full(len(errors), np.nan)
        alarms = []
        zero = -self._rows_since_alarm  # the place after the last alarm, counted from the first row of these
        before, at = self._rows_of_version, self._learn_bound(raw)
        losses = self._losses(raw[at:])
        self.losses[places[at:]] = losses
        losses = np.concatenate([raw[:at], losses])  # places as those of the rows
        while at < len(places):
            cool = int(np.searchsorted(places, self._policy.cool_down_rows + zero - 1))
            ready = max(at, cool, self._policy.warm_up_rows - before - 1)
            alarm, at = self._watch(losses, at, self._stretch(len(places), at, ready), ready)
            if alarm is not None:
                place = int(places[at - 1])
                alarms.append((place, alarm))
                zero = place + 1
        self._rows_since_alarm = len(errors) - zero
        self._rows_of_version = before + len(places)
        return alarms

    def _stretch(self, rows: int, at: int, ready: int) -> int:
        """Up to where the rows may be taken at once: the rule's judgment cannot fall within."""
        if at < ready:
            return min(ready, rows)
        return rows if self._level is None else at + 1

    def _watch(self, losses: Floats, begin: int, end: int, ready: int) -> tuple[ErrorAlarm | None, int]:
        """Take a stretch of the champion's own rows, up to an alarm. Returns it, if any, and what was taken."""
        judged = begin >= ready and self._level is not None
        for place, change in self._changes(losses[begin:end]):
            at = begin + place
            if not change.rose:
                continue
            judged = False
            if at >= ready:
                return self._rise(at, change), at + 1
            if self._level is None or change.before < self._level.mean:
                self._leave(at, change)
        return self._judge(begin) if judged else None, end

    def _losses(self, raw: Floats) -> Floats:
        """The errors as the detector takes them."""
        return raw if self._shares else np.minimum(raw / (self._bound or 1.0), 1.0)

    def _changes(self, losses: Floats) -> Iterator[tuple[int, Change]]:
        """The detector's changes, in the unit of the errors."""
        bound = self._bound or 1.0
        for at, each in self._detector.changes(losses):
            yield at, replace(each, before=each.before * bound, after=each.after * bound)

    def _rise(self, at: int, change: Change) -> ErrorAlarm:
        shown = self._leave(at, change)
        return self._alarm(self._detector.name, at, change, dict(self._detector.parameters), shown)

    def _leave(self, at: int, change: Change) -> Picture:
        """Leave the level before the change behind. Returns the change as two histograms."""
        shown = right_and_wrong(change) if self._exact else picture(*self._trail.parts(at, COLUMN, change))
        self._level, self._spoken = _Level(change.before, change.before_rows, shown.bins, shown.before_counts), 0
        return shown

    def _judge(self, at: int) -> ErrorAlarm | None:
        level, bound = self._level, self._bound or 1.0
        if self._detector.rows < JUDGED_ROWS_MIN:
            return None
        assert level is not None, "there is something to compare with"
        mean, limit = self._detector.mean * bound, self._policy.persisting_limit
        if self._margin is None or self._spoken >= limit or mean <= level.mean + self._margin:
            self._level = None
            return None
        self._spoken += 1
        change = Change(level.mean, mean, level.rows, self._detector.rows)
        parameters = {"margin": self._margin, "limit": limit, "spoken": self._spoken}
        return self._alarm(PERSISTING, at, change, parameters, self._still(at, level, change))

    def _still(self, at: int, level: _Level, change: Change) -> Picture:
        """The rows now, in the bins of those before the drift."""
        if self._exact:
            return right_and_wrong(change)
        _, after = self._trail.parts(at, COLUMN, change)
        if not level.bins:
            return Picture()
        inside = np.clip(after, level.bins[0], level.bins[-1])
        return Picture(level.bins, (), level.counts, counted(inside, level.bins))

    def _alarm(
        self, detector: str, at: int, change: Change, parameters: dict[str, float], shown: Picture
    ) -> ErrorAlarm:
        if not self._shares:
            parameters["loss_bound"] = self._bound or 1.0
        time_ms, offset = self._trail.since(at, COLUMN, change.after_rows)
        return ErrorAlarm(detector, change, parameters, time_ms, offset, shown)

    def _learn_bound(self, raw: Floats) -> int:
        """Take the rows from which the bound is taken, where it is not known. Returns how many they were."""
        if self._bound is not None:
            return 0
        needed = max(self._policy.warm_up_rows, JUDGED_ROWS_MIN)
        taken = raw[: needed - len(self._first)].tolist()
        self._first += taken
        if len(self._first) == needed:
            self._bound = bound(np.array(self._first))
            self._first = []
        return len(taken)

    def saved(self) -> dict[str, Any]:
        """All that it remembers, as plain data."""
        level = self._level
        return {
            "version": self._version,
            "bound": self._bound,
            "first": list(self._first),
            "rows_since_alarm": self._rows_since_alarm,
            "rows_of_version": self._rows_of_version,
            "level": level and [level.mean, level.rows, list(level.bins), list(level.counts)],
            "spoken": self._spoken,
            "detector": self._detector.saved(),
            "trail": self._trail.saved(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._version, self._bound, self._first = saved["version"], saved["bound"], list(saved["first"])
        self._rows_since_alarm, self._rows_of_version = saved["rows_since_alarm"], saved["rows_of_version"]
        level = saved["level"]
        self._level = level and _Level(level[0], level[1], tuple(level[2]), tuple(level[3]))
        self._spoken = saved["spoken"]
        self._detector.restore(saved["detector"])
        self._trail.restore(saved["trail"])
