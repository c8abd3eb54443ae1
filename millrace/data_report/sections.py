"""Sections of the page that are tables: judged windows, refusals, flags, correlations. Pure."""

from collections.abc import Iterator
from html import escape

from millrace.data_report import timeline
from millrace.data_report.report import Flags, Letters, Report
from millrace.data_report.words import number, table


def windows(report: Report) -> Iterator[str]:
    """The windows that were judged bad, as a picture and as a table."""
    yield "<h2>Windows judged bad</h2>"
    if not report.judged:
        yield '<p class="soft">None among the previous and the new rows.</p>'
        return
    yield (
        "<p>Red is an alarm, amber a warning; hatched rows are kept out of training. Every window of events is "
        "compared with what the serving version was trained on.</p>"
    )
    yield timeline.draw(report, timeline.WIDE)
    yield timeline.draw(report, timeline.NARROW)
    head = ("event time", "check", "subject", "severity", "training", "what was seen")
    yield f"<details><summary>as a table</summary>{table(head, timeline.rows(report.judged), [''] * 6)}</details>"


def refusals(report: Report) -> Iterator[str]:
    """What was refused and what was flagged, by reason and field."""
    yield "<h2>Refused and flagged</h2>"
    if report.letters:
        rows = (
            [
                f"<b>{escape(one.reason)}</b>", escape(one.field or "-"), f"{one.count:,}", escape(one.topic),
                _places(one), escape(one.message),
            ]
            for one in report.letters
        )  # fmt: skip
        head = ("reason", "field", "count", "came from", "dead letters", "for example")
        yield table(head, rows, ("", "", "n", "", "id", "words"))
    else:
        yield '<p class="soft">No record of this stretch of the stream was refused.</p>'
    if report.letters_left_out:
        yield f"<p>{report.letters_left_out:,} more of other kinds are not listed.</p>"
    if report.flags:
        rows = (
            [
                f"<b>{escape(one.reason)}</b>", escape(one.field or "-"), f"{one.count:,}",
                _places(one),
            ]
            for one in report.flags
        )  # fmt: skip
        yield "<p>Flagged rows are scored, and never trained on.</p>"
        yield table(("flag", "field", "count", "samples"), rows, ("", "", "n", "id"))


def _places(one: Letters | Flags) -> str:
    """The first and the last, as partition/offset: so ``millrace dead-letters show`` takes them."""
    first, last = ("/".join(place.split("/")[-2:]) for place in (one.first_place, one.last_place))
    return escape(first if first == last else f"{first} … {last}")


def pairs(report: Report) -> Iterator[str]:
    """The correlations that training had, and whether they hold."""
    if not report.pairs:
        return
    yield "<h2>Fields that moved together in training</h2>"
    rows = (
        [
            f"{escape(one.first)}, {escape(one.second)}", f"{one.learned:.2f}", number(one.seen and round(one.seen, 2)),
            '<b class="bad">broke</b>' if one.broke else "holds" if one.seen is not None else "too few rows",
        ]
        for one in report.pairs
    )  # fmt: skip
    yield table(("fields", "correlation in training", "now", ""), rows, ("", "n", "n", ""))
