"""What a person can check about a drift: which, since when, how sure, and the two distributions.

A detector says that a change has happened and where it cut its rows. The rows themselves stand in a ``Trail``: it dates
the cut, and gives the rows before and after it for the histograms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from services.monitor.detect import Change
from services.monitor.frames import Floats

ERROR = "error"
ESTIMATED_ERROR = "estimated_error"
BINS = 20  # of a histogram, at most
DISTINCT_MAX = 10  # up to so many different values, each is counted by itself
INNER_SHARE = 0.005  # of the rows on each side share the outermost bin, so that one outlier does not hide the rest
RIGHT_WRONG = ("right", "wrong")


class Picture(NamedTuple):
    """Two histograms over the same bins, or over categories where ``bins`` is empty."""

    bins: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    before_counts: tuple[int, ...] = ()
    after_counts: tuple[int, ...] = ()


NO_PICTURE = Picture()


class Key(NamedTuple):
    """What a drift's id is made of, beside its model and partition. ``rest`` is empty for the main detectors."""

    subject: str
    offset: int
    rest: str


@dataclass(frozen=True, slots=True)
class Drift:
    """A change that counts, with its evidence and its place.

    Attributes:
        version: the champion.
        subject: ``error``, ``estimated_error``, ``feature:<name>``, ``features``, ``prediction`` or ``score:<class>``.
        detector: its name.
        severity: an ALARM asks for a retrain.
        offset: samples offset at which it was noticed; of the label where it is about the error.
        event_id: of the event at which it was noticed.
        time_ms: event time of that event.
        change: the means before and after, and their rows.
        parameters: of the detector.
        since_time_ms: event time of the first row after the change, as far as the trail goes back.
        since_offset: samples offset of that row.
        slice: part of the rows that it is about; empty for all.
        origin: what told the detector to look: empty for ``monitors.error``, ``features`` and ``decision.estimate``,
            else ``windows`` or ``watch-<number>``. It keeps ids apart.
        compared_with: ``before``, or ``training``.
        picture: the two distributions.
        confirmed_by: ``labels``, ``estimate`` or empty.
        evidence: keys of the drifts that stand beside it; ``facts.drift_id`` makes their ids.
        recurs_version: an earlier champion whose training rows look like the rows now.
        recurs_distance: how far its training rows are from the rows now.
        own_distance: how far the champion's own training rows are from them.
        message: the finding in words, where the detector gives its own.
    """

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
    since_offset: int | None = None
    slice: str = ""
    origin: str = ""
    compared_with: str = "before"
    picture: Picture = NO_PICTURE
    confirmed_by: str = ""
    evidence: tuple[Key, ...] = ()
    recurs_version: int | None = None
    recurs_distance: float | None = None
    own_distance: float | None = None
    message: str = ""

    @property
    def key(self) -> Key:
        """What tells it from all others of its model and partition."""
        return Key(self.subject, self.offset, f"{self.origin}/{self.detector}/{self.slice}" if self.origin else "")


@dataclass(frozen=True, slots=True)
class Uncompared:
    """What is not watched about a version, and why; said once for each."""

    version: int
    offset: int
    why: str


class Recent:
    """The newest drifts, which may stand beside an alarm as evidence.

    Those count that are about the same version and were noticed after its change began, in event time; the newest
    ``limit`` of them. It is evidence for whoever reads it: it decides nothing.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._drifts: list[tuple[int, int, Key]] = []  # version, event time, key

    def add(self, drift: Drift) -> None:
        """Remember one."""
        self._drifts = [*self._drifts, (drift.version, drift.time_ms, drift.key)][-self._limit :]

    def beside(self, drift: Drift) -> tuple[Key, ...]:
        """The keys of those that stand beside this one."""
        since = drift.time_ms if drift.since_time_ms is None else drift.since_time_ms
        return tuple(key for version, time_ms, key in self._drifts if version == drift.version and time_ms >= since)

    def saved(self) -> list[list[Any]]:
        """The drifts that are remembered."""
        return [[version, time_ms, *key] for version, time_ms, key in self._drifts]

    def restore(self, saved: Sequence[Sequence[Any]]) -> None:
        """Go on from what was saved."""
        self._drifts = [(version, time_ms, Key(*key)) for version, time_ms, *key in saved]


def picture(before: Floats, after: Floats) -> Picture:
    """The two histograms: of each value by itself if they are few, else in at most ``BINS`` equal bins.

    >>> picture(np.array([0.0, 0.0, 1.0]), np.array([1.0]))
    Picture(bins=(), categories=('0', '1'), before_counts=(2, 1), after_counts=(0, 1))
    """
    both = np.concatenate([before, after])
    distinct = np.unique(both)
    if len(distinct) <= DISTINCT_MAX:
        counts = tuple(tuple(int((part == value).sum()) for value in distinct) for part in (before, after))
        return Picture((), tuple(f"{value:g}" for value in distinct.tolist()), *counts)
    low, high = np.quantile(both, [INNER_SHARE, 1 - INNER_SHARE]).tolist()
    edges = np.linspace(low, high, BINS + 1)
    edges[0], edges[-1] = distinct[0], distinct[-1]
    edges = np.unique(edges)
    return Picture(tuple(edges.tolist()), (), counted(before, edges), counted(after, edges))


def counted(numbers: Floats, edges: npt.ArrayLike) -> tuple[int, ...]:
    """How many numbers are in each bin."""
    return tuple(np.histogram(numbers, np.asarray(edges))[0].tolist())


def right_and_wrong(change: Change) -> Picture:
    """Of an error that is 0 or 1 the means say all: no row need be kept.

    >>> right_and_wrong(Change(0.1, 0.5, 100, 10)).before_counts
    (90, 10)
    """
    wrong = round(change.before * change.before_rows), round(change.after * change.after_rows)
    return Picture((), RIGHT_WRONG, (change.before_rows - wrong[0], wrong[0]), (change.after_rows - wrong[1], wrong[1]))
