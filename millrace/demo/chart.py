"""The picture of a run: rolling accuracy of loop, frozen model and last label, with drifts and deployments. Pure.

SVG by hand: one picture does not need a plotting library. Colours are Okabe and Ito's, told apart with any colour
vision; besides, each line has its own dash and its name at its end. Light or dark is the reader's choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from millrace.demo.ledger import Floats

STYLE = """
.chart{--ink:#1c2430;--soft:#5b6675;--grid:#e3e7ec;--paper:#ffffff;--loop:#0072b2;--frozen:#c04a00;--last:#6b7280;
--alarm:#a3337a;--deploy:#00785a;font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){.chart{--ink:#e8ecf1;--soft:#a3adba;--grid:#2b333d;--paper:#14181d;--loop:#56b4e9;
--frozen:#f0a030;--last:#a3adba;--alarm:#e08fc0;--deploy:#2fc79a}}
.chart .paper{fill:var(--paper)}.chart text{fill:var(--soft)}.chart .grid{stroke:var(--grid);stroke-width:1}
.chart .line{fill:none;stroke-linejoin:round;stroke-width:2}.chart .loop{stroke:var(--loop);stroke-width:2.75}
.chart .frozen{stroke:var(--frozen);stroke-dasharray:8 4}.chart .last{stroke:var(--last);stroke-dasharray:2 3}
.chart text.loop{fill:var(--loop);stroke:none;font-weight:700}.chart text.frozen{fill:var(--frozen);stroke:none}
.chart text.last{fill:var(--last);stroke:none}
.chart .alarm{fill:var(--alarm)}.chart .warning{stroke:var(--alarm);opacity:.35}
.chart .reach{stroke:var(--alarm);stroke-width:1;opacity:.35}.chart .deploy{stroke:var(--deploy);stroke-width:1.25}
.chart text.version{fill:var(--deploy);font-weight:700}.chart text.title{fill:var(--ink);font-weight:700}
"""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a row."""

    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn. The lines are by row of the stream, NaN where there is nothing to draw."""

    title: str
    window: int
    first_row: int
    loop: Floats
    frozen: Floats
    repeat_last: Floats
    alarms: Sequence[Mark]
    warnings: Sequence[Mark]
    deployments: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Size:
    """Measures in pixels. A phone gets a picture of its own: a wide one made small cannot be read."""

    width: int
    height: int
    font: int
    left: int = 48
    right: int = 118
    top: int = 84
    bottom: int = 66
    x_ticks: int = 8


WIDE = Size(1000, 470, 13)
NARROW = Size(380, 400, 12, left=46, right=16, top=112, bottom=62, x_ticks=3)


def draw(picture: Picture, size: Size, css_class: str = "wide") -> str:
    """The picture as an SVG element, its style inside."""
    scale = _Scale.of(picture, size)
    label = f"{picture.title} {len(picture.alarms)} drift alarms, {len(picture.deployments)} deployments."
    body = "\n".join(
        [
            *_axes(picture, scale),
            *_events(picture, scale),
            *_lines(picture, scale),
            *_legend(picture, scale),
        ]
    )
    return (
        f'<svg class="chart {css_class}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {size.height}" '
        f'role="img" aria-label="{escape(label)}" font-size="{size.font}">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{size.width}" height="{size.height}" rx="6"/>\n{body}\n</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    size: Size
    first: int
    last: int
    low: float
    high: float

    @classmethod
    def of(cls, picture: Picture, size: Size) -> "_Scale":
        """Fitted to the lines, rounded to 5 % steps."""
        lines = np.concatenate([picture.loop, picture.frozen, picture.repeat_last])
        drawn = lines[~np.isnan(lines)]
        low, high = (float(drawn.min()), float(drawn.max())) if len(drawn) else (0.5, 1.0)
        low, high = max(0.0, np.floor(low * 20) / 20), min(1.0, np.ceil(high * 20) / 20)
        return cls(size, picture.first_row, max(len(picture.loop), picture.first_row + 1), low, max(high, low + 0.05))

    def x(self, row: float) -> float:
        """Pixels from the left."""
        inner = self.size.width - self.size.left - self.size.right
        return round(self.size.left + inner * (row - self.first) / (self.last - self.first), 1)

    def y(self, share: float) -> float:
        """Pixels from the top."""
        inner = self.size.height - self.size.top - self.size.bottom
        return round(self.size.top + inner * (self.high - share) / (self.high - self.low), 1)

    @property
    def floor(self) -> float:
        """Where the plot ends."""
        return self.size.height - self.size.bottom


def _axes(picture: Picture, scale: _Scale) -> Iterator[str]:
    size = scale.size
    for share in np.arange(scale.low, scale.high + 0.001, 0.05):
        y = scale.y(float(share))
        yield f'<line class="grid" x1="{size.left}" x2="{size.width - size.right}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{size.left - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>'
    step = _round_step((scale.last - scale.first) / size.x_ticks)
    for row in range(-(-scale.first // step) * step, scale.last + 1, step):
        yield f'<text x="{scale.x(row)}" y="{scale.floor + 34}" text-anchor="middle">{row:,}</text>'
    words = f"row of the stream; accuracy over the last {picture.window:,} rows"
    yield f'<text x="{size.left}" y="{size.height - 10}">{words}</text>'


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is at least that large.

    >>> _round_step(4600)
    5000
    """
    power: int = 10 ** int(np.floor(np.log10(max(least, 1))))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least)


