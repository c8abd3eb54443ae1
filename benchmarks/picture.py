"""The picture of a run: a bar for each row, warm events a second. Pure.

SVG by hand, on a light ground so that it reads the same in a README and on paper. A row's name, its figure and its
guarantee stand beside the bar in words; colour only repeats what the words say.
"""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

WIDTH, ROW, TOP, BOTTOM = 900, 34, 64, 44
LEFT, RIGHT = 214, 190
BAR = 18
STYLE = """
.bench{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.bench .paper{fill:#ffffff}.bench text{fill:#5b6675}.bench .title{fill:#1c2430;font-weight:700}
.bench .name{fill:#1c2430}.bench .ours.name{font-weight:700}.bench .figure{fill:#1c2430}
.bench .bar{fill:#9aa5b1}.bench .ours.bar{fill:#0072b2}.bench .span{stroke:#1c2430;stroke-width:1.5}
.bench .cold{stroke:#c04a00;stroke-width:2}.bench .axis{stroke:#e3e7ec;stroke-width:1}
"""


def draw(report: Mapping[str, Any]) -> str:
    """The picture as an SVG document."""
    rows = sorted(report["rows"], key=lambda row: -(row["warm"] or {"median": -1.0})["median"])
    height = TOP + ROW * len(rows) + BOTTOM
    most = max((row["warm"]["max"] for row in rows if row["warm"]), default=1.0)
    title = "Events a second, warm, one process on one broker"
    words = ", ".join(f"{row['name']} {row['warm']['median']:,.0f}" for row in rows if row["warm"])
    body = "\n".join(line for at, row in enumerate(rows) for line in _row(row, TOP + ROW * at, most))
    return (
        f'<svg class="bench" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(f"{title}: {words}")}" font-size="13">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f'<text class="title" x="12" y="28" font-size="16">{title}</text>\n'
        f'<text x="12" y="48">{escape(_settings(report))}</text>\n{body}\n{_key(height)}\n</svg>\n'
    )


def _settings(report: Mapping[str, Any]) -> str:
    machine, settings = report["machine"], report["settings"]
    return (
        f"{settings['features']} features, {settings['trees']} trees, {settings['partitions']} partitions; "
        f"median of {settings['rounds']} rounds; {machine['cores']} cores, Kafka {machine['kafka']}"
    )


def _row(row: Mapping[str, Any], y: float, most: float) -> Iterator[str]:
    ours = " ours" if row["name"].startswith("millrace-") else ""
    middle = y + BAR / 2
    yield f'<text class="name{ours}" x="{LEFT - 10}" y="{middle + 5}" text-anchor="end">{escape(row["name"])}</text>'
    yield f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{y - 8}" y2="{y + ROW - 8}"/>'
    if not row["warm"]:
        yield f'<text x="{LEFT + 8}" y="{middle + 5}">{escape(_short(row["skipped"] or "too short to measure"))}</text>'
        return
    warm = row["warm"]
    least, median, greatest = (LEFT + _width(warm[part], most) for part in ("min", "median", "max"))
    yield f'<rect class="bar{ours}" x="{LEFT}" y="{y}" width="{round(median - LEFT, 1)}" height="{BAR}" rx="2"/>'
    if greatest > least:
        yield f'<line class="span" x1="{least}" x2="{greatest}" y1="{middle}" y2="{middle}"/>'
    if row["cold"]:
        cold = LEFT + _width(row["cold"]["median"], most)
        yield f'<line class="cold" x1="{cold}" x2="{cold}" y1="{y - 3}" y2="{y + BAR + 3}"/>'
    text = f"{warm['median']:,.0f}"
    x = max(greatest, LEFT + _width(row["cold"]["median"], most) if row["cold"] else 0) + 8
    yield (f'<text x="{x}" y="{middle + 5}"><tspan class="figure">{text}</tspan>  {escape(row["guarantee"])}</text>')


def _width(value: float, most: float) -> float:
    """Pixels; what is cold may be more than anything warm, and stays inside the picture.

    >>> _width(50, 100), _width(200, 100)
    (248.0, 496.0)
    """
    return round((WIDTH - LEFT - RIGHT) * min(1.0, value / most), 1)


def _short(reason: str, characters: int = 90) -> str:
    return reason if len(reason) <= characters else reason[: characters - 1] + "…"


def _key(height: int) -> str:
    y = height - 18
    return (
        f'<line class="cold" x1="16" x2="16" y1="{y - 12}" y2="{y + 3}"/>'
        f'<text x="26" y="{y}">cold: the first third</text>'
        f'<line class="span" x1="190" x2="220" y1="{y - 4}" y2="{y - 4}"/>'
        f'<text x="228" y="{y}">least to greatest</text>'
        f'<rect class="bar ours" x="370" y="{y - 12}" width="26" height="14" rx="2"/><text x="404" y="{y}">ours</text>'
    )
