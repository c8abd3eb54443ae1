"""The picture: the stream over time, what was wrong with it, and what caught each record. Pure.

One lane for the good events, one for each fault, one for the windows that were judged. A bar is a few rows of the
stream; its height is how many events. SVG by hand, colours as in ``millrace/demo/chart.py``: told apart with any colour
vision, and besides each lane says in words what caught its events. Light or dark is the reader's choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
.trust{--ink:#1c2430;--soft:#5b6675;--grid:#e3e7ec;--paper:#ffffff;--good:#9fb3c8;--rejected:#0072b2;--flagged:#d98200;
--missed:#c1121f;--veto:#a3337a;--mark:#00785a;font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){.trust{--ink:#e8ecf1;--soft:#a3adba;--grid:#2b333d;--paper:#14181d;--good:#5d7185;
--rejected:#56b4e9;--flagged:#f0a030;--missed:#ff6b6b;--veto:#e08fc0;--mark:#2fc79a}}
.trust .paper{fill:var(--paper)}.trust text{fill:var(--soft);stroke:var(--paper);
stroke-width:4;stroke-linejoin:round;paint-order:stroke}.trust .name{fill:var(--ink);font-weight:700}
.trust .title{fill:var(--ink);font-weight:700}.trust .grid{stroke:var(--grid);stroke-width:1}
.trust .stretch{fill:var(--grid);opacity:.55}.trust .good{fill:var(--good)}.trust .rejected{fill:var(--rejected)}
.trust .flagged{fill:var(--flagged)}.trust .missed{fill:var(--missed)}.trust .veto{fill:var(--veto)}
.trust .told{fill:none;stroke:var(--veto);stroke-width:1.5}
.trust .mark{stroke:var(--mark);stroke-width:1.25;stroke-dasharray:4 3}
.trust text.mark{fill:var(--mark);stroke:var(--paper);stroke-width:4;stroke-dasharray:none;font-weight:700}
.trust .count{fill:var(--ink);font-variant-numeric:tabular-nums}
"""
KINDS = ("good", "rejected", "flagged", "missed")


@dataclass(frozen=True, slots=True)
class Bar:
    """``counts`` of good, rejected, flagged and missed events from ``row`` on; ``text`` says it in words."""

    row: int
    counts: tuple[int, int, int, int]
    text: str


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of the picture. ``by`` is what caught its events, ``stretch`` the rows in which the fault stands."""

    name: str
    what: str
    by: str
    result: str
    bars: Sequence[Bar]
    stretch: range | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """Rows that were judged together; ``vetoes`` whether they are kept out of training."""

    rows: range
    vetoes: bool
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a row."""

    row: int
    text: str


@dataclass(frozen=True, slots=True)
class Picture:
    """What is drawn, from the first to the last row."""

    title: str
    rows: range
    bar_rows: int
    lanes: Sequence[Lane]
    windows: Sequence[Window]
    judged: str
    marks: Sequence[Mark]


@dataclass(frozen=True, slots=True)
class Size:
    """Measures in pixels. A phone gets a picture of its own: a wide one made small cannot be read."""

    width: int
    font: int
    bar: int = 32
    lane: int = 66
    top: int = 104
    side: int = 14
    x_ticks: int = 9


WIDE = Size(1000, 13)
NARROW = Size(380, 12, bar=28, lane=90, top=140, x_ticks=3)


