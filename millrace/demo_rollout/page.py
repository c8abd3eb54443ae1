"""``reports/demo-rollout.html``: the picture, and of each case what stopped it, on one page without a script. Pure."""

from html import escape

from millrace.demo.page import CSS
from millrace.demo_rollout.figures import WORDS
from millrace.demo_rollout.picture import draw
from millrace.demo_rollout.report import RolloutReport


def render(report: RolloutReport, name: str) -> str:
    """The whole page."""
    stopped = sum(case.stopped for case in report.cases.values())
    rows = "".join(
        f'<tr><td class="n"><b>{escape(key)}</b><br><small>{escape(WORDS.get(key, ""))}</small></td>'
        f'<td data-name="stopped by">{escape(case.guardrail)}</td>'
        f'<td data-name="events answered">{case.touched:,} of {case.events:,} ({case.touched_share:.2%})</td>'
        f'<td data-name="in words">{escape(case.stopped_by)}</td></tr>'
        for key, case in report.cases.items()
    )
    checks = "".join(
        f'<tr><td class="n">{escape(check.name)}</td><td class="{"good" if check.passed else "bad"}">'
        f"{'holds' if check.passed else 'FAILS'}</td><td>{escape(check.message)}</td></tr>"
        for check in report.checks
    )
    back = "no rollback" if report.rollback_ms is None else f"a rollback took {report.rollback_ms:.0f} ms"
    body = (
        f"<h1>{stopped} of {len(report.cases)} bad models were stopped; {back}</h1>"
        f'<p class="soft">Each asked to be deployed on the {escape(name)} example while events went on; '
        "figures are read back from the topics.</p>"
        f"{draw(report)}"
        '<h2>What stopped each</h2><div class="table"><table><thead><tr><th>model</th><th>stopped by</th>'
        f"<th>events answered</th><th>in words</th></tr></thead><tbody>{rows}</tbody></table></div>"
        '<h2>Checks</h2><div class="table"><table><thead><tr><th>check</th><th>result</th><th>seen</th></tr></thead>'
        f"<tbody>{checks}</tbody></table></div>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Millrace: rollouts</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )
