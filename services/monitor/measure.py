"""Prequential metrics: each prediction was made before its label was known, so each one is a test.

Over the newest ``window_rows`` labelled predictions of every version: for classification accuracy, log loss, AUC, F1,
kappa and calibration error, for regression MAE, RMSE, MAPE and R2, each with a 95 % interval (``metrics/``).

An event counts for every version that scored it, whether its answer was published or not: the metrics say how good a
version is, not how good the service was, and a version that is tried out unseen has metrics before it answers anything.
So while two versions score every event, both are measured on the same ones; where an event is scored by its own variant
alone, each is measured on its part of the traffic.

**Parts.** Beside all of a version's rows, the parts of declared slices are measured, and, during a rollout, what it
scored in the role of each variant. A part is measured when as many of its own rows have come as fill a window, so that
neighbours share none. All rows are measured five times as often. A row is in one part of each slice, so each slice adds
at most a fifth to what is published, and so do the variants. At most ``PARTS_KEPT`` windows are remembered, those of
the newest versions.

**Corrections.** A second label with another value takes the place of the first in every window that still holds the
row, from then on: what was published before is not taken back. ``corrected_rows`` says how many rows of a window have
such a label.

A window is in the order of the labels; ``from_time_ms`` and ``until_time_ms`` are the event times of its oldest and
newest event. No cutting of rows into frames changes a digit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal, NamedTuple

import numpy as np

from services.monitor.frames import Floats, Ints, Rows
from services.monitor.join import Joined
from services.monitor.metrics import Estimate, classification, regression
from services.monitor.slices import NO_PART, Slicer

Task = Literal["classification", "regression"]
Key = tuple[int, str, int]  # version, variant, part of a slice

MEASURES_PER_WINDOW = 5  # a window of 500 rows is measured every 100: neighbours share four fifths, a chart is smooth
VERSIONS_KEPT = 64  # windows in memory; labels come late for the newest few versions at most
PARTS_KEPT = 256  # windows of parts; beyond, those of the oldest version are forgotten
TOGETHER = 32  # windows in one computation, which then stays in the processor's cache
EPOCHS_KEPT = 256  # of rollouts, whose variants are remembered by name
SMALLEST_SCORE = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss: no infinite loss
NUMBER, TIME, LABEL, VALUE, CORRECTED, SCORES = range(6)  # columns of a window; exact in a double


@dataclass(frozen=True, slots=True)
class Measured:
    """Metrics of one version over the window that the label at ``offset`` closed.

    ``variant`` and ``slice`` are empty for all rows. ``low`` and ``high`` are the ends of the 95 % intervals.
    ``source`` is ``labels``, or ``estimate`` where the metrics are expected from the scores.
    """

    version: int
    offset: int
    window_rows: int
    total_rows: int
    until_time_ms: int
    metrics: Mapping[str, float]
    variant: str = ""
    slice: str = ""
    source: str = "labels"
    from_time_ms: int | None = None
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    corrected_rows: int = 0


@dataclass(slots=True)
class _Window:
    """The newest rows of a version or a part of it, a line for each column, and how many there were."""

    table: Floats
    total: int = 0


class _Due(NamedTuple):
    """A window to be measured: which rows of the table, and the label that closed it."""

    key: Key
    table: Floats
    begin: int
    end: int
    offset: int
    total: int

    @property
    def size(self) -> int:
        return self.end - self.begin

    def kept(self) -> "_Due":
        """With rows of its own, which a later label does not change."""
        return self._replace(table=self.table[:, self.begin : self.end].copy(), begin=0, end=self.size)


class Prequential:
    """The metrics of one partition's predictions.

    Args:
        task: decides which metrics there are.
        window_rows: labelled predictions of one version in a window; a fifth of it lies between two measurements.
        classes: that there are; 0 takes as many as there are scores, at least two.
        slicer: gives the parts their names.
        bins: of the calibration error.
    """

    def __init__(
        self, task: Task, window_rows: int, classes: int = 0, slicer: Slicer | None = None, bins: int = 10
    ) -> None:
        self._task = task
        self._window_rows = window_rows
        self._step = max(1, window_rows // MEASURES_PER_WINDOW)
        self._classes = classes
        self._slicer = slicer or Slicer()
        self._bins = bins
        self._windows: dict[Key, _Window] = {}
        self._variants: dict[int, dict[int, str]] = {}  # by epoch: the variant of each version

    def take(self, joined: Joined, rows: Rows | None = None) -> list[Measured]:
        """Add labelled predictions, and learn the variants' names from their frame. Returns what is due, in order."""
        if rows is not None and rows.variants:
            self._variants.setdefault(rows.epoch, {}).update({each.version: each.variant for each in rows.variants})
            while len(self._variants) > EPOCHS_KEPT:
                del self._variants[min(self._variants)]
        due: list[_Due] = []
        grown = set()
        for version in np.unique([joined.versions, joined.other_versions]).tolist():
            own, values, scores = joined.said_by(version)
            if not len(own):
                continue
            table = _table(joined, own, values, scores)
            for key, places in self._parts(version, joined, own):
                grown.add(key)
                due += self._extend(key, joined, own[places], table[:, places])
        if joined.corrections is not None:
            for key in self._windows.keys() - grown:
                self._extend(key, joined, np.empty(0, np.int64), np.empty((SCORES, 0)))
        self._forget()
        return sorted(self._measured(due), key=lambda each: (each.offset, each.version, each.variant, each.slice))

    def saved(self) -> dict[str, Any]:
        """All windows, and the variants' names."""
        windows = [[*key, window.total, window.table.tolist()] for key, window in sorted(self._windows.items())]
        return {"windows": windows, "variants": [[epoch, list(of.items())] for epoch, of in self._variants.items()]}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what was saved."""
        self._windows = {
            (version, variant, part): _Window(np.array(columns, np.float64), total)
            for version, variant, part, total, columns in saved["windows"]
        }
        self._variants = {epoch: dict(of) for epoch, of in saved["variants"]}

    def _parts(self, version: int, joined: Joined, own: Ints) -> Iterator[tuple[Key, Ints]]:
        """What is measured by itself: which of the version's own rows."""
        yield (version, "", NO_PART), np.arange(len(own))
        if self._variants:
            epochs, places = np.unique(joined.epochs[own], return_inverse=True)
            names = np.array([self._variants.get(each, {}).get(version, "") for each in epochs.tolist()])[places]
            for name in np.unique(names).tolist():
                if name:
                    yield (version, name, NO_PART), np.flatnonzero(names == name)
        for column in joined.codes[own].T:
            for part in np.unique(column).tolist():
                if part != NO_PART:
                    yield (version, "", part), np.flatnonzero(column == part)

    def _extend(self, key: Key, joined: Joined, own: Ints, new: Floats) -> list[_Due]:
        """Append rows to a window; it is to be measured wherever its total reaches a multiple of the step."""
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = _Window(np.empty((len(new), 0)))
        known, before = window.table.shape[1], window.total - window.table.shape[1]
        table = np.concatenate([window.table, new], axis=1) if len(own) else window.table
        step = self._step if key[1:] == ("", NO_PART) else self._window_rows
        counts = range(step - window.total % step, len(own) + 1, step)  # so many of the new rows are in
        ends = [(int(own[count - 1]), known + count) for count in counts]
        due = []
        for place, row, label in _corrected(table, joined.corrections):
            while ends and joined.rows[ends[0][0]] < row:
                due.append(self._due(key, joined, table, before, ends.pop(0)).kept())  # as the labels are by then
            table[[LABEL, CORRECTED], place] = label, 1.0
        due += [self._due(key, joined, table, before, end) for end in ends]
        window.total += len(own)
        window.table = table[:, -self._window_rows :].copy()
        return due

    def _due(self, key: Key, joined: Joined, table: Floats, before: int, last: tuple[int, int]) -> _Due:
        closed_by, end = last
        begin = max(0, end - self._window_rows)
        return _Due(key, table, begin, end, int(joined.offsets[closed_by]), before + end)

    def _measured(self, due: Sequence[_Due]) -> Iterator[Measured]:
        """Windows with equally many rows are measured together: that is where the time goes."""
        for size in {each.size for each in due}:
            alike = [each for each in due if each.size == size]
            for at in range(0, len(alike), TOGETHER):
                yield from self._measured_together(alike[at : at + TOGETHER], size)

    def _measured_together(self, due: Sequence[_Due], size: int) -> Iterator[Measured]:
        table, begins = _side_by_side(due)
        windows = begins[:, None] + np.arange(size)
        numbers = _numbers(self._metrics(table, windows))
        times, corrected = table[TIME][windows], table[CORRECTED][windows].sum(axis=1).tolist()
        oldest, newest = times.min(axis=1).tolist(), times.max(axis=1).tolist()
        for place, each in enumerate(due):
            version, variant, part = each.key
            metrics, low, high = numbers[place]
            yield Measured(
                version=version,
                offset=each.offset,
                window_rows=size,
                total_rows=each.total,
                until_time_ms=int(newest[place]),
                metrics=metrics,
                variant=variant,
                slice="" if part == NO_PART else self._slicer.name(part),
                from_time_ms=int(oldest[place]),
                low=low,
                high=high,
                corrected_rows=int(corrected[place]),
            )

    def _metrics(self, table: Floats, windows: Ints) -> dict[str, Estimate]:
        if self._task == "regression":
            return regression(table[LABEL], table[VALUE], windows)
        return classification(table[LABEL], table[VALUE], table[SCORES:].T, windows, self._classes, self._bins)

    def _forget(self) -> None:
        whole = [key for key in self._windows if key[1:] == ("", NO_PART)]
        parts = [key for key in self._windows if key[1:] != ("", NO_PART)]
        for keys, kept in ((whole, VERSIONS_KEPT), (parts, PARTS_KEPT)):
            for key in sorted(keys)[: max(0, len(keys) - kept)]:
                del self._windows[key]


