"""What there is to see in a run of the demo: fates as lanes and bars. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from millrace.demo_data.chart import Bar, Lane, Mark, Picture, Window
from millrace.demo_data.checks import WORDS
from millrace.demo_data.inject import Fault, Plan
from millrace.demo_data.ledger import Fate
from millrace.demo_data.report import DataReport

BAR_ROWS = 50
BEFORE_ROWS, AFTER_ROWS = 500, 1_000  # of the stream around the faults
WHAT: Mapping[Fault, str] = {
    "unit_change": "one of two feeds sends the demand in megawatts",
    "new_category": "a feed that training never saw",
    "missing_burst": "nobody sends Victoria's demand",
    "duplicated_hour": "two half-hours once more, with old or new ids",
    "schema_change": "one feed drops a field, another's schema is unknown",
}


def picture(report: DataReport, found: Sequence[Fate], plan: Plan) -> Picture:
    """The stream around the faults."""
    last = max((one.sending.row for one in found), default=plan.stop) + 1
    rows = range(max(0, plan.start - BEFORE_ROWS), min(plan.stop + AFTER_ROWS, last))
    around = [one for one in found if one.sending.row in rows]
    good = [one for one in around if one.sending.fault is None]
    refused = sum(one.caught_by is not None for one in good)
    lanes = [
        Lane("good events", "go on between the bad ones", "", f"{len(good):,}, {refused} refused", _bars(good, rows))
    ]
    for fault, stretch in plan.stretches.items():
        figures = report.faults[fault]
        bars = _bars((one for one in around if one.sending.fault == fault), rows)
        by = " + ".join(_short(reason) for reason in figures.caught_by)
        result = f"{figures.caught} of {figures.injected}"
        lanes.append(Lane(WORDS[fault], WHAT[fault], by, result, bars, stretch))
    windows = [
        Window(
            range(max(one.from_row, rows.start), min(one.until_row, rows.stop)),
            one.vetoes,
            f"{one.check}: {one.message}",
        )
        for one in report.judgements
        if one.from_row < rows.stop and one.until_row > rows.start
    ]
    vetoes = sum(one.vetoes for one in report.judgements)
    asked = [Mark(plan.stop, "retrain asked for")] if report.retrain_request and plan.stop in rows else []
    marks = asked + [
        Mark(one.from_row, f"version {one.version} serves") for one in report.serving if one.from_row in rows
    ]
    return Picture(
        title="Every bad record, and what caught it",
        rows=rows,
        bar_rows=BAR_ROWS,
        lanes=lanes,
        windows=windows,
        judged=f"{len(report.judgements)} alarms, {vetoes} vetoes",
        marks=marks,
    )


def _bars(fates: Iterable[Fate], rows: range) -> list[Bar]:
    bins: dict[int, Counter[str]] = defaultdict(Counter)
    by: dict[int, Counter[str]] = defaultdict(Counter)
    for one in fates:
        start = one.sending.row // BAR_ROWS * BAR_ROWS
        bins[start][_kind(one)] += 1
        if one.caught_by:
            by[start][one.caught_by] += 1
    return [
        Bar(
            max(row, rows.start),
            (kinds["good"], kinds["rejected"], kinds["flagged"], kinds["missed"]),
            _text(row, kinds, by[row]),
        )
        for row, kinds in sorted(bins.items())
    ]


def _kind(one: Fate) -> str:
    if one.sending.fault is None:
        return "missed" if one.caught_by else "good"
    if one.refused:
        return "rejected"
    return "flagged" if one.flags else "missed"


def _text(row: int, kinds: Counter[str], by: Counter[str]) -> str:
    reasons = ", ".join(f"{count} {reason}" for reason, count in by.most_common()) or "nothing caught"
    if set(kinds) == {"good"}:
        reasons = "all good"
    return f"rows {row:,} to {row + BAR_ROWS - 1:,}: {sum(kinds.values())} events, {reasons}"


def _short(reason: str) -> str:
    """A flag without the field that it is about."""
    return reason.partition(":")[0]
