"""A window of arriving events against the rows that the serving version was trained on. Pure.

Single records are judged one by one elsewhere; here it is what only many of them show:

- ``missing-share``: a field is missing more often than in training (``chance_of_more``).
- ``new-category``: texts that training never saw, in more rows than rare texts explain (``chance_of_unseen``).
- ``volume``: fewer events per hour of event time (``chance_of_fewer``). Falls only: a faster stream is no fault.
- ``constant``: a field that varied in training has one single value throughout the window. A warning, never more.

Each comparison has two conditions. It must be too unlikely for chance, at most ``false_alarms`` for a window that is
like training; and the difference must be worth an operator's attention, because with enough rows every difference is
beyond chance. The chances assume rows that are independent of one another. Rows in bursts are not, and the second
condition is what keeps these from crying wolf.

Fields whose distribution moved are the monitor's business (``services/monitor/detect``).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.event_base import Severity
from millrace.contracts.events import ExpectationsLearned, FieldExpectation
from millrace.expectations.chance import chance_of_fewer, chance_of_more, chance_of_unseen
from millrace.expectations.learn import QUANTILES

MISSING_SHARE, NEW_CATEGORY, VOLUME, CONSTANT = "missing-share", "new-category", "volume", "constant"
NULL_SHARE = "null-share"
STREAM = "stream"  # the subject where it is no field
WORTH_A_WARNING = 0.01  # more of the rows than in training: five of a window of 500
WORTH_AN_ALARM = 0.05
FELL_TO_WARNING = 0.5  # of the learned volume: nights and weekends of most streams stay above it
FELL_TO_ALARM = 0.1
TRIMMED_SHARE = 0.05  # of a window's times on either side: one event with a time of its own is no span
HOUR_MS = 3_600_000
SHOWN = 3  # new categories in a message
SHOWN_LETTERS = 40
LEARN_ROWS = 100  # of a window from which the volume is learned; its chance error is then 10 %
LEARN_WINDOWS_MIN = 5
NOTHING: Mapping[str, int] = {}
Times = NDArray[Any]  # whole milliseconds, as integers or floats


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about a window. ``rows`` are those that it was found in; shares are 0 to 1, volume in events/h."""

    check: str
    subject: str
    severity: Severity
    observed: float
    expected: float
    rows: int
    message: str


class FieldWindow(NamedTuple):
    """One field of a window: ``categories`` are the rows of each text; ``low`` and ``high`` of a number may be None.

    A tuple, because there is one for every field of every window, and a dataclass takes four times as long to make.
    """

    missing: int
    low: float | None = None
    high: float | None = None
    categories: Mapping[str, int] = NOTHING


@dataclass(frozen=True, slots=True)
class Window:
    """Events in the order of their arrival; ``times_ms`` are their event times."""

    rows: int
    fields: Mapping[str, FieldWindow]
    times_ms: Times


def judge(
    window: Window, learned: ExpectationsLearned, false_alarms: float, *, volume_share: float = 1.0
) -> list[Finding]:
    """Compare a window with what was learned; fields that it does not have are not compared.

    ``volume_share`` is the part of the stream's events that this window's partition normally has.
    """
    if not window.rows:
        return []
    findings: list[Finding | None] = []
    for expected in learned.fields:
        seen = window.fields.get(expected.name)
        if seen is None:
            continue
        findings.append(missing(seen, window.rows, expected, learned.rows, false_alarms))
        if expected.kind == "TEXT":
            findings.append(new_category(seen, window.rows, expected, learned.rows, false_alarms))
        else:
            findings.append(constant(seen, window.rows, expected, learned.rows, false_alarms))
    if learned.events_per_hour is not None:
        findings.append(volume(window.times_ms, learned.events_per_hour * volume_share, false_alarms))
    return [finding for finding in findings if finding is not None]


def missing(
    seen: FieldWindow, rows: int, expected: FieldExpectation, known_rows: int, false_alarms: float
) -> Finding | None:
    """Whether a field is missing more often than in training."""
    share = seen.missing / rows
    if share - expected.missing_share < WORTH_A_WARNING:
        return None
    known = round(expected.missing_share * known_rows)
    if chance_of_more(seen.missing, rows, known, known_rows) > false_alarms:
        return None
    message = (
        f"field {expected.name!r} is missing in {seen.missing} of {rows} events ({share:.1%}); "
        f"in training it was in {expected.missing_share:.1%}"
    )
    severity = _severity(share - expected.missing_share)
    return Finding(MISSING_SHARE, expected.name, severity, share, expected.missing_share, rows, message)


def too_many_missing(name: str, seen: FieldWindow, rows: int, most: float) -> Finding | None:
    """Whether a field is missing more often than its owner declared; no chance is granted on top of what was said."""
    share = seen.missing / rows if rows else 0.0
    if share <= most:
        return None
    found = f"field {name!r} is missing in {seen.missing} of {rows} events ({share:.1%})"
    return Finding(NULL_SHARE, name, "ALARM", share, most, rows, f"{found}; model.yaml allows {most:.1%}")


