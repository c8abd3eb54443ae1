"""From alarms to delays, misses and false alarms, and from these to a verdict: is what was promised kept?

*Delay*: events from the first one of the new concept up to the one that gave the first alarm, both counted. An alarm
counts for a drift until the next change of the stream. A drift without an alarm is *missed*.

*False*: every alarm before the first change of a stream. What comes later is neither: a detector may well speak twice
about one drift, and when the world becomes better again.

*The promise*: the default policy asks for at most one false retrain in 1,000,000 stable events with 20 features, over
all streams of independent rows together; on no stream does it miss more than the best bare detector, and on none is its
median delay more than twice that one's. Streams with correlated rows stand outside: they have no drift in the long run,
but weeks that are really harder, and are told beside it.
"""

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.drift.policies import BARE, OUR_WARNINGS, OURS

FALSE_PER_MILLION_MAX = 1.0
DELAY_RATIO_MAX = 2.0
BARE_FALSE_PER_MILLION_MAX = 10.0
BEST_BARE_RULE = (
    "On each stream: among the bare detectors of the error that gave at most "
    f"{BARE_FALSE_PER_MILLION_MAX:g} false alarms per 1,000,000 stable events over all streams of independent rows, "
    "ten times what is promised of ours, those that missed the fewest drifts there, and of these the one with the "
    "smallest median delay. A detector that cries all the time finds every drift soon, by chance. Detectors of inputs "
    "are no candidates: they say nothing about the loss. The ratios to each bare detector stand in ratio_to_each."
)
CORRELATED = "correlated"  # the kind of world whose rows are not independent

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one policy did on one stream, or on a part of it.

    Attributes:
        delays: of each drift; None where it was missed.
        false: false alarms.
        stable_events: events in which these came.
    """

    delays: tuple[int | None, ...]
    false: int
    stable_events: int


def judged(alarms: Iterable[int], drifts: Sequence[int], benign: Sequence[int], begin: int, end: int) -> Outcome:
    """The outcome of alarms in the rows from ``begin`` up to ``end``.

    >>> judged([3, 120, 130, 220], drifts=[100, 300], benign=[200], begin=0, end=400)
    Outcome(delays=(21, None), false=1, stable_events=100)
    """
    places = sorted(alarms)
    changes = sorted([*drifts, *benign, end])
    delays = []
    for place in drifts:
        until = next(change for change in changes if change > place)
        first = next((alarm for alarm in places if place <= alarm < until), None)
        delays.append(None if first is None else first - place + 1)
    return Outcome(tuple(delays), sum(alarm < changes[0] for alarm in places), max(0, changes[0] - begin))


def row(stream: str, kind: str, policy: str, outcomes: Sequence[Outcome]) -> Figures:
    """The figures of one policy on one stream, over all seeds."""
    delays = [delay for outcome in outcomes for delay in outcome.delays]
    found = sorted(delay for delay in delays if delay is not None)
    false, events = sum(each.false for each in outcomes), sum(each.stable_events for each in outcomes)
    low, high = (found[math.floor(0.1 * len(found))], found[math.ceil(0.9 * len(found)) - 1]) if found else (None, None)
    return {
        "stream": stream,
        "kind": kind,
        "policy": policy,
        "seeds": len(outcomes),
        "drifts": len(delays),
        "delay_events": statistics.median(found) if found else None,
        "delay_events_p10": low,
        "delay_events_p90": high,
        "delays": found,
        "missed": len(delays) - len(found),
        "false_alarms": false,
        "stable_events": events,
        "false_per_million": 1e6 * false / events if events else None,
        "false_per_100000": 1e5 * false / events if events else None,
    }


def totals(rows: Sequence[Figures]) -> dict[str, Figures]:
    """False alarms of each policy over all streams of independent rows, with the bound of chance."""
    found: dict[str, Figures] = {}
    for policy in dict.fromkeys(each["policy"] for each in rows):
        own = [each for each in rows if each["policy"] == policy and each["kind"] != CORRELATED]
        false, events = sum(each["false_alarms"] for each in own), sum(each["stable_events"] for each in own)
        found[policy] = {
            "false_alarms": false,
            "stable_events": events,
            "false_per_million": 1e6 * false / events if events else None,
            "false_per_100000": 1e5 * false / events if events else None,
            "missed": sum(each["missed"] for each in own),
            "drifts": sum(each["drifts"] for each in own),
        }
    return found


def best_bare(rows: Sequence[Figures], over_all: Mapping[str, Figures]) -> dict[str, Figures]:
    """For each stream with drifts the row of the best bare detector, by ``BEST_BARE_RULE``, where there is one."""
    found: dict[str, Figures] = {}
    for each in rows:
        policy = each["policy"]
        if policy not in BARE or BARE[policy].inputs or each["delay_events"] is None:
            continue
        rate = over_all[policy]["false_per_million"]
        if rate is None or rate > BARE_FALSE_PER_MILLION_MAX:
            continue
        known = found.get(each["stream"])
        if known is None or _rank(each) < _rank(known):
            found[each["stream"]] = each
    return found


def _rank(each: Figures) -> tuple[float, float]:
    return each["missed"] / each["drifts"], each["delay_events"]


def verdict(rows: Sequence[Figures]) -> Figures:
    """All that follows from the rows: the figures of the promise, and what was broken."""
    over_all, ours = totals(rows), {each["stream"]: each for each in rows if each["policy"] == OURS and each["drifts"]}
    best = best_bare(rows, over_all)
    streams = {
        name: {
            "best_bare": best[name]["policy"] if name in best else None,
            "best_bare_delay_events": best[name]["delay_events"] if name in best else None,
            "best_bare_missed_share": best[name]["missed"] / best[name]["drifts"] if name in best else None,
            "delay_events": own["delay_events"],
            "missed": own["missed"],
            "missed_share": own["missed"] / own["drifts"],
            "delay_ratio": own["delay_events"] / best[name]["delay_events"]
            if name in best and own["delay_events"]
            else None,
        }
        for name, own in ours.items()
    }
    ratios = [each["delay_ratio"] for each in streams.values() if each["delay_ratio"] is not None]
    false = over_all[OURS]["false_per_million"]
    faults = list(_faults(false, streams))
    return {
        "false_retrains_per_million": false,
        "delay_ratio_to_best_bare": max(ratios, default=None),
        "delay_ratio_to_best_bare_mean": statistics.geometric_mean(ratios) if ratios else None,
        "best_bare_rule": BEST_BARE_RULE,
        "promise": {
            "false_retrains_per_million_max": FALSE_PER_MILLION_MAX,
            "delay_ratio_to_best_bare_max": DELAY_RATIO_MAX,
        },
        "streams": streams,
        "ratio_to_each": dict(_ratios(rows, ours)),
        "over_all": over_all,
        "faults": faults,
        "passed": not faults,
    }


def _faults(false: float | None, streams: Mapping[str, Figures]) -> Iterator[str]:
    if false is None or false > FALSE_PER_MILLION_MAX:
        yield f"{false} false retrains per 1,000,000 stable events; promised are {FALSE_PER_MILLION_MAX:g} at most"
    for name, each in streams.items():
        if each["best_bare"] is None:
            continue
        if each["missed_share"] > each["best_bare_missed_share"]:
            yield (
                f"{name}: {100 * each['missed_share']:g} % of the drifts missed, {each['best_bare']} missed "
                f"{100 * each['best_bare_missed_share']:g} %"
            )
        if each["delay_ratio"] is not None and each["delay_ratio"] > DELAY_RATIO_MAX:
            yield (
                f"{name}: a median delay of {each['delay_events']:g} events is {each['delay_ratio']:.2f} times that of "
                f"{each['best_bare']}, {each['best_bare_delay_events']:g}; promised is {DELAY_RATIO_MAX:g} at most"
            )


def _ratios(rows: Sequence[Figures], ours: Mapping[str, Figures]) -> Iterator[tuple[str, Figures]]:
    """Beside each bare detector, where neither missed anything: our median delay as a multiple of its own."""
    for policy in dict.fromkeys(each["policy"] for each in rows if each["policy"] not in {OURS, OUR_WARNINGS}):
        ratios = {
            each["stream"]: ours[each["stream"]]["delay_events"] / each["delay_events"]
            for each in rows
            if each["policy"] == policy and each["drifts"] and not each["missed"] and each["delay_events"]
            if not ours[each["stream"]]["missed"]
        }
        yield (
            policy,
            {
                "streams": len(ratios),
                "mean": statistics.geometric_mean(ratios.values()) if ratios else None,
                "by_stream": ratios,
            },
        )