def _events(picture: Picture, scale: _Scale) -> Iterator[str]:
    top, floor = scale.size.top, scale.floor
    for mark in picture.warnings:
        x = scale.x(mark.row)
        yield f'<line class="warning" x1="{x}" x2="{x}" y1="{floor + 4}" y2="{floor + 12}">{_title(mark)}</line>'
    for mark in picture.alarms:
        x = scale.x(mark.row)
        yield f'<line class="reach" x1="{x}" x2="{x}" y1="{top}" y2="{floor}"/>'
        yield f'<path class="alarm" d="M{x} {floor + 3}l6 11h-12z">{_title(mark)}</path>'
    ends = [-100.0, -100.0]  # where the last label of each of two rows ends
    for mark in picture.deployments:
        x, width = scale.x(mark.row), 8 * len(mark.text.partition(":")[0]) + 4
        tier = 0 if x - width / 2 >= ends[0] else 1
        y = top - 6 - tier * (scale.size.font + 2)
        yield f'<line class="deploy" x1="{x}" x2="{x}" y1="{y + 3}" y2="{floor}">{_title(mark)}</line>'
        if x - width / 2 >= ends[tier]:
            ends[tier] = x + width / 2
            short = escape(mark.text.partition(":")[0])
            yield f'<text class="version" x="{x}" y="{y}" text-anchor="middle">{short}{_title(mark)}</text>'


def _title(mark: Mark) -> str:
    return f"<title>{escape(mark.text)}</title>"


def _lines(picture: Picture, scale: _Scale) -> Iterator[str]:
    ends = []
    for kind, name, values in _three(picture):  # the frozen line last: where it equals the loop, both show
        rows = np.flatnonzero(~np.isnan(values))
        if not len(rows):
            continue
        rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), scale.size.width)).astype(int)]
        points = " ".join(f"{scale.x(int(row))},{scale.y(float(values[row]))}" for row in rows)
        yield f'<polyline class="line {kind}" points="{points}"/>'
        ends.append((scale.y(float(values[rows[-1]])), kind, name))
    if scale.size is NARROW or not ends:
        return
    for y, (_, kind, name) in zip(_apart(sorted(end[0] for end in ends)), sorted(ends), strict=True):
        yield f'<text class="{kind}" x="{scale.size.width - scale.size.right + 8}" y="{y + 4}">{name}</text>'


def _apart(heights: list[float], least: float = 17) -> list[float]:
    """The same heights, pushed down until no two labels touch.

    >>> _apart([10, 12, 80])
    [10, 27, 80]
    """
    for at in range(1, len(heights)):
        heights[at] = max(heights[at], heights[at - 1] + least)
    return heights


def _three(picture: Picture) -> list[tuple[str, str, Floats]]:
    return [
        ("last", "last label", picture.repeat_last),
        ("loop", "the loop", picture.loop),
        ("frozen", "first model", picture.frozen),
    ]


def _legend(picture: Picture, scale: _Scale) -> Iterator[str]:
    """Title and key; on a phone the key takes two lines."""
    size = scale.size
    yield f'<text class="title" x="12" y="{size.font + 12}" font-size="{size.font + 3}">{escape(picture.title)}</text>'
    narrow = size is NARROW
    last, loop, frozen = _three(picture)
    y, x = size.font + 34, 12
    for kind, name, _ in (loop, frozen, last):
        yield f'<line class="line {kind}" x1="{x}" x2="{x + 26}" y1="{y - 4}" y2="{y - 4}"/>'
        yield f'<text x="{x + 32}" y="{y}">{name}</text>'
        x += 44 + 7 * len(name)
    if narrow:
        y, x = y + 20, 12
    yield f'<path class="alarm" d="M{x + 6} {y - 10}l6 11h-12z"/><text x="{x + 18}" y="{y}">drift alarm</text>'
    x += 102
    yield f'<line class="warning" x1="{x + 6}" x2="{x + 6}" y1="{y - 10}" y2="{y}"/>'
    yield f'<text x="{x + 14}" y="{y}">warning</text>'
    x += 80
    yield f'<line class="deploy" x1="{x + 6}" x2="{x + 6}" y1="{y - 11}" y2="{y + 2}"/>'
    yield f'<text x="{x + 14}" y="{y}">{"deployment" if narrow else "a version takes over"}</text>'