def draw(picture: Picture, size: Size, css_class: str = "wide") -> str:
    """The picture as an SVG element, its style inside."""
    scale = _Scale(picture.rows, size, len(picture.lanes) + 1)
    body = "\n".join(
        [
            *_axis(scale),
            *_marks(picture, scale),
            *(part for at, lane in enumerate(picture.lanes) for part in _lane(lane, at, picture, scale)),
            *_windows(picture, scale),
            *_legend(picture, scale),
        ]
    )
    label = f"{picture.title} " + " ".join(f"{lane.name}: {lane.result}." for lane in picture.lanes)
    return (
        f'<svg class="trust {css_class}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {scale.height}" '
        f'role="img" aria-label="{escape(label)}" font-size="{size.font}">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{size.width}" height="{scale.height}" rx="6"/>\n{body}\n</svg>'
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    rows: range
    size: Size
    lanes: int

    @property
    def floor(self) -> int:
        """Where the lanes end."""
        return self.size.top + self.lanes * self.size.lane

    @property
    def height(self) -> int:
        """Of the whole picture."""
        return self.floor + 46

    @property
    def is_narrow(self) -> bool:
        """Whether this is the picture for a phone."""
        return self.size is NARROW

    def x(self, row: float) -> float:
        """Pixels from the left."""
        inner = self.size.width - 2 * self.size.side
        return round(self.size.side + inner * (row - self.rows.start) / max(len(self.rows), 1), 1)

    def bottom(self, lane: int) -> int:
        """Pixels from the top to the foot of a lane's bars."""
        return self.size.top + (lane + 1) * self.size.lane - 8


def _axis(scale: _Scale) -> Iterator[str]:
    size = scale.size
    for lane in range(scale.lanes):
        y = scale.bottom(lane)
        yield f'<line class="grid" x1="{size.side}" x2="{size.width - size.side}" y1="{y}" y2="{y}"/>'
    step = _round_step(len(scale.rows) / size.x_ticks)
    for row in range(-(-scale.rows.start // step) * step, scale.rows.stop + 1, step):
        x = scale.x(row)
        anchor = "end" if x > size.width - 30 else "start" if x < 30 else "middle"
        yield f'<text x="{x}" y="{scale.floor + 14}" text-anchor="{anchor}">{row:,}</text>'
    yield f'<text x="{size.side}" y="{scale.height - 10}">row of the stream</text>'


def _round_step(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is at least that large.

    >>> _round_step(1100)
    2000
    """
    power = 1
    while 10 * power <= least:
        power *= 10
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least)


def _lane(lane: Lane, at: int, picture: Picture, scale: _Scale) -> Iterator[str]:
    size, bottom = scale.size, scale.bottom(at)
    yield from _words((lane.name, lane.what, lane.by, lane.result), bottom, scale)
    if lane.stretch is not None:
        left, right = scale.x(lane.stretch.start), scale.x(lane.stretch.stop)
        yield _box("stretch", left, bottom - size.bar, right - left, size.bar)
    width = max(1.5, scale.x(picture.bar_rows) - scale.x(0) - 0.6)
    for bar in lane.bars:
        y: float = bottom
        parts = []
        for kind, count in zip(KINDS, bar.counts, strict=True):
            if count:
                height = max(3.0, size.bar * min(1.0, count / picture.bar_rows))
                y -= height
                parts.append(_box(kind, scale.x(bar.row), y, width, height))
        yield f"<g><title>{escape(bar.text)}</title>{''.join(parts)}</g>"


def _box(kind: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{kind}" x="{x}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _words(words: tuple[str, str, str, str], bottom: int, scale: _Scale) -> Iterator[str]:
    """A lane's name, what it is about, what caught its events, and how many; on a phone in two lines."""
    name, what, by, result = map(escape, words)
    left, right, y = scale.size.side, scale.size.width - scale.size.side, bottom - scale.size.bar - 8
    if scale.is_narrow:
        yield f'<text x="{left}" y="{y}" font-size="{scale.size.font - 1}">{by or what}</text>'
        y -= scale.size.font + 2
        yield f'<text class="name" x="{left}" y="{y}">{name}</text>'
        yield f'<text class="count" x="{right}" y="{y}" text-anchor="end">{result}</text>'
        return
    yield f'<text x="{left}" y="{y}"><tspan class="name">{name}</tspan><tspan dx="8">{what}</tspan></text>'
    both = ": ".join(part for part in (by, result) if part)
    yield f'<text class="count" x="{right}" y="{y}" text-anchor="end">{both}</text>'


def _windows(picture: Picture, scale: _Scale) -> Iterator[str]:
    at = len(picture.lanes)
    bottom, size = scale.bottom(at), scale.size
    yield from _words(("whole windows judged", "a ring: the schema itself", "", picture.judged), bottom, scale)
    for number, window in enumerate(picture.windows):
        left, right = scale.x(window.rows.start), scale.x(window.rows.stop)
        y = bottom - 10 - 12 * (number % 2)
        title = f"<title>{escape(window.text)}</title>"
        if window.vetoes:
            yield f"<g>{title}{_box('veto', left, y, max(right - left, 2), 8)}</g>"
        else:
            yield f'<circle class="told" cx="{left}" cy="{bottom - size.bar + 4}" r="4">{title}</circle>'


def _marks(picture: Picture, scale: _Scale) -> Iterator[str]:
    size = scale.size
    for tier, mark in enumerate(picture.marks):
        x, y = scale.x(mark.row), size.top - 4 - (tier % 2) * (size.font + 3)
        anchor = "start" if x < size.width / 2 else "end"
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{y + 4}" y2="{scale.floor - 8}"/>'
        yield f'<text class="mark" x="{x}" y="{y}" text-anchor="{anchor}">{escape(mark.text)}</text>'


def _legend(picture: Picture, scale: _Scale) -> Iterator[str]:
    """Title and key; on a phone the key takes two lines."""
    size = scale.size
    yield (
        f'<text class="title" x="{size.side}" y="{size.font + 12}" font-size="{size.font + 3}">'
        f"{escape(picture.title)}</text>"
    )
    y, x = size.font + 34, size.side
    names = ("good", "bad, rejected", "bad, flagged", "missed, or good and refused", "window kept out of training")
    for place, (kind, name) in enumerate(zip((*KINDS, "veto"), names, strict=True)):
        if scale.is_narrow and place in {2, 4}:
            y, x = y + 20, size.side
        yield f'<rect class="{kind}" x="{x}" y="{y - 10}" width="12" height="11" rx="2"/>'
        yield f'<text x="{x + 18}" y="{y}">{name}</text>'
        x += 34 + 7 * len(name)
