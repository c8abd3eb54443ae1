"""What is watched of one subject in windows: a feature, the prediction, a score, or all features together."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.monitor.detect import Change, Comparison, Counted, DomainClassifier
from services.monitor.detect.window import Floats
from services.monitor.window_cells import CELLS, Cells, whole_numbers
from services.monitor.window_evidence import JUDGED, SCALES, due, e_values

ROWS_JUDGED = 2_048  # of a window, at most, for the detector of all features together: as many as a profile has
SHARES_TOLD = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What one detector says of one subject, best pool first.

    ``e_value`` is the sum over the pools that were due by how many are on average; ``pooled`` is the number of windows
    in the pool with the smallest p-value.
    """

    subject: str
    place: int
    e_value: float
    p_value: float
    pooled: int


@dataclass(frozen=True, slots=True)
class Shown:
    """The evidence of one detector: its comparison, and what a person can look at."""

    detector: str
    parameters: Mapping[str, float]
    comparison: Comparison
    change: Change
    bins: tuple[float, ...]
    categories: tuple[str, ...]
    before_counts: tuple[int, ...]
    after_counts: tuple[int, ...]
    words: str


@dataclass(frozen=True, slots=True)
class Sums:
    """Number, sum and extremes of the finite values of a window."""

    rows: int = 0
    total: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def taken(self, values: Floats) -> "Sums":
        """With these values, added from left to right, so that cuts make no difference."""
        known = values[np.isfinite(values)]
        if not len(known):
            return self
        total = float(np.add.accumulate(np.concatenate(([self.total], known)))[-1])
        low, high = min(self.low, float(known.min())), max(self.high, float(known.max()))
        return Sums(self.rows + len(known), total, low, high)

    def __add__(self, other: "Sums") -> "Sums":
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Sums(self.rows + other.rows, self.total + other.total, low, high)

    @property
    def mean(self) -> float:
        """Their mean; 0 if there are none."""
        return self.total / self.rows if self.rows else 0.0

    def saved(self) -> list[float]:
        """Plain data; without rows, nothing, as infinities are no JSON."""
        return [self.rows, self.total, self.low, self.high] if self.rows else []

    @classmethod
    def restored(cls, saved: Sequence[float]) -> "Sums":
        """What was saved."""
        return cls(int(saved[0]), *saved[1:]) if saved else cls()