def _table(joined: Joined, own: Ints, values: Floats, scores: Floats) -> Floats:
    """The rows of a version as a window holds them: a line for each column."""
    columns = [joined.numbers[own], joined.times_ms[own], joined.labels[own], values, np.zeros(len(own))]
    return np.stack([*columns, *scores.T]).astype(np.float64)


def _side_by_side(due: Sequence[_Due]) -> tuple[Floats, Ints]:
    """The windows' tables as one, and where in it each window begins."""
    spans: dict[int, tuple[Floats, int, int]] = {}  # by table: what of it is needed
    for each in due:
        _, low, high = spans.get(id(each.table), (each.table, each.begin, each.end))
        spans[id(each.table)] = each.table, min(low, each.begin), max(high, each.end)
    shifts, width = {}, 0
    for name, (_, low, high) in spans.items():
        shifts[name] = width - low
        width += high - low
    parts = [table[:, low:high] for table, low, high in spans.values()]
    begins = np.array([shifts[id(each.table)] + each.begin for each in due], np.int64)
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1), begins


def _corrected(table: Floats, corrections: Joined | None) -> list[tuple[int, int, float]]:
    """In the order of the corrections: which row of the window, the place of the new label in its frame, the label."""
    if corrections is None:
        return []
    held = {number: place for place, number in enumerate(table[NUMBER].tolist())}
    new = zip(corrections.numbers.tolist(), corrections.rows.tolist(), corrections.labels.tolist(), strict=True)
    return [(held[number], row, label) for number, row, label in new if number in held]


