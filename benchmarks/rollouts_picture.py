"""The picture of the simulated rollouts: how each ended, by policy and world, with rates beside promises. Pure."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

WIDTH, ROW, TOP, HEAD, BAR = 1160, 22, 92, 34, 14
LEFT, SPAN = 230, 330
ROWS_AT, TOUCHED_AT, RATE_AT = LEFT + SPAN + 70, LEFT + SPAN + 140, LEFT + SPAN + 156
PARTS = (("promoted", "promoted"), ("stopped", "stopped by a guardrail"), ("late", "not shown in time"))
STYLE = """
.rollouts{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.rollouts .paper{fill:#ffffff}.rollouts text{fill:#5b6675}.rollouts .title,.rollouts .name{fill:#1c2430}
.rollouts .title{font-weight:700}.rollouts .promoted{fill:#0072b2}.rollouts .stopped{fill:#c04a00}
.rollouts .late{fill:#c3cad3}.rollouts .broken{fill:#a3337a;font-weight:700}
"""


def draw(report: Mapping[str, Any]) -> str:
    """The picture as an SVG document."""
    lines: list[str] = []
    y = TOP
    for policy, worlds in report["policies"].items():
        lines.append(f'<text class="title" x="12" y="{y + 14}" font-size="14">{escape(policy)}</text>')
        y += HEAD - 8
        for world, seen in worlds.items():
            lines += _row(world, seen, y)
            y += ROW
        y += 14
    verdict = "every promise kept" if report["passed"] else f"{len(report['faults'])} promises broken"
    title = f"{report['seeds']:,} simulated rollouts of each kind: {verdict}"
    body = "\n".join([*_key(), *lines])
    return (
        f'<svg class="rollouts" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" role="img" '
        f'aria-label="{escape(title)}" font-size="12">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{y + 10}" rx="6"/>\n'
        f'<text class="title" x="12" y="28" font-size="16">{escape(title)}</text>\n{body}\n</svg>\n'
    )


def shares(ended_by: Mapping[str, float]) -> dict[str, float]:
    """The three ways to end.

    >>> shares({"promoted": 0.5, "metric": 0.25, "errors": 0.125, "horizon": 0.125})
    {'promoted': 0.5, 'stopped': 0.375, 'late': 0.125}
    """
    promoted, late = ended_by.get("promoted", 0.0), ended_by.get("horizon", 0.0) + ended_by.get("open", 0.0)
    return {"promoted": promoted, "stopped": max(0.0, 1 - promoted - late), "late": late}


def _row(world: str, seen: Mapping[str, Any], y: float) -> Iterator[str]:
    base = y + BAR - 3
    yield f'<text class="name" x="{LEFT - 10}" y="{base}" text-anchor="end">{escape(world)}</text>'
    x = float(LEFT)
    for kind, share in shares(seen["ended_by"]).items():
        if share > 0:
            width = round(SPAN * share, 1)
            title = f"<title>{kind} {100 * share:.1f} %</title>"
            yield f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{width}" height="{BAR}">{title}</rect>'
            x += width
    yield f'<text x="{ROWS_AT}" y="{base}" text-anchor="end">{seen["rows_to_decision_median"]:,.0f}</text>'
    yield f'<text x="{TOUCHED_AT}" y="{base}" text-anchor="end">{seen["touched_events_median"]:,.0f}</text>'
    broken = any((seen[what] or {}).get("exceeded") for what in ("false_promotion", "false_rollback"))
    words = "; ".join(_rates(seen))
    yield f'<text x="{RATE_AT}" y="{base}"{" class=" + chr(34) + "broken" + chr(34) if broken else ""}>{words}</text>'


def _rates(seen: Mapping[str, Any]) -> Iterator[str]:
    for what in ("false_promotion", "false_rollback"):
        rate = seen[what]
        if rate is not None and rate["promised"] is not None:
            name = what.replace("_", " ")
            yield f"{name} {100 * rate['rate']:.1f} % (at most {100 * rate['promised']:g} %)"
    regret = seen["regret"]
    if regret is not None:
        yield f"regret {regret['bandit']:.1f}, half and half {regret['uniform']:.1f}"


def _key() -> Iterator[str]:
    x = LEFT
    for kind, words in PARTS:
        yield f'<rect class="{kind}" x="{x}" y="46" width="14" height="14"/><text x="{x + 20}" y="57">{words}</text>'
        x += 44 + 6 * len(words)
    yield f'<text x="{ROWS_AT}" y="{TOP - 8}" text-anchor="end">labels</text>'
    yield f'<text x="{TOUCHED_AT}" y="{TOP - 8}" text-anchor="end">touched</text>'
    yield f'<text x="{LEFT}" y="{TOP - 8}">share of rollouts</text>'
    yield f'<text x="{RATE_AT}" y="{TOP - 8}">(medians of labelled events, and of events that it answered)</text>'
