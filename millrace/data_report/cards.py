"""A field of the page: its pictures, and below them the same in figures. Pure."""

from collections.abc import Iterator
from html import escape

from millrace.data_report import draw
from millrace.data_report.compare import QUANTILES
from millrace.data_report.report import Drift, FieldReport, WindowName
from millrace.data_report.words import anchor, number, share, table

NAMES: tuple[WindowName, ...] = ("new", "previous", "training")
CSS = {"stable": "good", "moved": "warn", "moved far": "bad"}
SMALLEST_CHANCE = 1e-4
MISSING_RISE = 0.01  # as in findings.py: what is worth a colour


def card(field: FieldReport) -> str:
    """The card of one field."""
    distribution, trend = draw.distribution(field), draw.trend(field)
    if trend:
        trend = f'<p class="soft">mean over time, {_span(field)}</p>{trend}'
    note = f'<p class="soft">{escape(field.note)}</p>' if field.note else ""
    if not distribution and not note:
        note = '<p class="soft">no value in any of these rows</p>'
    return (
        f'<article id="{anchor(field.name)}"><header><h3>{escape(field.name)}</h3><small>{field.role}</small>'
        f"{''.join(_tags(field))}</header>{distribution}{note}{trend}{_drift_table(field)}{_figures(field)}</article>"
    )


def _span(field: FieldReport) -> str:
    seen = [value for value in field.trend if value is not None]
    low, high = number(min(seen)), number(max(seen))
    return low if low == high else f"{low} to {high}"


def _tags(field: FieldReport) -> Iterator[str]:
    """What is wrong with it, each in a word."""
    drift = field.drift("training") or field.drift("previous")
    if drift is not None:
        yield f'<span class="tag {CSS[drift.verdict]}">{drift.verdict}</span>'
    if is_missing_more(field):
        yield f'<span class="tag bad">{share(field.windows["new"].missing_share)} missing</span>'
    if field.unseen:
        yield '<span class="tag bad">unseen texts</span>'
    if field.violated:
        yield f'<span class="tag bad">{field.violated:,} refused or flagged</span>'


def is_missing_more(field: FieldReport) -> bool:
    """Whether clearly more rows miss it than of those that it is compared with."""
    other = field.windows.get("training") or field.windows.get("previous")
    new = field.windows["new"]
    return other is not None and new.missing_share - other.missing_share >= MISSING_RISE


def _drift_table(field: FieldReport) -> str:
    """How far the new rows are from the others; the words of its head are explained below on the page."""
    if not field.drifts:
        return ""
    last = "χ² chance" if field.kind == "TEXT" else "W / sd"
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in ("PSI", "by chance", "JS", last))
    return (
        f'<table class="drift"><thead><tr><th scope="col">against</th>{head}</tr></thead><tbody>'
        f"{''.join(map(_drift_row, field.drifts))}</tbody></table>"
    )


def _drift_row(one: Drift) -> str:
    last = number(one.wasserstein_spreads)
    if one.chance is not None:
        last = number(one.chance) if one.chance >= SMALLEST_CHANCE else "&lt;0.0001"
    cells = (
        f'<b class="{CSS[one.verdict]}">{one.psi:.3f}</b>',
        f"{one.psi_noise:.3f}",
        f"{one.jensen_shannon:.2f}",
        last,
    )
    return f'<tr><th scope="row">{one.against}</th>' + "".join(f'<td class="n">{cell}</td>' for cell in cells) + "</tr>"


def _figures(field: FieldReport) -> str:
    """The tables behind the pictures, folded."""
    names = [name for name in NAMES if name in field.windows]
    rows = [
        ["rows", *(f"{field.windows[name].rows:,}" for name in names)],
        ["missing", *(share(field.windows[name].missing_share) for name in names)],
        *_number_rows(field, names),
        *_text_rows(field, names),
    ]
    head = "".join(f'<th scope="col" class="n">{name}</th>' for name in names)
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>' + "".join(f'<td class="n">{cell}</td>' for cell in row[1:]) + "</tr>"
        for row in rows
    )
    violations = ""
    if field.violations:
        cells = ([escape(one.name), f"{one.count:,}"] for one in field.violations)
        violations = table(("refused or flagged", "count"), cells, ("", "n"))
    return (
        '<details><summary>figures</summary><div class="table"><table><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{body}</tbody></table></div>{violations}</details>"
    )


def _number_rows(field: FieldReport, names: list[WindowName]) -> Iterator[list[str]]:
    numbers = {name: field.windows[name].numbers for name in names}
    if not any(numbers.values()):
        return
    yield ["mean", *(number(one.mean if one else None) for one in numbers.values())]
    yield ["std", *(number(one.std if one else None) for one in numbers.values())]
    yield ["min", *(number(one.min if one else None) for one in numbers.values())]
    for place, level in enumerate(QUANTILES):
        yield [f"{level:.0%}", *(number(one.quantiles[place] if one else None) for one in numbers.values())]
    yield ["max", *(number(one.max if one else None) for one in numbers.values())]


def _text_rows(field: FieldReport, names: list[WindowName]) -> Iterator[list[str]]:
    texts = [*field.bars.texts, *([f"{field.bars.others} others"] if field.bars.others else [])]
    for place, text in enumerate(texts):
        label = escape(text)
        if place in field.bars.unseen:
            label = f'<b class="bad">{label}</b> (unseen)'
        cells = (field.windows[name].shares for name in names)
        yield [label, *(share(shares[place]) if shares else "-" for shares in cells)]
