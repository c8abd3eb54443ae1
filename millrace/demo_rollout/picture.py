"""The picture of the demo: for each bad model, how many events it could have harmed, and how many it did. Pure."""

from collections.abc import Iterator
from html import escape

from millrace.demo_rollout.figures import WORDS
from millrace.demo_rollout.report import Case, RolloutReport

WIDTH, TOP, ROW, LEFT, RIGHT = 1000, 74, 62, 190, 40
STYLE = """
.ro{font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;--ink:#1c2430;--soft:#5b6675;--paper:#fff;
--all:#d9e6f2;--hurt:#c04a00;--good:#00785a}
@media (prefers-color-scheme:dark){.ro{--ink:#e8ecf1;--soft:#a3adba;--paper:#14181d;--all:#24405a;--hurt:#f0a030;
--good:#2fc79a}}
.ro .paper{fill:var(--paper)}.ro text{fill:var(--soft)}.ro .name{fill:var(--ink);font-weight:700}
.ro .all{fill:var(--all)}.ro .hurt{fill:var(--hurt)}.ro .share{fill:var(--ink);font-weight:600}
"""


def draw(report: RolloutReport) -> str:
    """The picture as an SVG element."""
    height = TOP + ROW * len(report.cases) + 12
    most = max((case.events for case in report.cases.values()), default=1) or 1
    rows = "\n".join(
        part for at, (name, case) in enumerate(report.cases.items()) for part in _row(name, case, TOP + ROW * at, most)
    )
    title = "Bad models: events that they answered before they were stopped"
    legend = "each bar: all events from the model's first deployment until the champion had all again"
    return (
        f'<svg class="ro" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}" font-size="13">\n<style>{STYLE}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>\n'
        f'<text class="name" x="20" y="30" font-size="17">{escape(title)}</text>\n'
        f'<text x="20" y="52">{escape(legend)}</text>\n{rows}\n</svg>'
    )


def _row(name: str, case: Case, y: int, most: int) -> Iterator[str]:
    inner = WIDTH - LEFT - RIGHT
    whole, hurt = round(inner * case.events / most, 1), round(inner * case.touched / most, 1)
    words = WORDS.get(name, name)
    yield f'<text class="name" x="20" y="{y + 18}">{escape(name)}</text>'
    if case.events:
        yield f'<rect class="all" x="{LEFT}" y="{y + 4}" width="{whole}" height="18" rx="2"/>'
        yield f'<rect class="hurt" x="{LEFT}" y="{y + 4}" width="{hurt}" height="18" rx="2"/>'
    text = f"{case.touched:,} of {case.events:,} events ({case.touched_share:.1%})" if case.events else "no event"
    stop = f"stopped by {case.guardrail}" if case.stopped else "NOT stopped"
    yield f'<text class="share" x="{LEFT}" y="{y + 40}">{escape(text)}, {escape(stop)}</text>'
    yield f'<text x="{WIDTH - RIGHT}" y="{y + 40}" text-anchor="end">{escape(words)}</text>'
