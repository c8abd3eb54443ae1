"""Detectors beside the one that asks: what they find is a warning, and evidence for whoever reads it.

Those of ``monitors.features`` (ADWIN on every feature) and of ``monitors.watch``. Each subject, and each part of the
rows where ``slices`` says so, has a detector of its own. A change in either direction counts; changes within
``cool_down_rows`` rows of the last one that counted are dropped, the detector having begun anew.

Features are watched over all events, whatever version answers them: the world does not change because a model was
deployed. Predictions, scores and errors are those of the champion, and begin anew with each new one: its own deployment
is no drift.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from millrace.contracts.monitor_policy import Subject, Watched
from services.monitor.detect import Change, Detector
from services.monitor.evidence import ERROR
from services.monitor.frames import Floats, Ints
from services.monitor.policy import Policy
from services.monitor.slices import NO_PART, Codes, edges_of, names_of
from services.monitor.trail import Only

PREDICTION = "prediction"
FEATURE, SCORE = "feature:", "score:"
GROUPS: Mapping[Subject, Callable[[str], bool]] = {
    "features": lambda subject: subject.startswith(FEATURE),
    "predictions": PREDICTION.__eq__,
    "scores": lambda subject: subject.startswith(SCORE),
    "error": ERROR.__eq__,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Warned:
    """A change that counts, at a row of those that were taken. ``only`` is the column and code of its slice, if any."""

    place: int
    subject: str
    slice: str
    only: Only | None
    detector: str
    origin: str
    parameters: Mapping[str, float]
    change: Change


class Series:
    """One detector on one subject, with its cool-down.

    Args:
        detector: a new one.
        cool_down_rows: rows between two changes that count.
    """

    def __init__(self, detector: Detector, cool_down_rows: int) -> None:
        self.detector = detector
        self._cool_down = cool_down_rows
        self._rows = 0
        self._quiet_until = 0

    def take(self, values: Floats) -> list[tuple[int, Change]]:
        """Take the next rows. Returns the changes that count, with their place in ``values``."""
        counted = []
        for place, change in self.detector.feed(_taken(self.detector, values)):
            number = self._rows + place
            if number >= self._quiet_until:
                self._quiet_until = number + self._cool_down
                counted.append((place, change))
        self._rows += len(values)
        return counted

    def begin(self) -> None:
        """Begin anew; only the cool-down goes on."""
        self.detector.reset()

    def saved(self) -> list[Any]:
        """All that it remembers, as plain data."""
        return [self._rows, self._quiet_until, self.detector.saved()]

    def restore(self, saved: Sequence[Any]) -> None:
        """Go on from what was saved."""
        self._rows, self._quiet_until = saved[0], saved[1]
        self.detector.restore(saved[2])


class Watching:
    """All of them.

    Args:
        policy: the numbers.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._watched: list[tuple[str, Watched]] = [
            (f"watch-{place}", watched) for place, watched in enumerate(policy.watch)
        ]
        if policy.features:
            self._watched.insert(0, ("", Watched(on="features", detector="adwin")))
        self._series: dict[tuple[str, str, str], Series] = {}  # by origin, subject and slice
        declared = ((each, edges_of(each, None)) for each in policy.slices)
        self._lasting = {"", *(name for each, edges in declared if edges is not None for name in names_of(each, edges))}

    def begin(self) -> None:
        """Another version has become champion. Parts that its training rows make anew are others: theirs are let go."""
        self._series = {key: series for key, series in self._series.items() if key[2] in self._lasting}
        for (_, subject, _), series in self._series.items():
            if not subject.startswith(FEATURE):
                series.begin()

    def take(self, columns: Mapping[str, Floats], codes: Codes, name: Callable[[int], str]) -> list[Warned]:
        """Take the next rows.

        Args:
            columns: by subject.
            codes: for each row and slice the part that it is in.
            name: of a part.

        Returns:
            What was found; rows in their order for each detector.
        """
        found = []
        for origin, watched in self._watched:
            for subject, values in columns.items():
                if GROUPS[watched.on](subject) and _named(watched, subject):
                    for part, only, rows in _parts(watched, codes, name):
                        places = np.arange(len(values)) if rows is None else rows
                        found += [
                            replace(warned, place=int(places[warned.place]), only=only)
                            for warned in self._feed(origin, watched, subject, part, values[places])
                        ]
        return found

    def _feed(self, origin: str, watched: Watched, subject: str, part: str, values: Floats) -> Iterator[Warned]:
        series = self._series.get((origin, subject, part))
        if series is None:
            series = self._series[origin, subject, part] = self._new(origin, watched)
        detector = series.detector
        for place, change in series.take(values):
            yield Warned(place, subject, part, None, detector.name, origin, detector.parameters, change)

    def _new(self, origin: str, watched: Watched) -> Series:
        made = self._policy.watcher(watched) if origin else self._policy.feature_watcher()
        return Series(made, self._policy.cool_down_rows)

    def saved(self) -> list[Any]:
        """All that they remember, as plain data."""
        return [[*key, series.saved()] for key, series in sorted(self._series.items())]

    def restore(self, saved: Sequence[Sequence[Any]]) -> None:
        """Go on from what was saved."""
        watched = dict(self._watched)
        self._series = {}
        for origin, subject, part, content in saved:
            series = self._series[origin, subject, part] = self._new(origin, watched[origin])
            series.restore(content)


def _taken(detector: Detector, values: Floats) -> Floats:
    """The numbers as the detector takes them: a score is what the model says, and may be a rounding above 1."""
    if detector.takes == "numbers":
        return values
    return np.where(np.isfinite(values), np.clip(values, 0.0, 1.0), np.nan)


def _named(watched: Watched, subject: str) -> bool:
    return not watched.features or watched.on != "features" or subject.removeprefix(FEATURE) in watched.features


def _parts(
    watched: Watched, codes: Codes, name: Callable[[int], str]
) -> Iterator[tuple[str, Only | None, Ints | None]]:
    """All rows, and the rows of each part where parts are watched."""
    yield "", None, None
    for place, column in enumerate(codes.T if watched.slices else ()):
        for code in np.unique(column[column != NO_PART]).tolist():
            yield name(code), (slice_column(place), code), np.flatnonzero(column == code)


def slice_column(place: int) -> str:
    """The trail's column for the parts of a slice."""
    return f"slice/{place}"
