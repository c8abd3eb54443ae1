"""The picture of a soak: memory, descriptors, tasks and lag over time, one line for each process. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

WIDTH, PANEL, TOP, LEFT, RIGHT, GAP = 900, 130, 56, 70, 110, 34
COLOURS = {"ingest": "#0072b2", "serving": "#c04a00", "monitor": "#117733", "broker": "#8a93a0"}
STYLE = """
.soak{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.soak .paper{fill:#ffffff}.soak text{fill:#5b6675}.soak .title{fill:#1c2430;font-weight:700}
.soak .axis{stroke:#e3e7ec;stroke-width:1}.soak polyline{fill:none;stroke-width:1.6}
"""
Series = Mapping[str, Sequence[tuple[float, float]]]


def draw(report: Mapping[str, Any]) -> str:
    """The picture as an SVG document."""
    panels = list(_panels(report))
    height = TOP + (PANEL + GAP) * len(panels) + 10
    verdict = "flat" if report["passed"] else "NOT flat"
    title = f"{report['minutes']:g} minutes at {report['rate']:g} events/s: {verdict}"
    body = "\n".join(
        line for at, (name, series) in enumerate(panels) for line in _panel(name, series, TOP + 14 + (PANEL + GAP) * at)
    )
    return (
        f'<svg class="soak" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-size="12">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f'<text class="title" x="12" y="28" font-size="16">{escape(title)}</text>\n{body}\n</svg>\n'
    )


def _panels(report: Mapping[str, Any]) -> Iterator[tuple[str, Series]]:
    looks: Mapping[str, Sequence[Mapping[str, Any]]] = report["looks"]
    for name, field in (("memory, MiB", "rss_mib"), ("descriptors", "descriptors"), ("asyncio tasks", "tasks")):
        series = {
            process: [(one["at_s"], one[field]) for one in seen if one[field] is not None]
            for process, seen in looks.items()
            if process != "broker"  # its heap would press our lines together
        }
        if any(series.values()):
            yield name, series
    services = [name for name in looks if name != "broker"]
    yield "lag, places of the log", {name: [(one["at_s"], one[name]) for one in report["lags"]] for name in services}


def _panel(name: str, series: Series, y: float) -> Iterator[str]:
    points = [point for line in series.values() for point in line]
    until = max((at for at, _ in points), default=1.0) or 1.0
    most = max((value for _, value in points), default=1.0) * 1.1 or 1.0
    width = WIDTH - LEFT - RIGHT
    yield f'<text class="title" x="{LEFT}" y="{y - 5}">{escape(name)}</text>'
    for value in (0.0, most / 2, most):
        level = round(y + PANEL * (1 - value / most), 1)
        yield f'<line class="axis" x1="{LEFT}" x2="{LEFT + width}" y1="{level}" y2="{level}"/>'
        yield f'<text x="{LEFT - 6}" y="{level + 4}" text-anchor="end">{value:.0f}</text>'
    labels = sorted(((line[-1][1], process) for process, line in series.items() if line), reverse=True)
    for place, (_, process) in enumerate(labels):
        colour = COLOURS[process]
        path = " ".join(
            f"{LEFT + width * at / until:.1f},{y + PANEL * (1 - value / most):.1f}" for at, value in series[process]
        )
        yield f'<polyline points="{path}" stroke="{colour}"/>'
        yield f'<text x="{LEFT + width + 8}" y="{y + 14 + 16 * place}" style="fill:{colour}">{escape(process)}</text>'
    yield f'<text x="{LEFT + width}" y="{y + PANEL + 14}" text-anchor="end">{until / 60:.1f} min</text>'
