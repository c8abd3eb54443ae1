"""The picture of the benchmark: for each policy its delays as dots, what it missed, and its false alarms. Pure."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, TOP, ROW, BOTTOM = 1160, 112, 34, 54
LEFT, RIGHT = 190, 700  # of the delays
MISSED_AT, BARS, BARS_END = 790, 830, 1070
DELAYS = (3.0, 10_000.0)
FALSE = (0.01, 100_000.0)  # for 100,000 events; below the first it is drawn as none
KINDS = {  # Okabe and Ito's colours, and a shape of its own for each
    "sudden": ("#0072b2", "M-4.5,-4.5h9v9h-9z"),
    "gradual": ("#d55e00", "M0,-6L5.5,4.5H-5.5Z"),
    "incremental": ("#a3337a", "M0,6L5.5,-4.5H-5.5Z"),
    "recurring": ("#009e73", "M0,-6L6,0L0,6L-6,0Z"),
    "planted": ("#1c2430", "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0"),
}
STYLE = """
.drift{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.drift .paper{fill:#ffffff}.drift text{fill:#5b6675}.drift .title,.drift .name{fill:#1c2430}
.drift .title,.drift .own{font-weight:700}.drift .grid{stroke:#e3e7ec}.drift .band{fill:#eef5fb}
.drift .mean{stroke:#1c2430;stroke-width:2}.drift .bar{fill:#8a95a5}.drift .ours{fill:#0072b2}
.drift .promise{stroke:#a3337a;stroke-dasharray:4 3}.drift .mark{fill-opacity:.75;stroke-width:1.5}
"""


def draw(report: Mapping[str, Any]) -> str:
    """The picture as an SVG document."""
    policies = [name for name, total in report["over_all"].items() if total["stable_events"] and "warnings" not in name]
    height = TOP + ROW * len(policies) + BOTTOM
    ratio, false = report["delay_ratio_to_best_bare"], report["false_retrains_per_million"]
    title = "How soon a drift is seen, and how often there was none"
    about = f"Ours: {false:.2f} false retrains in 1,000,000 stable events" + (
        "" if ratio is None else f", at most {ratio:.2f} times the delay of the best bare detector on any stream"
    )
    body = "\n".join([*_key(), *_grid(height), *_rows(report, policies)])
    return (
        f'<svg class="drift" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}. {about}")}" font-size="12">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f'<text class="title" x="12" y="28" font-size="16">{escape(title)}</text>\n'
        f'<text x="12" y="48">{escape(about)}</text>\n{body}\n</svg>\n'
    )


def place(value: float, limits: tuple[float, float], begin: float, end: float) -> float:
    """Where a value stands on an axis of logarithms; beyond the limits at the edge.

    >>> place(10, (1, 100), 0, 50), place(1000, (1, 100), 0, 50)
    (25.0, 50.0)
    """
    low, high = map(math.log, limits)
    share = (math.log(max(value, limits[0])) - low) / (high - low)
    return round(begin + (end - begin) * min(share, 1.0), 1)


def _key() -> Iterator[str]:
    x = float(LEFT)
    for kind, (colour, shape) in KINDS.items():
        yield f'<path class="mark" d="{shape}" transform="translate({x + 6},70)" fill="{colour}" stroke="{colour}"/>'
        yield f'<text x="{x + 17}" y="74">{kind}</text>'
        x += 36 + 7 * len(kind)
    yield f'<text x="{x}" y="74">hollow: some missed</text>'
    yield f'<line class="mean" x1="{x + 132}" x2="{x + 132}" y1="62" y2="78"/><text x="{x + 140}" y="74">mean</text>'


def _grid(height: int) -> Iterator[str]:
    below = height - BOTTOM
    for value in (3, 10, 30, 100, 300, 1_000, 3_000, 10_000):
        x = place(value, DELAYS, LEFT, RIGHT)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{below}"/>'
        yield f'<text x="{x}" y="{below + 16}" text-anchor="middle">{value:,}</text>'
    yield f'<text x="{LEFT}" y="{below + 36}">delay in events (each mark a stream, median of its drifts)</text>'
    yield f'<text x="{MISSED_AT}" y="{TOP - 14}" text-anchor="end">missed</text>'
    yield f'<text x="{BARS}" y="{TOP - 14}">false alarms in 100,000 stable events</text>'
    for rate in (0.1, 1, 10, 100, 1_000):
        x = place(rate, FALSE, BARS, BARS_END)
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP - 8}" y2="{below}"/>'
        yield f'<text x="{x}" y="{below + 16}" text-anchor="middle">{rate:,g}</text>'
    promise = place(0.1, FALSE, BARS, BARS_END)
    yield f'<line class="promise" x1="{promise}" x2="{promise}" y1="{TOP - 8}" y2="{below}"/>'
    yield f'<text x="{BARS}" y="{below + 36}">dashed: what is promised, 1 in 1,000,000</text>'


def _rows(report: Mapping[str, Any], policies: Sequence[str]) -> Iterator[str]:
    for at, policy in enumerate(policies):
        middle = TOP + ROW * at + ROW // 2
        own = policy == "ours"
        if own:
            yield f'<rect class="band" x="8" y="{middle - ROW // 2}" width="{WIDTH - 16}" height="{ROW}" rx="4"/>'
        weight = " own" if own else ""
        yield f'<text class="name{weight}" x="{LEFT - 16}" y="{middle + 4}" text-anchor="end">{escape(policy)}</text>'
        yield from _delays([row for row in report["rows"] if row["policy"] == policy and row["drifts"]], middle)
        yield from _false(report["over_all"][policy], middle, own=own)


def _delays(rows: Sequence[Mapping[str, Any]], middle: float) -> Iterator[str]:
    found = [row for row in rows if row["delay_events"] is not None]
    for row in found:
        colour, shape = KINDS[row["kind"]]
        x = place(row["delay_events"], DELAYS, LEFT, RIGHT)
        told = f"{row['stream']}: {row['delay_events']:,.0f} events, {row['missed']} of {row['drifts']} missed"
        yield (
            f'<path class="mark" d="{shape}" transform="translate({x},{middle})" stroke="{colour}" '
            f'fill="{"none" if row["missed"] else colour}"><title>{escape(told)}</title></path>'
        )
    if found:
        x = place(statistics.geometric_mean(row["delay_events"] for row in found), DELAYS, LEFT, RIGHT)
        yield f'<line class="mean" x1="{x}" x2="{x}" y1="{middle - 12}" y2="{middle + 12}"/>'
    missed, drifts = sum(row["missed"] for row in rows), sum(row["drifts"] for row in rows)
    yield f'<text x="{MISSED_AT}" y="{middle + 4}" text-anchor="end">{missed:,} of {drifts:,}</text>'


def _false(total: Mapping[str, Any], middle: float, *, own: bool) -> Iterator[str]:
    rate = total["false_per_100000"]
    end = place(rate, FALSE, BARS, BARS_END) if rate > 0 else BARS
    told = f"{total['false_alarms']:,} in {total['stable_events']:,}"
    yield (
        f'<rect class="{"ours" if own else "bar"}" x="{BARS}" y="{middle - 7}" width="{end - BARS:.1f}" height="14">'
        f"<title>{told}</title></rect>"
    )
    yield f'<text class="name" x="{end + 6}" y="{middle + 4}">{number(rate)}</text>'


def number(rate: float) -> str:
    """A rate with two digits that count.

    >>> number(0), number(0.021), number(3.456), number(812.3)
    ('0', '0.021', '3.5', '812')
    """
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"