def new_category(
    seen: FieldWindow, rows: int, expected: FieldExpectation, known_rows: int, false_alarms: float
) -> Finding | None:
    """Whether texts that training never saw are in more rows than rare texts explain. A field without a set is free."""
    known_texts = _set_of(expected.categories)
    unseen = {text: count for text, count in seen.categories.items() if text not in known_texts}
    count, present = sum(unseen.values()), rows - seen.missing
    if not known_texts or not count or count / present < WORTH_A_WARNING:
        return None
    shares = zip(expected.categories, expected.category_shares, strict=True)
    known = {text: round(share * known_rows) for text, share in shares}
    both = [times + seen.categories.get(text, 0) for text, times in known.items()]
    if chance_of_unseen(list(unseen.values()), both, present, sum(known.values())) > false_alarms:
        return None
    shown = [text[:SHOWN_LETTERS] for text in sorted(unseen, key=lambda text: (-unseen[text], text))[:SHOWN]]
    more = f" and {len(unseen) - SHOWN} others" if len(unseen) > SHOWN else ""
    message = (
        f"field {expected.name!r} is {', '.join(map(repr, shown))}{more} in {count} of {present} events "
        f"({count / present:.1%}); training saw {len(known)} other texts and none of these"
    )
    return Finding(NEW_CATEGORY, expected.name, _severity(count / present), count / present, 0.0, rows, message)


def constant(
    seen: FieldWindow, rows: int, expected: FieldExpectation, known_rows: int, false_alarms: float
) -> Finding | None:
    """Whether a number that varied in training does not any more.

    The quantiles say at most how many of the training rows had this value. A value that most of them had may well fill
    a window. How slowly a field moves is not known, so this is a warning only.
    """
    present = rows - seen.missing
    varied = expected.min is not None and expected.max is not None and expected.min < expected.max
    if not varied or seen.low is None or seen.low != seen.high or not present:
        return None
    known_present = round(known_rows * (1 - expected.missing_share))
    known = math.ceil(_share_at_most(expected, seen.low) * known_present)
    if chance_of_more(present, present, known, known_present) > false_alarms:
        return None
    message = (
        f"field {expected.name!r} is {seen.low:g} in all {present} events that have it; "
        f"in training it went from {expected.min:g} to {expected.max:g}"
    )
    return Finding(CONSTANT, expected.name, "WARNING", 0.0, expected.std or 0.0, rows, message)


def volume(times_ms: Times, expected_per_hour: float, false_alarms: float) -> Finding | None:
    """Whether events come less often than they should, in their own time.

    That the times between k + 1 events take longer than T has the chance that fewer than k events come in T. The first
    and the last twentieth of the window's times are left out, so that a few wrong times do not make a long span.
    """
    between, span_ms = _span(times_ms)
    if span_ms <= 0 or expected_per_hour <= 0:
        return None
    hours = span_ms / HOUR_MS
    rate = between / hours
    if rate > FELL_TO_WARNING * expected_per_hour:
        return None
    if chance_of_fewer(between - 1, expected_per_hour * hours) > false_alarms:
        return None
    severity: Severity = "ALARM" if rate <= FELL_TO_ALARM * expected_per_hour else "WARNING"
    message = f"{rate:.3g} events per hour of event time; {expected_per_hour:.3g} were usual in training"
    return Finding(VOLUME, STREAM, severity, rate, expected_per_hour, len(times_ms), message)


def learn_volume(times_ms: Times, *, rows: int = LEARN_ROWS) -> float | None:
    """The usual number of events in an hour of event time: the median over windows of so many events.

    None where there is no such number: fewer than five windows, or more than a tenth of them below half of the median
    (a stream that sleeps at night, or that comes in bursts), for then a fall says nothing.

    >>> learn_volume(np.arange(1000) * 60_000)
    60.0
    """
    times = np.sort(times_ms)
    rates = []
    for window in np.split(times, range(rows, len(times), rows)):
        between, span_ms = _span(window)
        if len(window) == rows and span_ms > 0:
            rates.append(between * HOUR_MS / span_ms)
    if len(rates) < LEARN_WINDOWS_MIN:
        return None
    usual = float(np.median(rates))
    return usual if np.quantile(rates, 0.1) >= FELL_TO_WARNING * usual else None


def _span(times_ms: Times) -> tuple[int, float]:
    """How many times follow the first within the trimmed span, and how long it is."""
    first = int(len(times_ms) * TRIMMED_SHARE)
    last = len(times_ms) - 1 - first
    if last <= first:
        return 0, 0.0
    ordered = np.partition(times_ms, [first, last])
    return last - first, float(ordered[last] - ordered[first])


def _share_at_most(expected: FieldExpectation, value: float) -> float:
    """At most this share of the training rows had this very value, as the quantiles tell."""
    if expected.min is None or expected.max is None or not expected.min <= value <= expected.max:
        return 0.0
    levels = list(zip(QUANTILES, expected.quantiles, strict=False))
    below = max((level for level, quantile in levels if quantile < value), default=0.0)
    above = min((level for level, quantile in levels if quantile > value), default=1.0)
    return above - below


@lru_cache(maxsize=256)
def _set_of(categories: tuple[str, ...]) -> frozenset[str]:
    """The same ones are asked for with every window, and there may be a thousand of them."""
    return frozenset(categories)


def _severity(more: float) -> Severity:
    return "ALARM" if more >= WORTH_AN_ALARM else "WARNING"
