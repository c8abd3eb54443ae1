"""One field or feature over the windows: what is drawn, and how far the new rows moved. Pure."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.data_report import chi_square, jensen_shannon, wasserstein
from millrace.data_report.bars import bars_of, on_bars
from millrace.data_report.bins import Floats, counts, edges_of
from millrace.data_report.psi import MOVED, MOVED_FAR, noise, psi
from millrace.data_report.report import Bars, Count, Drift, FieldWindow, Numbers, Verdict, WindowName

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TEXTS_SHOWN = 8
LONGEST_SHOWN = 40  # characters of a text
UNSEEN_SHOWN = 20
TREND_STEPS = 48
ROWS_MIN = 30  # with fewer rows on either side, nothing is said about drift
AGAINST: tuple[WindowName, ...] = ("training", "previous")
Counts = Mapping[str, int]
Rows = NDArray[np.int64]  # in each bin


class NumberWindow(NamedTuple):
    """A number in a window: the sample's values in order, NaN where missing; all rows, and those that miss it."""

    values: Floats
    rows: int
    missing: int

    @property
    def seen(self) -> Floats:
        """The finite ones."""
        return self.values[np.isfinite(self.values)]


class TextWindow(NamedTuple):
    """A text in a window; ``texts`` None has too many different ones to be counted."""

    texts: Counter[str] | None
    rows: int
    missing: int


class Compared(NamedTuple):
    """The parts of a ``FieldReport`` that come from values."""

    windows: dict[WindowName, FieldWindow]
    bars: Bars
    drifts: tuple[Drift, ...]
    unseen: tuple[Count, ...] = ()
    note: str | None = None


# ---- numbers -------------------------------------------------------------------------------------------------------


def compare_numbers(windows: Mapping[WindowName, NumberWindow]) -> Compared:
    """The windows of a number on common bars, and the new rows against each of the others."""
    seen = {name: one.seen for name, one in windows.items()}
    bars = bars_of(seen["new"], [one for name, one in seen.items() if name != "new"])
    found = {name: _number_window(one, bars) for name, one in windows.items()}
    drifts = [
        _number_drift(against, seen["new"], seen[against])
        for against in AGAINST
        if against in seen and min(len(seen["new"]), len(seen[against])) >= ROWS_MIN
    ]
    return Compared(found, bars, tuple(drifts))


def _number_window(one: NumberWindow, bars: Bars) -> FieldWindow:
    shares = _rounded(on_bars(one.seen, bars)) if len(one.seen) else ()
    return FieldWindow(rows=one.rows, missing=one.missing, numbers=_numbers(one.seen), shares=shares)


def _number_drift(against: WindowName, new: Floats, other: Floats) -> Drift:
    edges = edges_of(other)
    ours, theirs = counts(new, edges), counts(other, edges)
    return _drift(against, ours, theirs, wasserstein.in_spreads(new, other), None)


def _numbers(seen: Floats) -> Numbers | None:
    if not len(seen):
        return None
    with np.errstate(all="ignore"):  # numbers near the largest float: what cannot be told is null
        mean, std = float(seen.mean()), float(seen.std())
    return Numbers(
        mean=mean if np.isfinite(mean) else None,
        std=std if np.isfinite(std) else None,
        min=float(seen.min()),
        max=float(seen.max()),
        quantiles=tuple(np.quantile(seen, QUANTILES, method="inverted_cdf").tolist()),
    )


def trend_of(previous: Floats, new: Floats) -> tuple[tuple[float | None, ...], int]:
    """Means of the rows in their order, in about equal steps; and at which step the new ones begin.

    >>> trend_of(np.array([]), np.array([1.0, np.nan]))
    ((1.0, None), 0)
    """
    total = len(previous) + len(new)
    if not total:
        return (), 0
    before = round(TREND_STEPS * len(previous) / total) if len(new) else TREND_STEPS
    if len(new):
        before = min(before, TREND_STEPS - 1)  # a few new rows among very many are what the reader looks for
    before = min(len(previous), max(before, 1 if len(previous) else 0))
    after = min(len(new), TREND_STEPS - before)
    steps = [*_split(previous, before), *_split(new, after)]
    return tuple(_mean(step) for step in steps), before