class Column:
    """One subject with a column of numbers, judged by detectors that count cells.

    Counts of the last windows are kept, so that windows can be pooled.
    """

    def __init__(self, subject: str, reference: Floats, detectors: Sequence[Counted], least: float) -> None:
        self.subject = subject
        self.detectors = list(detectors)
        self._least = least
        self._cells = Cells(reference)
        self._counters: tuple[Counted | Cells, ...] = (*self.detectors, self._cells)
        self._sums = Sums().taken(reference)
        self.begin()

    def begin(self) -> None:
        """Forget all windows."""
        self._closed: deque[tuple[list[Any], Sums]] = deque(maxlen=SCALES[-1])
        self._number = 0

    def close(self, values: Floats) -> list[Seen]:
        """Take the rows of a window, and judge the pools that are due with it."""
        counts = [counter.count(values) for counter in self._counters]
        self._closed.append((counts, Sums().taken(values)))
        self._number += 1
        pooled = due(self._number)
        found = []
        for place, detector in enumerate(self.detectors):
            newest = [counts[place] for counts, _ in reversed(self._closed)]
            p_values = detector.p_values(np.stack([sum(newest[:scale]) for scale in pooled]))
            e_value = float(e_values(p_values, self._least).sum()) / JUDGED
            best = int(p_values.argmin())
            found.append(Seen(self.subject, place, e_value, float(p_values[best]), pooled[best]))
        return found

    def show(self, seen: Seen) -> Shown:
        """The evidence of what was seen at the last closing."""
        pool = list(self._closed)[-seen.pooled :]
        detector = self.detectors[seen.place]
        comparison = detector.compare(sum(counts[seen.place] for counts, _ in pool))
        sums = sum((sums for _, sums in pool), start=Sums())
        rows = (comparison.reference_rows, comparison.window_rows)
        if detector.name == "missing_rate":
            missing = [counts[seen.place] for counts, _ in pool]
            before, after = detector.reference, sum(missing)
            shares = (int(before[1]) / max(rows[0], 1), int(after[1]) / max(rows[1], 1))
            bins: tuple[float, ...] = ()
            categories: tuple[str, ...] = ("present", "missing")
            words = f"missing in {shares[0]:.3g} of the training rows and {shares[1]:.3g} now"
        else:
            before, after = self._cells.reference, sum(counts[-1] for counts, _ in pool)
            shares = (self._sums.mean, sums.mean)
            bins, categories = self._cells.edges(sums.low, sums.high), self._cells.categories
            words = f"mean {shares[0]:.4g} in the training rows and {shares[1]:.4g} now"
        return Shown(
            detector=detector.name,
            parameters=detector.parameters,
            comparison=comparison,
            change=Change(*shares, *rows),
            bins=bins,
            categories=categories,
            before_counts=whole_numbers(before),
            after_counts=whole_numbers(after),
            words=words,
        )

    def saved(self) -> dict[str, Any]:
        """The counts of the windows, as plain data."""
        return {"number": self._number, "closed": [_plain(window) for window in self._closed]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        self.begin()
        self._number = int(saved["number"])
        self._closed.extend(_window(window) for window in saved["closed"])


class Joint:
    """All features together, judged by the domain classifier, window by window.

    It needs whole rows. Of more than ``ROWS_JUDGED`` it takes every second.
    """

    def __init__(self, subject: str, features: Mapping[str, Floats], level: float, least: float) -> None:
        self.subject = subject
        self.names = tuple(features)
        self._detector = DomainClassifier(np.column_stack(list(features.values())), level=level)
        self._least = least
        self.begin()

    def begin(self) -> None:
        """Forget the window."""
        self._judged = np.empty((0, len(self.names)))

    def close(self, rows: Floats) -> list[Seen]:
        """Judge the rows of a window, a column for each feature."""
        self._judged = rows[:: max(1, -(-len(rows) // ROWS_JUDGED))]
        p_value = self._detector.judge(self._judged).p_value
        return [Seen(self.subject, 0, float(e_values(p_value, self._least)), p_value, 1)]

    def show(self, seen: Seen) -> Shown:
        """The evidence: how much the rows look like the window, and which features tell most."""
        assert seen.subject == self.subject, "what was seen here is shown here"
        comparison = self._detector.judge(self._judged)
        before, after = self._detector.scores(self._judged)
        low, high = min(before.min(), after.min()), max(before.max(), after.max())
        edges = np.linspace(low, high if high > low else low + 1, CELLS + 1)
        shares = self._detector.shares(self._judged)
        order = np.argsort(-shares, kind="stable")[:SHARES_TOLD].tolist()
        told = {self.names[place]: float(shares[place]) for place in order if shares[place] > 0}
        change = Change(float(before.mean()), float(after.mean()), comparison.reference_rows, comparison.window_rows)
        parts = ", ".join(f"{name} ({share:.0%})" for name, share in told.items())
        return Shown(
            detector=self._detector.name,
            parameters={**self._detector.parameters, **{f"share:{name}": share for name, share in told.items()}},
            comparison=comparison,
            change=change,
            bins=tuple(edges.tolist()),
            categories=(),
            before_counts=whole_numbers(np.histogram(before, edges)[0]),
            after_counts=whole_numbers(np.histogram(after, edges)[0]),
            words=f"a classifier tells the rows apart with an AUC of {comparison.statistic:.3g}, by {parts}",
        )

    def saved(self) -> dict[str, Any]:
        """Nothing: each window is judged by itself."""
        return {}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what was saved."""
        assert not saved, "nothing is remembered"
        self.begin()


def _plain(window: tuple[list[Any], Sums]) -> dict[str, Any]:
    counts, sums = window
    return {"counts": [count.tolist() for count in counts], "sums": sums.saved()}


def _window(saved: Mapping[str, Any]) -> tuple[list[Any], Sums]:
    return [np.array(count, np.int64) for count in saved["counts"]], Sums.restored(saved["sums"])
