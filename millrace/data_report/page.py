"""The report as one self-contained page that needs no script, no font and no file but itself. Pure."""

import re
from collections.abc import Iterator
from html import escape

from millrace.data_report import draw, sections
from millrace.data_report.cards import CSS, card, is_missing_more
from millrace.data_report.findings import LABEL_ALONE
from millrace.data_report.psi import MOVED, MOVED_FAR
from millrace.data_report.report import FieldReport, Finding, Report, WindowName
from millrace.data_report.style import CSS as STYLE
from millrace.data_report.words import anchor, share, table, time

MARKS = {"bad": "✗", "warn": "▲", "note": "•", "good": "✓"}
SAID = {"bad": "bad", "warn": "look at this", "note": "note", "good": "good"}
NAMES: tuple[WindowName, ...] = ("new", "previous", "training")
FINDINGS_OPEN = 8
HOW = f"""
<p><b>PSI</b> is the population stability index (Lewis 1994; Siddiqi 2006) over the deciles of the rows that
are compared with, or over single values and texts. By custom {MOVED} is worth a look (moved) and {MOVED_FAR} is a shift
(moved far); that is said only where it also exceeds what comes <b>by chance</b>, but for one time in 10,000, with so
few rows (Yurdakul and Naranjo 2020). Rows of a time series depend on one another: moving from one week to the next may
be the season, and no fault.</p>
<p><b>JS</b> is the Jensen-Shannon distance over the same bins, from 0 (equal) to 1 (nothing in common; Lin 1991, Endres
and Schindelin 2003). <b>W / sd</b> is the Wasserstein distance: how far a value moved on average, in standard
deviations of the rows that are compared with. <b>χ² chance</b> is how likely such texts are if nothing changed (Pearson
1900). Pictures show the middle 99 % of the values; what lies beyond is in the outermost bars.</p>
"""


def render(report: Report) -> str:
    """The whole page."""
    fields = sorted(report.fields, key=_worst_first)
    parts = [
        f"<h1>{_headline(report)}</h1>",
        f'<p class="soft">{_what(report)}</p>',
        _findings(report),
        _figures(report),
        _key(report),
        "<h2>Every field and feature at a glance</h2>",
        _glance(fields),
        *sections.windows(report),
        *sections.refusals(report),
        "<h2>Distributions</h2>",
        f'<div class="cards">{"".join(map(card, fields))}</div>',
        *sections.pairs(report),
        "<h2>How it is measured</h2>",
        HOW,
        "<h2>What this is a report of</h2>",
        table(("what", "value"), _identity(report), ("", "id")),
    ]
    body = "\n".join(parts)
    title = escape(f"Data of {report.snapshot_id}")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Millrace: {title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


# ---- the ten seconds ------------------------------------------------------------------------------------------------


def _headline(report: Report) -> str:
    bad = sum(one.weight == "bad" for one in report.findings)
    warn = sum(one.weight == "warn" for one in report.findings)
    rows = f"{report.new_rows:,} new rows of {escape(report.stream)}"
    if bad:
        more = f", and {warn} to look at" if warn else ""
        return f'{rows}: <span class="bad">{bad} {"thing is" if bad == 1 else "things are"} bad</span>{more}'
    if warn:
        return f'{rows}: <span class="warn">{warn} {"thing" if warn == 1 else "things"} to look at</span>'
    return f'{rows}: <span class="good">nothing stands out</span>'


def _what(report: Report) -> str:
    new = report.windows["new"]
    served = "No version served yet." if report.version is None else f"Version {report.version} served."
    before = f"since {escape(report.previous_id)}" if report.previous_id else "the first of its partition"
    return (
        f"Snapshot {escape(report.snapshot_id)}, {before}. Event times {time(new.from_time_ms)} to "
        f"{time(new.until_time_ms)} UTC. {served}"
    )


def _findings(report: Report) -> str:
    cards = frozenset(one.name for one in report.fields)
    items = [_finding(one, cards) for one in report.findings]
    rest = items[FINDINGS_OPEN:]
    inner = f'<ul class="findings">{"".join(rest)}</ul>'
    folded = f"<details><summary>{len(rest)} more</summary>{inner}</details>"
    return f'<ul class="findings">{"".join(items[:FINDINGS_OPEN])}</ul>{folded if rest else ""}'


def _finding(one: Finding, cards: frozenset[str]) -> str:
    text = _linked(one.text, one.field) if one.field in cards and one.field else escape(one.text)
    return f'<li class="{one.weight}"><b title="{SAID[one.weight]}">{MARKS[one.weight]}</b><span>{text}</span></li>'


def _linked(text: str, name: str) -> str:
    """The sentence, with the field's name in it as a link: where it stands in quotes, else where it is a word."""
    place = text.find(repr(name)) + 1 if repr(name) == f"'{name}'" else 0
    if not place:
        found = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)
        if found is None:
            return escape(text)
        place = found.start()
    before, after = text[:place], text[place + len(name) :]
    return f'{escape(before)}<a href="#{anchor(name)}">{escape(name)}</a>{escape(after)}'


