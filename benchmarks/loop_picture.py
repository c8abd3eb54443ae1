"""The picture of the loop beside its rivals: rolling accuracy by row, one line each. Pure."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM, POINTS = 1000, 430, 52, 190, 58, 44, 400
LINES = {  # Okabe and Ito's colours; a dash of its own for each
    "loop": ("Millrace's loop", "#0072b2", ""),
    "arf": ("forest, every label", "#d55e00", "7 3"),
    "arf_same_features": ("forest, our features", "#009e73", "2 2"),
    "repeat_last": ("repeat the last label", "#6b7280", "1 3"),
    "frozen": ("first model, left alone", "#a3337a", "9 4 2 4"),
}
STYLE = """
.vs{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}.vs .paper{fill:#fff}.vs text{fill:#5b6675}
.vs .title{fill:#1c2430;font-weight:700}.vs .grid{stroke:#e3e7ec}
.vs polyline{fill:none;stroke-width:2;stroke-linejoin:round}
"""


def draw(report: Mapping[str, Any], lines: Mapping[str, Floats]) -> str:
    """The picture as an SVG document; ``lines`` are by row, NaN where there is nothing."""
    drawn = np.concatenate([line[~np.isnan(line)] for line in lines.values()])
    low = float(np.floor(drawn.min() * 20) / 20) if len(drawn) else 0.0
    high = float(np.ceil(drawn.max() * 20) / 20) if len(drawn) else 1.0
    title = f"{report['project']}: rolling accuracy, {report['retrains']} retrains in {report['rows']:,} rows"
    body = "\n".join([*_grid(low, high, report["rows"]), *_lines(report, lines, low, high)])
    return (
        f'<svg class="vs" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-size="12">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>\n'
        f'<text class="title" x="{LEFT}" y="30" font-size="16">{escape(title)}</text>\n{body}\n</svg>\n'
    )


def _y(value: float, low: float, high: float) -> float:
    return round(TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low or 1.0), 1)


def _x(row: float, rows: int) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * row / max(rows, 1), 1)


def _grid(low: float, high: float, rows: int) -> Iterator[str]:
    for value in np.arange(low, high + 1e-9, 0.05):
        y = _y(float(value), low, high)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{100 * value:.0f} %</text>'
    for row in range(0, rows + 1, 10_000):
        yield f'<text x="{_x(row, rows)}" y="{HEIGHT - 18}" text-anchor="middle">{row:,}</text>'


def _lines(report: Mapping[str, Any], lines: Mapping[str, Floats], low: float, high: float) -> Iterator[str]:
    ends = sorted((float(line[-1]), name) for name, line in lines.items() if len(line) and not np.isnan(line[-1]))
    rows, below = report["rows"], float(HEIGHT)
    for value, name in ends:  # from the lowest up; names may not lie on one another
        label, colour, dash = LINES[name]
        line = lines[name]
        at = np.unique(np.linspace(0, len(line) - 1, POINTS).round().astype(int))
        points = " ".join(
            f"{_x(row, rows)},{_y(line[row], low, high)}" for row in at.tolist() if not np.isnan(line[row])
        )
        share = report["accuracy" if name == "loop" else f"{name}_accuracy"]
        below = min(_y(value, low, high) + 4, below - 16)
        yield f'<polyline points="{points}" stroke="{colour}" stroke-dasharray="{dash}"/>'
        yield f'<text x="{WIDTH - RIGHT + 8}" y="{below}" fill="{colour}">{escape(label)} {100 * share:.1f} %</text>'