def _numbers(found: Mapping[str, Estimate]) -> list[tuple[dict[str, float], dict[str, float], dict[str, float]]]:
    """The metrics of each window and the ends of their intervals, as far as they are numbers."""
    names = list(found)
    windows = np.array([found[name] for name in names]).transpose(2, 1, 0).tolist()
    told = []
    for values, lows, highs in windows:
        known = [(name, *ends) for name, *ends in zip(names, values, lows, highs, strict=True) if isfinite(ends[0])]
        told.append((
            {name: value for name, value, _, _ in known},
            {name: low for name, _, low, _ in known if isfinite(low)},
            {name: high for name, _, _, high in known if isfinite(high)},
        ))  # fmt: skip
    return told


def errors(task: Task, values: Floats, labels: Floats) -> Floats:
    """The error of each labelled prediction: 1 for a wrong class, else 0; the absolute error for a number."""
    if task == "classification":
        return np.asarray(values != labels, np.float64)
    return np.asarray(np.abs(values - labels), np.float64)


def losses_of(task: Task, values: Floats, scores: Floats, labels: Floats) -> dict[str, Floats]:
    """What each labelled prediction adds to each metric: ``accuracy`` 1 if it is right, ``rmse`` its squared error."""
    error = errors(task, values, labels)
    if task == "regression":
        return {"mae": error, "rmse": error**2}
    losses = {"accuracy": 1.0 - error}
    classes = scores.shape[1]
    if classes:
        label = np.where((labels >= 0) & (labels < classes), labels, 0).astype(np.int64)
        score = scores[np.arange(len(labels)), label]
        losses["log_loss"] = -np.log(np.clip(score, SMALLEST_SCORE, 1.0 - SMALLEST_SCORE))
    return losses
