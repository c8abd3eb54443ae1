"""``reports/demo.html``: the picture and the figures on one self-contained page that needs no script. Pure."""

from collections.abc import Iterable, Sequence
from html import escape

from millrace.contracts.events import DriftDetected
from millrace.demo.chart import NARROW, WIDE, Mark, Picture, draw
from millrace.demo.control import Control
from millrace.demo.figures import WINDOW_ROWS, Curves, rolling
from millrace.demo.report import ChainIds, Report, VersionRow
from millrace.demo.story import what_drifted

CSS = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--paper:#fff;--panel:#f5f7f9;--good:#00664d;
--bad:#a3200d;--loop:#0072b2}
@media (prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#a3adba;--line:#313a45;--paper:#14181d;--panel:#1c2229;
--good:#4fd1a5;--bad:#ff9b8a;--loop:#56b4e9}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.25rem;max-width:66rem;color:var(--ink);background:var(--paper);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
h1{font-size:1.5rem;line-height:1.25;margin:.25rem 0 .5rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
p{margin:.25rem 0 1rem;max-width:46rem}.soft,td small,dt{color:var(--soft)}
svg{display:block;width:100%;height:auto;border:1px solid var(--line);border-radius:6px}.narrow{display:none}
@media (max-width:640px){body{padding:.75rem}.wide{display:none}.narrow{display:block}}
dl{display:grid;grid-template-columns:repeat(4,1fr);gap:.5rem;margin:1rem 0}
dl div{background:var(--panel);border-radius:6px;padding:.6rem .75rem}dt{font-size:.85rem}
dd{margin:0;font-size:1.3rem;font-weight:650;font-variant-numeric:tabular-nums}
dd small{font-size:.8rem;font-weight:400;white-space:nowrap}
dl .loop dd{color:var(--loop)}
.table{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{text-align:left;vertical-align:top;padding:.4rem .6rem .4rem 0;border-bottom:1px solid var(--line)}
th{font-weight:600;white-space:nowrap}td.id{font-family:ui-monospace,monospace;font-size:.78rem;}
.good{color:var(--good)}.bad{color:var(--bad)}td b,td.n{white-space:nowrap}
@media (max-width:640px){dl{grid-template-columns:repeat(2,1fr)}thead{display:none}
tr,td{display:block}td{border:0;padding:.1rem 0}
tr{border-bottom:1px solid var(--line);padding:.5rem 0}td[data-name]::before{content:attr(data-name)": ";
color:var(--soft);font-family:system-ui,sans-serif;font-size:.8rem}}
"""


def picture(found: Curves, control: Control, report: Report) -> Picture:
    """What there is to see in a run."""
    marks: dict[str, list[Mark]] = {"ALARM": [], "WARNING": []}
    for drift in control.drifts:
        marks[drift.severity].append(_drift_mark(drift, found))
    deployments = []
    for chain in report.chain:
        if chain.champion_row is not None:
            cause = "" if chain.drift_row is None else f", after the drift at row {chain.drift_row:,}"
            text = f"v{chain.version}: champion since row {chain.champion_row:,}{cause}"
            deployments.append(Mark(chain.champion_row, text))
    first = report.first_rows
    lines = []
    for right in (found.loop, found.frozen, found.repeat_last):
        counted = right.copy()
        counted[:first] = float("nan")
        lines.append(rolling(counted, WINDOW_ROWS))
    loop, frozen, last = lines
    return Picture(
        "Share of right predictions", WINDOW_ROWS, first, loop, frozen, last,
        marks["ALARM"], marks["WARNING"], deployments,
    )  # fmt: skip


def render(shown: Picture, report: Report, name: str) -> str:
    """The whole page."""
    parts = [
        f"<h1>{_headline(report)}</h1>",
        f'<p class="soft">{_what_happened(report, name)}</p>',
        draw(shown, WIDE, "wide"),
        draw(shown, NARROW, "narrow"),
        _figures(report),
        "<h2>How the loop closed</h2>",
        "<p>Each deployment, and the ids that lead to it from the drift event, as they stand on the topics.</p>",
        _table(("version", "drift", "retrain request", "training run", "registered, promoted", "deployment"),
               map(_chain, report.chain)),
        "<h2>Every candidate, and why it serves or not</h2>",
        _table(("version", "decision", "why"), map(_version, report.versions)),
        "<h2>Checks</h2>",
        _table(("check", "result", "seen"), [
            [escape(check.name), _verdict(passed=check.passed), escape(check.message)] for check in report.checks
        ]),
        "<h2>The rest</h2>",
        _table(("what", "value"), _rest(report)),
    ]  # fmt: skip
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Millrace: {escape(name)}</title>\n<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _drift_mark(drift: DriftDetected, found: Curves) -> Mark:
    row = found.row(drift.partition, drift.sample_offset)
    return Mark(row, f"row {row:,}: {what_drifted(drift)} ({drift.detector}, version {drift.version})")


def _headline(report: Report) -> str:
    loop, frozen, last = report.accuracy.loop, report.accuracy.frozen, report.accuracy.repeat_last
    if loop is None or frozen is None or last is None:
        return "No row was scored"
    return (
        f"The loop is right {loop:.1%} of the time; its first model, left alone, {frozen:.1%}; "
        f"repeating the last label {last:.1%}"
    )


def _what_happened(report: Report, name: str) -> str:
    return (
        f"{report.rows:,} rows of the model project {escape(name)} in {report.run_s:,.0f} seconds, on Kafka, without a "
        f"hand on it. {report.alarms} drift alarms, {report.retrains} retrains asked for; of {report.deployments} "
        f"deployments {report.drift_caused_deployments} followed from a drift. Accuracy is counted from row "
        f"{report.first_rows:,} on; each prediction was made before its label was known."
    )


def _figures(report: Report) -> str:
    latency, wait = report.event_to_prediction_ms, report.drift_to_serving_s
    cards = [
        ("loop", "the loop", _share(report.accuracy.loop)),
        ("", "first model, frozen", _share(report.accuracy.frozen)),
        ("", "repeat the last label", _share(report.accuracy.repeat_last)),
        ("", "predictions", f"{report.predictions:,}"),
        ("", "missing, doubled", f"{report.missing_predictions:,}, {report.duplicate_predictions:,}"),
        ("", "event to prediction", f"{_or_dash(latency.p50, 0)} ms <small>p99 {_or_dash(latency.p99, 0)} ms</small>"),
        ("", "drift to serving", f"{_or_dash(wait.p50)} s <small>at most {_or_dash(wait.max)} s</small>"),
        ("", "drifts", f"{report.alarms} <small>alarms of {report.drift_events}</small>"),
    ]
    return "<dl>" + "".join(f'<div class="{c}"><dt>{dt}</dt><dd>{dd}</dd></div>' for c, dt, dd in cards) + "</dl>"


def _end(chain: ChainIds) -> str:
    """How its rollout ended, where there was one."""
    if len(chain.deployment_ids) == 1:
        return ""
    row = "" if chain.champion_row is None else f", champion since row {chain.champion_row:,}"
    return f"<br><small>{escape(chain.strategy)}: {escape(chain.outcome)}{row}</small>"


def _chain(chain: ChainIds) -> list[str]:
    row = "" if chain.from_row is None else f"<br><small>since row {chain.from_row:,}</small>"
    drift = "none: the first data" if chain.drift_id is None else _id(chain.drift_id)
    if chain.drift_row is not None:
        drift += f"<br><small>row {chain.drift_row:,}</small>"
    took = "" if chain.drift_to_serving_s is None else f"<br><small>{chain.drift_to_serving_s:.1f} s after it</small>"
    return [
        f"<b>{chain.version}</b>{row}", drift, _id(chain.request_id or "-"), _id(chain.run_id or "-"),
        "<br>".join(map(_id, chain.change_ids)), "<br>".join(map(_id, chain.deployment_ids)) + took + _end(chain),
    ]  # fmt: skip


def _id(text: str) -> str:
    """An id that may be broken behind its slashes only."""
    return escape(text).replace("/", "/<wbr>")


def _version(version: VersionRow) -> list[str]:
    number = "-" if version.version is None else f"<b>{version.version}</b>"
    if version.from_row is not None:
        number += f"<br><small>since row {version.from_row:,}</small>"
    kind = "good" if version.decision in {"deployed", "promoted"} else "bad"
    return [number, f'<span class="{kind}">{version.decision}</span>', escape("; ".join(version.reasons))]


def _rest(report: Report) -> list[list[str]]:
    dead = ", ".join(f"{escape(reason)} {count:,}" for reason, count in report.dead_letters.items()) or "none"
    restarts = ", ".join(f"{escape(name)} {count}" for name, count in report.restarts.items() if count) or "none"
    by_log = report.event_to_prediction_log_ms
    return [
        ["rows, labels", f"{report.rows:,}, {report.labels:,}"],
        ["valid events", f"{report.valid_events:,}; before the first model {report.events_before_first_model:,}"],
        ["dead letters", dead],
        ["restarts of services", restarts],
        ["event to prediction by log times", f"p50 {_or_dash(by_log.p50)} ms, p99 {_or_dash(by_log.p99)} ms"],
        ["rate asked for", f"{report.rate_rows_per_s:,.0f} rows/s"],
        ["time to start the platform", f"{report.start_s:.1f} s"],
    ]  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; on a phone each row becomes a block with the head's words before the values."""
    cells = "".join(f"<th>{name}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-name="{name}"{_kind(name)}>{cell}</td>' for name, cell in zip(head, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="table"><table><thead><tr>{cells}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _kind(name: str) -> str:
    is_id = name in {"drift", "retrain request", "training run", "registered, promoted", "deployment"}
    return ' class="id"' if is_id else ""


def _verdict(*, passed: bool) -> str:
    return '<span class="good">✓ holds</span>' if passed else '<b class="bad">✗ FAILED</b>'


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _or_dash(value: float | None, decimals: int = 1) -> str:
    return "-" if value is None else f"{value:,.{decimals}f}"