def _split(values: Floats, steps: int) -> list[Floats]:
    return np.array_split(values, steps) if steps else []


def _mean(values: Floats) -> float | None:
    seen = values[np.isfinite(values)]
    if not len(seen):
        return None
    with np.errstate(over="ignore"):
        mean = float(seen.mean())
    return mean if np.isfinite(mean) else None


# ---- texts ---------------------------------------------------------------------------------------------------------


def compare_texts(windows: Mapping[WindowName, TextWindow], known: frozenset[str] | None) -> Compared:
    """The windows of a text, and which texts training never saw. ``known`` are those that it saw, None if unknown."""
    counted = {name: one.texts for name, one in windows.items() if one.texts is not None}
    if len(counted) < len(windows):
        plain = {name: FieldWindow(rows=one.rows, missing=one.missing) for name, one in windows.items()}
        return Compared(plain, Bars(), (), note="too many different or too long texts to be categories")
    unseen = Counter(dict.fromkeys(())) if known is None else _unseen(counted["new"], known)
    bars, order = _text_bars(counted, frozenset(unseen))
    found = {
        name: FieldWindow(
            rows=one.rows, missing=one.missing, shares=_text_shares(counted[name], order, more=bool(bars.others))
        )
        for name, one in windows.items()
    }
    drifts = [
        _text_drift(against, counted["new"], counted[against])
        for against in AGAINST
        if against in counted and min(counted["new"].total(), counted[against].total()) >= ROWS_MIN
    ]
    shown = tuple(Count(name=_short(text), count=count) for text, count in unseen.most_common(UNSEEN_SHOWN))
    return Compared(found, bars, tuple(drifts), shown)


def _unseen(new: Counts, known: frozenset[str]) -> Counter[str]:
    return Counter({text: count for text, count in new.items() if text not in known})


def _text_bars(counted: Mapping[WindowName, Counter[str]], unseen: frozenset[str]) -> tuple[Bars, list[str]]:
    """The texts that have bars: those with the largest share in any window; and new ones, if there is room."""
    largest: dict[str, float] = {}
    for one in counted.values():
        for text, count in one.items():
            largest[text] = max(largest.get(text, 0.0), count / one.total())
    ranked = sorted(largest, key=lambda text: (-largest[text], text))
    order = ranked[:TEXTS_SHOWN]
    missing = [text for text in ranked[TEXTS_SHOWN:] if text in unseen][:2]
    order += missing
    places = tuple(place for place, text in enumerate(order) if text in unseen)
    return Bars(texts=tuple(map(_short, order)), others=len(ranked) - len(order), unseen=places), order


def _text_shares(texts: Counter[str], order: list[str], *, more: bool) -> tuple[float, ...]:
    total = texts.total()
    if not total:
        return ()
    shares = [texts[text] / total for text in order]
    return _rounded(np.array([*shares, max(0.0, 1 - sum(shares))] if more else shares))


def _text_drift(against: WindowName, new: Counts, other: Counts) -> Drift:
    everything = sorted({*new, *other})
    ours = np.array([new.get(text, 0) for text in everything], np.int64)
    theirs = np.array([other.get(text, 0) for text in everything], np.int64)
    return _drift(against, ours, theirs, None, chi_square.chance(ours, theirs))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


# ---- both ----------------------------------------------------------------------------------------------------------


def _drift(against: WindowName, ours: Rows, theirs: Rows, carried: float | None, chance: float | None) -> Drift:
    assert against != "new", "nothing is compared with itself"
    index, floor = psi(ours, theirs), noise(ours, theirs)
    verdict: Verdict = "stable"
    if index > floor and index >= MOVED:
        verdict = "moved far" if index >= MOVED_FAR else "moved"
    return Drift(
        against=against,
        psi=index,
        psi_noise=floor,
        jensen_shannon=jensen_shannon.distance(ours, theirs),
        wasserstein_spreads=carried,
        chance=chance,
        verdict=verdict,
    )


def _rounded(shares: Floats) -> tuple[float, ...]:
    return tuple(np.round(shares, 5).tolist())
