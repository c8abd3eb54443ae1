"""From many detectors to one decision: what changed in one partition, and what of it asks for a retrain.

1. The alarm of the champion's error against the truth asks; ``policy.py`` says how often it may be false. It is
   ``confirmed_by`` labels, being itself the confirmation that the model suffers.
2. What else is found is a WARNING: features, ``monitors.watch``, windows against the training rows, and the expected
   error. Those about the same version since the change began stand beside an alarm as its evidence.
3. The expected error (``estimate.py``) asks, ``confirmed_by`` an estimate, only where ``decision.estimate`` says ask
   and labels are late (``lateness.py``).
4. An alarm looks whether an earlier champion's training rows look like the rows now (``recurrence.py``).

A new champion begins with a clean slate in all that depends on what it says: its own deployment raises nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from services.monitor.errors_watch import ErrorWatch
from services.monitor.estimate import EstimateWatch
from services.monitor.evidence import ERROR, ESTIMATED_ERROR, Drift, Recent, Uncompared
from services.monitor.findings import At, of_alarm, of_warning, of_window
from services.monitor.frames import Floats, Ints, Rows
from services.monitor.join import Joined
from services.monitor.lateness import Lateness
from services.monitor.measure import Measured, errors
from services.monitor.policy import Policy
from services.monitor.recurrence import ROWS as RECURRENCE_ROWS
from services.monitor.recurrence import ROWS_MIN as RECURRENCE_ROWS_MIN
from services.monitor.recurrence import recurrence
from services.monitor.slices import Codes, Profiles, Slicer
from services.monitor.trail import Trail
from services.monitor.watched import FEATURE, PREDICTION, SCORE, Watching, slice_column
from services.monitor.windows import WindowWatch

TRAIL_ROWS = 2_000  # newest rows that date a change and give its histograms: 16 kB a feature
EVIDENCE_MAX = 20  # drifts that stand beside an alarm, the newest
NOBODY = 0  # stands for the champion before there is one
SERVED_MAX = 64  # champions that may be offered back
LARGEST = 1e100  # larger numbers are not told apart, as in the evidence of rollouts


class Drifts:
    """All detectors of one partition.

    Args:
        policy: the numbers.
        profiles: the training profile of a version, if there is one.
        slicer: the parts of the rows.
    """

    def __init__(self, policy: Policy, profiles: Profiles, slicer: Slicer) -> None:
        self._policy = policy
        self._profiles = profiles
        self._slicer = slicer
        self._error = ErrorWatch(policy)
        estimates = policy.estimate != "off" and policy.task == "classification"
        self._estimate = EstimateWatch(policy) if estimates else None
        self._watching = Watching(policy)
        self._windows = None if policy.windows is None else WindowWatch(policy.windows, (), policy.task, policy.classes)
        self._lateness = Lateness.of(policy)
        self._events = Trail(TRAIL_ROWS)
        self._labels = Trail(TRAIL_ROWS)
        self._recent = Recent(EVIDENCE_MAX)
        self._champion = 0
        self._served: list[int] = []
        self._wanted = {watched.on for watched in policy.watch}

    @property
    def newest_time_ms(self) -> int:
        """Event time of the newest event."""
        return self._lateness.newest_ms

    def take(self, rows: Rows, joined: Joined, champion: int) -> list[Drift | Measured | Uncompared]:
        """Take rows of one champion, and what their labels complete. Returns what they showed, in samples order."""
        said = self._begin(rows, champion)
        rows = replace(rows, features={name: _bounded(column) for name, column in rows.features.items()})
        events = np.flatnonzero(~rows.is_label)
        values, scores = _said(rows, champion)
        values, scores = _bounded(values), _bounded(scores)
        drifts = self._input_drifts(rows, events, values, scores)
        drifts += self._window_drifts(rows, values, scores)
        estimated, measured = self._estimates(rows, events, joined, values, scores)
        drifts += estimated + self._error_drifts(joined)
        self._lateness = self._lateness.after(rows.times_ms[events], joined.times_ms)
        found = [self._judged(drift, rows, events) for drift in sorted(drifts, key=lambda drift: drift.offset)]
        return [*said, *found, *measured]

    def _begin(self, rows: Rows, champion: int) -> list[Uncompared]:
        """Begin anew with a new champion. Returns what is not watched of it, at the first time."""
        if champion in {NOBODY, self._champion} or not len(rows):
            return []
        self._champion = champion
        profile = self._profiles(champion)
        self._error.begin(champion, profile)
        self._watching.begin()
        lacks = []
        if self._estimate is not None:
            lacks.append(self._estimate.begin(champion, profile))
        if self._windows is not None:
            self._windows.begin(champion, profile)
            lacks.append("" if profile else "it is not compared with its training rows, as it has no training profile")
        known = champion in self._served
        self._served = [*(version for version in self._served if version != champion), champion][-SERVED_MAX:]
        why = "; ".join(filter(None, lacks))
        return [Uncompared(champion, int(rows.offsets[0]), why)] if why and not known else []

    def _input_drifts(self, rows: Rows, events: Ints, values: Floats, scores: Floats) -> list[Drift]:
        """What the detectors of features, predictions and scores found."""
        columns = {f"{FEATURE}{name}": column[events] for name, column in rows.features.items()}
        if "predictions" in self._wanted:
            columns[PREDICTION] = values[events]
        if "scores" in self._wanted:
            columns |= {f"{SCORE}{index}": column for index, column in enumerate(scores[events].T)}
        codes = self._slicer.codes(rows)[events]
        self._events.extend(rows.offsets[events], rows.times_ms[events], columns | _code_columns(codes))
        return [
            of_warning(warned, self._at(rows, int(events[warned.place])), self._events, exact=False)
            for warned in self._watching.take(columns, codes, self._slicer.name)
        ]

    def _window_drifts(self, rows: Rows, values: Floats, scores: Floats) -> list[Drift]:
        """What differs from the training rows."""
        if self._windows is None or self._champion == NOBODY:
            return []
        found = self._windows.take(rows, values, scores)
        return [of_window(each, self._at(rows, each.row)) for each in found]

    def _estimates(
        self, rows: Rows, events: Ints, joined: Joined, values: Floats, scores: Floats
    ) -> tuple[list[Drift], list[Measured]]:
        """What is to be expected of the error before its labels."""
        if self._estimate is None:
            return [], []
        times_ms = rows.times_ms[events]
        alarms, measured = self._estimate.take(values[events], scores[events], times_ms, rows.offsets[events])
        drifts = []
        for place, alarm in alarms:
            row = int(events[place])
            asks = self._policy.estimate == "ask" and self._late(place, times_ms, joined.times_ms[joined.rows <= row])
            drift = of_alarm(alarm, ESTIMATED_ERROR, self._at(rows, row))
            drifts.append(replace(drift, severity="ALARM", confirmed_by="estimate") if asks else drift)
        return drifts, measured

    def _late(self, place: int, times_ms: Ints, labelled_ms: Ints) -> bool:
        """Whether labels are late at this event."""
        lateness = self._lateness.after(times_ms[: place + 1], labelled_ms)
        return lateness.late(self._events.times_ms(place), TRAIL_ROWS)

    def _error_drifts(self, joined: Joined) -> list[Drift]:
        """What the champion's error shows: alarms, and warnings of further detectors on it."""
        values = joined.champion_values()
        own = np.isfinite(values) & (joined.champions == self._champion)
        raw = _bounded(errors(self._policy.task, _bounded(values), _bounded(joined.labels)))
        drifts = []
        for place, alarm in self._error.take(raw, own, joined.times_ms, joined.offsets):
            drift = of_alarm(alarm, ERROR, self._at(joined, place))
            drifts.append(replace(drift, severity="ALARM", confirmed_by="labels"))
        if "error" in self._wanted:
            exact, columns = self._policy.task == "classification", {ERROR: self._error.losses}
            self._labels.extend(joined.offsets, joined.times_ms, columns | _code_columns(joined.codes))
            drifts += [
                of_warning(warned, self._at(joined, warned.place), self._labels, exact=exact)
                for warned in self._watching.take(columns, joined.codes, self._slicer.name)
            ]
        return drifts

    def _at(self, rows: Rows | Joined, place: int) -> At:
        return At(self._champion, int(rows.offsets[place]), rows.event_ids[place], int(rows.times_ms[place]))

    def _judged(self, drift: Drift, rows: Rows, events: Ints) -> Drift:
        """The drift with what stands beside it. In samples order, so that each sees those before it."""
        if drift.severity == "ALARM":
            drift = replace(drift, evidence=self._recent.beside(drift))
            if self._policy.recurring:
                drift = self._recurring(drift, rows, events)
        self._recent.add(drift)
        return drift

    def _recurring(self, drift: Drift, rows: Rows, events: Ints) -> Drift:
        row = int(np.searchsorted(rows.offsets, drift.offset))
        place = int(np.searchsorted(events, row, side="right")) - 1
        later = int((self._events.times_ms(place) >= (drift.since_time_ms or 0)).sum())
        newest = self._events.newest(place, min(max(later, RECURRENCE_ROWS_MIN), RECURRENCE_ROWS))
        features = {name.removeprefix(FEATURE): column for name, column in newest.items() if name.startswith(FEATURE)}
        found = recurrence(self._profiles, self._served, self._champion, features)
        if found is None:
            return drift
        return replace(
            drift,
            recurs_version=found.version,
            recurs_distance=found.distance,
            own_distance=found.own_distance,
        )

    def saved(self) -> dict[str, Any]:
        """All that they remember, as plain data."""
        return {
            "champion": self._champion,
            "served": list(self._served),
            "error": self._error.saved(),
            "estimate": self._estimate and self._estimate.saved(),
            "watching": self._watching.saved(),
            "windows": self._windows and self._windows.saved(),
            "lateness": self._lateness.saved(),
            "events": self._events.saved(),
            "labels": self._labels.saved(),
            "recent": self._recent.saved(),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self._champion, self._served = saved["champion"], list(saved["served"])
        self._error.restore(saved["error"])
        if self._estimate is not None:
            self._estimate.restore(saved["estimate"])
        self._watching.restore(saved["watching"])
        if self._windows is not None:
            self._windows.restore(saved["windows"], self._profiles(self._champion))
        self._lateness = self._lateness.restored(saved["lateness"])
        self._events.restore(saved["events"])
        self._labels.restore(saved["labels"])
        self._recent.restore(saved["recent"])


def _said(rows: Rows, champion: int) -> tuple[Floats, Floats]:
    """What the champion said to each event, whether it answered or not; NaN where it said nothing."""
    answers = (rows.versions == champion) & ~rows.is_label
    beside = (rows.other_versions == champion) & ~rows.is_label & ~answers
    values = np.where(answers, rows.values, np.where(beside, rows.other_values, np.nan))
    scores = np.full((len(rows), max(rows.scores.shape[1], rows.other_scores.shape[1])), np.nan)
    for which, given in ((answers, rows.scores), (beside, rows.other_scores)):
        scores[which, : given.shape[1]] = given[which]
    return values, scores


def _bounded(column: Floats) -> Floats:
    """The numbers, none so large that sums and squares of many are no numbers; what is missing stays missing."""
    if not column.size or max(np.fmax.reduce(column, axis=None), -np.fmin.reduce(column, axis=None)) <= LARGEST:
        return column
    return np.where(np.isfinite(column), np.clip(column, -LARGEST, LARGEST), column)


def _code_columns(codes: Codes) -> dict[str, Floats]:
    """The parts of the rows as columns of a trail."""
    return {slice_column(place): column.astype(np.float64) for place, column in enumerate(codes.T)}