def _figures(report: Report) -> str:
    labels = sum(one.count for one in report.letters if one.reason == LABEL_ALONE)
    refused = report.refused - labels
    refusals = f"{share(refused / (report.new_rows + refused))}, and {labels:,} labels" if refused else "none"
    flagged = sum(one.count for one in report.flags)
    judged = [one for one in report.judged if one.is_new]
    against = "training" if "training" in report.windows else "previous"
    drifts = [drift for one in report.fields if (drift := one.drift(against))]
    moved = sum(drift.verdict != "stable" for drift in drifts)
    cells = [
        ("new rows", f"{report.new_rows:,}", f"{report.labelled_rows:,} labelled in all"),
        ("refused", f"{refused:,}", refusals),
        ("flags", f"{flagged:,}", f"{len(report.flags)} kinds"),
        ("windows judged bad", f"{len(judged)}", f"{sum(one.vetoes for one in judged)} kept out of training"),
        ("moved from training" if against == "training" else "moved", f"{moved}", f"of {len(drifts)} compared"),
    ]
    inner = "".join(f"<div><dt>{name}</dt><dd>{value} <small>{more}</small></dd></div>" for name, value, more in cells)
    return f'<dl class="figures">{inner}</dl>'


def _key(report: Report) -> str:
    words = {
        "new": "new rows",
        "previous": f"previous rows ({escape(report.previous_id or '')})",
        "training": f"training rows of version {report.version}",
    }
    inner = "".join(
        f"<span>{draw.key(name)}{words[name]}: {report.windows[name].rows:,}</span>"
        for name in NAMES
        if name in report.windows
    )
    return f'<div class="key">{inner}</div>'


# ---- all fields -----------------------------------------------------------------------------------------------------


def _worst_first(field: FieldReport) -> tuple[bool, bool, bool, float, str]:
    return (not field.unseen, not is_missing_more(field), not field.violated, -field.score, field.name)


def _glance(fields: list[FieldReport]) -> str:
    rows = (
        [
            f'<a href="#{anchor(one.name)}">{escape(one.name)}</a>',
            f'<span class="quiet">{one.role}</span>',
            draw.drift_bar(one, "training"),
            draw.drift_bar(one, "previous"),
            _distance(one),
            _missing(one),
            f'<b class="bad">{one.violated:,}</b>' if one.violated else '<span class="quiet">0</span>',
        ]
        for one in fields
    )
    head = (
        "name", "what", "PSI against training", "PSI against previous", "JS", "missing",
        "refused or flagged",
    )  # fmt: skip
    return f'<div class="glance">{table(head, rows, ("", "role", "bar", "bar", "n", "n", "n"))}</div>'


def _distance(field: FieldReport) -> str:
    drift = field.drift("training") or field.drift("previous")
    return "-" if drift is None else f'<span class="quiet {CSS[drift.verdict]}">{drift.jensen_shannon:.2f}</span>'


def _missing(field: FieldReport) -> str:
    new, training = field.windows["new"], field.windows.get("training")
    now, then = share(new.missing_share), share(training.missing_share) if training else "-"
    if is_missing_more(field):
        return f'<b class="bad">{now}</b> <small>({then} in training)</small>'
    return f'<span class="quiet">{now}</span>'


# ---- where it came from ---------------------------------------------------------------------------------------------


def _identity(report: Report) -> Iterator[list[str]]:
    yield ["stream, partition", escape(f"{report.stream}, {report.partition}")]
    yield ["snapshot", escape(report.snapshot_id)]
    yield ["content sha256", escape(report.content_sha256 or "-")]
    yield ["feature set", escape(report.feature_set)]
    yield ["rows, labelled", f"{report.rows:,}, {report.labelled_rows:,} since the stream began"]
    yield ["event times", f"{time(report.from_time_ms)} to {time(report.until_time_ms)} UTC"]
    yield ["taken", f"{time(report.taken_at_ms)} UTC"]
    yield ["lake", escape(f"{report.lake_uri or 'none'}, table version {report.table_version}")]
    if report.version is not None:
        yield ["version, run", escape(f"{report.version}, {report.run_id}")]
        yield ["expectations", escape(report.expectations_id or "-")]
    for name in NAMES:
        if name in report.windows:
            one = report.windows[name]
            offsets = f"offsets {one.from_offset:,} to {one.until_offset:,}"
            yield [f"{name} rows", f"{offsets}, {one.rows:,} events, numbers of {one.sampled:,}"]
    for note in report.notes:
        yield ["note", escape(note)]
