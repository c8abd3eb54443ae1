"""Lines, dots and bars as SVG documents, by hand: a few pictures do not need a plotting library. Pure.

Colours are Okabe and Ito's, told apart with any colour vision; besides, each line has its own dash. Light or dark is
the reader's choice. What is no number is not drawn.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 370, 64, 20, 92, 46
KEY = 52  # how far down the key is
ROW_HEIGHT, NAME_WIDTH, VALUE_WIDTH, NAME_LETTERS = 22, 190, 90, 26
STYLE = """
.record{--ink:#1c2430;--soft:#5b6675;--grid:#e3e7ec;--paper:#fff;--a:#0072b2;--b:#c04a00;--c:#6b7280;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
@media (prefers-color-scheme:dark){.record{--ink:#e8ecf1;--soft:#a3adba;--grid:#2b333d;--paper:#14181d;--a:#56b4e9;
--b:#f0a030;--c:#a3adba}}
.record .paper{fill:var(--paper)}.record text{fill:var(--soft)}.record .grid{stroke:var(--grid)}
.record .title{fill:var(--ink);font-weight:700}.record .name{fill:var(--ink)}
.record .line{fill:none;stroke-width:2;stroke-linejoin:round}
.record .line.a{stroke:var(--a)}.record .line.b{stroke:var(--b);stroke-dasharray:7 3}
.record .line.c{stroke:var(--c);stroke-dasharray:2 3}
.record .dot.a,.record .bar.a{fill:var(--a)}.record .dot.b,.record .bar.b{fill:var(--b)}
.record .dot.c{fill:none;stroke:var(--c)}.record .dot{fill-opacity:.75}
"""


@dataclass(frozen=True, slots=True)
class Series:
    """Points in order, drawn as a line, as dots or both. ``look`` is a, b (dashed) or c (dotted, for references)."""

    name: str
    points: Sequence[tuple[float, float]]
    look: str = "a"
    line: bool = True
    dots: float = 0.0
    """Radius in pixels; 0 draws none."""


@dataclass(frozen=True, slots=True)
class Axes:
    """What the picture is of. ``shares`` writes the y axis in per cent."""

    title: str
    x: str
    y: str
    shares: bool = False


@dataclass(frozen=True, slots=True)
class _Scale:
    low_x: float
    high_x: float
    low_y: float
    high_y: float

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - self.low_x) / (self.high_x - self.low_x), 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (self.high_y - value) / (self.high_y - self.low_y), 1)


def chart(axes: Axes, series: Sequence[Series]) -> str:
    """Lines and dots over two axes, with a key."""
    drawn = [_numbers(one) for one in series]
    points = [point for one in drawn for point in one.points]
    if not points:
        return _document(axes.title, HEIGHT, [f'<text x="{LEFT}" y="{HEIGHT / 2}">there is nothing to draw</text>'])
    low_x, high_x = _span([x for x, _ in points], 0.0)
    low_y, high_y = _span([y for _, y in points], 0.05)
    scale = _Scale(low_x, high_x, low_y, high_y)
    body = [*_grid(axes, scale), *_key(drawn)]
    for one in drawn:
        body += _series(one, scale)
    return _document(axes.title, HEIGHT, body)


def bars(title: str, named: Sequence[tuple[str, float]], note: str = "") -> str:
    """A bar for each value, the largest first as they come; what is below 0 goes in another colour."""
    values = [value for _, value in named if math.isfinite(value)]
    most = max((abs(value) for value in values), default=0.0) or 1.0
    first = KEY + 18
    height = first + ROW_HEIGHT * max(1, len(named)) + 12
    body = [f'<text x="12" y="{KEY}">{escape(note)}</text>']
    for place, (name, value) in enumerate(named):
        y = first + ROW_HEIGHT * place
        width = (WIDTH - NAME_WIDTH - VALUE_WIDTH) * abs(value) / most if math.isfinite(value) else 0.0
        look = "a" if value >= 0 else "b"
        said = name if len(name) <= NAME_LETTERS else f"{name[: NAME_LETTERS - 1]}…"
        label = f"{escape(said)}<title>{escape(name)}</title>"
        body += [
            f'<text class="name" x="{NAME_WIDTH - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
            f'<rect class="bar {look}" x="{NAME_WIDTH}" y="{y + 2}" width="{width:.1f}" height="{ROW_HEIGHT - 8}"/>',
            f'<text x="{NAME_WIDTH + width + 6:.1f}" y="{y + 13}">{value:.3g}</text>',
        ]
    return _document(title, height, body)


def _numbers(series: Series) -> Series:
    points = [(float(x), float(y)) for x, y in series.points if math.isfinite(x) and math.isfinite(y)]
    return Series(series.name, points, series.look, series.line, series.dots)


def _span(values: Sequence[float], margin: float) -> tuple[float, float]:
    """From the lowest to the highest, wider by a share on both sides; never empty."""
    low, high = min(values), max(values)
    if low == high:
        room = abs(low) / 10 or 1.0
        return low - room, high + room
    room = margin * (high - low)
    return low - room, high + room


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round values between the two, at most about so many.

    >>> ticks(0.0, 1.0), ticks(3, 990)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [200.0, 400.0, 600.0, 800.0])
    """
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _grid(axes: Axes, scale: _Scale) -> Iterator[str]:
    for value in ticks(scale.low_y, scale.high_y):
        y, said = scale.y(value), f"{value:.4g}"
        if axes.shares:
            said = f"{100 * value:.4g} %"
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{said}</text>'
    for value in ticks(scale.low_x, scale.high_x, 8):
        yield f'<text x="{scale.x(value)}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:.6g}</text>'
    yield f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 12}" text-anchor="end">{escape(axes.x)}</text>'
    yield f'<text x="12" y="{TOP - 14}">{escape(axes.y)}</text>'


def _key(series: Sequence[Series]) -> Iterator[str]:
    x = 12.0
    for one in series:
        if not one.name or not one.points:
            continue
        if one.line:
            yield f'<line class="line {one.look}" x1="{x}" x2="{x + 26}" y1="{KEY - 4}" y2="{KEY - 4}"/>'
        else:
            yield f'<circle class="dot {one.look}" cx="{x + 20}" cy="{KEY - 4}" r="4"/>'
        yield f'<text x="{x + 32}" y="{KEY}">{escape(one.name)}</text>'
        x += 52 + 6.6 * len(one.name)


def _series(series: Series, scale: _Scale) -> Iterator[str]:
    places = [(scale.x(x), scale.y(y)) for x, y in series.points]
    if series.line and places:
        yield f'<polyline class="line {series.look}" points="{" ".join(f"{x},{y}" for x, y in places)}"/>'
    if series.dots:
        for (x, y), (at, value) in zip(places, series.points, strict=True):
            yield (
                f'<circle class="dot {series.look}" cx="{x}" cy="{y}" r="{series.dots:g}">'
                f"<title>{at:.6g}: {value:.4g}</title></circle>"
            )


def _document(title: str, height: float, body: Sequence[str]) -> str:
    return (
        f'<svg class="record" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" width="{WIDTH}" '
        f'height="{height:g}" role="img" aria-label="{escape(title)}" font-size="12">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height:g}" rx="6"/>\n'
        f'<text class="title" x="12" y="28" font-size="15">{escape(title)}</text>\n' + "\n".join(body) + "\n</svg>\n"
    )
