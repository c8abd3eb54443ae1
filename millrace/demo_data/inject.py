"""What the demo sends: rows of a clean file, with five faults in known places. Pure.

Half-hours come from two feeds in turn, A and B. A fault is a deploy gone wrong somewhere upstream, so good rows go on
between the bad ones wherever that can be:

- ``unit_change``: feed B sends the demand in megawatts instead of a share of the largest.
- ``new_category``: a third feed, C, takes over every third half-hour.
- ``missing_burst``: for a while nobody sends the demand of Victoria.
- ``duplicated_hour``: now and then two half-hours are sent once more, in turn with their ids and with new ones.
- ``schema_change``: feed B drops a field (the registry takes that: it has a default), and now and then feed A writes
  against another schema registry, so that nobody here knows its schema's id.

The label of each event is sent with it, whatever is wrong with the event: the truth does not know about feeds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from millrace.demo.dataset import Row

Fault = Literal["unit_change", "new_category", "missing_burst", "duplicated_hour", "schema_change"]
Writing = Literal["current", "dropped", "unknown"]
FEED, FEEDS, NEW_FEED = "feed", ("A", "B"), "C"
DEMAND, BURST, DROPPED = "nswdemand", "vicdemand", "transfer"
SMALLEST_MW, LARGEST_MW = 4_500.0, 12_500.0
HOUR_EVERY = 40  # rows of the stretch between two hours that are sent again
UNKNOWN_EVERY = 26  # even, so that it is always feed A's turn
WHERE: Mapping[Fault, tuple[float, float]] = {
    "unit_change": (0.10, 0.1625),
    "new_category": (0.275, 0.3375),
    "missing_burst": (0.475, 0.49375),
    "duplicated_hour": (0.625, 0.685),
    "schema_change": (0.775, 0.8375),
}
"""Each fault's stretch, as shares of the rows in which there are faults."""


@dataclass(frozen=True, slots=True)
class Sending:
    """One event and its label. ``fault`` is None for a good one; ``writing`` says with which schema it is written."""

    row: int
    event_id: str
    entity: str
    event: Mapping[str, Any]
    label: float | str | None
    label_time_ms: int
    fault: Fault | None = None
    writing: Writing = "current"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which fault stands where: rows from ``start`` up to ``stop`` of the file have faults, in ``stretches``."""

    start: int
    stop: int
    stretches: Mapping[Fault, range]

    @classmethod
    def of(cls, start: int, stop: int) -> "Plan":
        """The five faults spread over these rows.

        >>> Plan.of(6_000, 14_000).stretches["missing_burst"]
        range(9800, 9950)
        """
        rows = stop - start
        found = {
            fault: range(start + 2 * round(rows * low / 2), start + 2 * round(rows * high / 2))
            for fault, (low, high) in WHERE.items()
        }
        return cls(start, stop, found)

    def fault_at(self, row: int) -> Fault | None:
        """The fault in whose stretch the row lies."""
        return next((fault for fault, rows in self.stretches.items() if row in rows), None)

    def sendings(self, rows: Iterable[Row]) -> Iterator[Sending]:
        """Everything that is sent for these rows of the file, in order. Rows are numbered as in the file."""
        before: Sending | None = None
        for row in rows:
            good = clean(row)
            fault = self.fault_at(row.number)
            if fault is None:
                yield good
            elif fault == "duplicated_hour":
                yield good
                yield from _again(row.number - self.stretches[fault].start, before, good)
            else:
                yield spoiled(good, fault, row.number - self.stretches[fault].start)
            before = good


def clean(row: Row) -> Sending:
    """The row as it should be."""
    event = {**row.event, FEED: FEEDS[row.number % len(FEEDS)]}
    return Sending(row.number, row.event_id, row.entity, event, row.label, row.label_time_ms)


def spoiled(good: Sending, fault: Fault, at: int) -> Sending:
    """The row as the fault makes it, ``at`` rows behind the fault's beginning; many stay as they are."""
    second_feed = good.event[FEED] == FEEDS[1]
    if fault == "unit_change" and second_feed:
        share = good.event[DEMAND]
        return _bad(good, fault, **{DEMAND: SMALLEST_MW + share * (LARGEST_MW - SMALLEST_MW)})
    if fault == "new_category" and at % 3 == 0:
        return _bad(good, fault, **{FEED: NEW_FEED})
    if fault == "missing_burst":
        return _bad(good, fault, **{BURST: None})
    if fault == "schema_change" and second_feed:
        kept = {name: value for name, value in good.event.items() if name != DROPPED}
        return replace(good, event=kept, fault=fault, writing="dropped")
    if fault == "schema_change" and at % UNKNOWN_EVERY == 0:
        return replace(good, fault=fault, writing="unknown")
    return good


def _bad(good: Sending, fault: Fault, **changes: Any) -> Sending:
    return replace(good, event={**good.event, **changes}, fault=fault)


def _again(at: int, before: Sending | None, good: Sending) -> Iterator[Sending]:
    """The hour that ends with this row once more, every ``HOUR_EVERY`` rows."""
    if before is None or at % HOUR_EVERY != 1:
        return
    new_ids = at // HOUR_EVERY % 2 == 1
    for one in (before, good):
        repeated = replace(one, fault="duplicated_hour")
        if new_ids:
            event_id = f"again-{one.event_id}"
            event = {name: event_id if value == one.event_id else value for name, value in one.event.items()}
            repeated = replace(repeated, event_id=event_id, event=event)
        yield repeated
