"""``reports/demo-data.html``: the picture and the figures on one self-contained page that needs no script. Pure."""

from collections.abc import Iterable, Sequence
from html import escape

from millrace.demo.page import CSS
from millrace.demo_data.chart import NARROW, WIDE, Picture, draw
from millrace.demo_data.checks import WORDS
from millrace.demo_data.report import CleanRows, DataReport, FaultFigures, Judgement, TrainedOn
from millrace.demo_data.show import WHAT

MORE_CSS = "blockquote{margin:.25rem 0 1rem;padding:.5rem .75rem;border-left:3px solid var(--loop);\
background:var(--panel);font-size:.9rem;max-width:60rem}td.n,th.n{text-align:right;padding-right:1.5rem}\
@media (max-width:640px){td.n{text-align:left;padding:.1rem 0}}"
FOLLOWED = (
    "Each record is followed by its place: from the events topic to its dead letter, or to the sample that carries a "
    "flag. A flagged event is scored, and never trained on."
)
NUMBERS = {"bad events", "caught", "rows", "bad in its range", "bad trained on", "offsets left out"}


def render(shown: Picture, report: DataReport, name: str) -> str:
    """The whole page."""
    parts = [
        f"<h1>{_headline(report)}</h1>",
        f'<p class="soft">{_what_happened(report, name)}</p>',
        draw(shown, WIDE, "wide"),
        draw(shown, NARROW, "narrow"),
        _cards(report),
        "<h2>What was sent, and what caught it</h2>",
        f"<p>{FOLLOWED}</p>",
        _table(("fault", "bad events", "caught", "caught by", "what the operator is told", "good rows beside"), [
            [*_fault(fault, figures), _beside(report, fault)] for fault, figures in report.faults.items()
        ]),
        "<h2>The schema that was refused</h2>",
        f"<p>{_refusal_words(report)}</p><blockquote>{escape(report.incompatible_schema.message)}</blockquote>",
        "<h2>What was trained on</h2>",
        "<p>Every run's rows, read again by the ranges that the run names, and matched with what was sent.</p>",
        _table(("run", "why", "rows", "bad in its range", "bad trained on", "offsets left out", "outcome"),
               map(_run, report.runs)),
        "<h2>Windows that were judged</h2>",
        "<p>What only many records together show. A veto keeps the window's samples out of training.</p>",
        _table(("check", "rows of the stream", "severity", "finding"), map(_judgement, report.judgements)),
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
        f"<title>Millrace: data that can be trusted</title>\n<style>{CSS}{MORE_CSS}</style>\n</head>\n"
        f"<body>\n{body}\n</body>\n</html>\n"
    )


def _sums(report: DataReport) -> tuple[int, int]:
    figures = report.faults.values()
    return sum(one.caught for one in figures), sum(one.injected for one in figures)


def _headline(report: DataReport) -> str:
    caught, injected = _sums(report)
    trained = report.bad_rows_in_training
    good = report.among_faults.rows + report.rest_of_stream.rows
    return (
        f"{caught:,} of {injected:,} bad records were caught, {trained or 'none'} of them trained on; "
        f"{_false(report)} of {good:,} good ones were refused"
    )


def _false(report: DataReport) -> int:
    among, rest = report.among_faults, report.rest_of_stream
    return among.refused + among.flagged + rest.refused + rest.flagged


def _what_happened(report: DataReport, name: str) -> str:
    return (
        f"The stream of the model project {escape(name)}, {report.events:,} events in {report.run_s:,.0f} seconds, on "
        f"Kafka, with five faults among rows {report.in_force_from_row:,} to {report.faults_until_row:,}. Nobody "
        "declared most of what is broken here: the first version learned from its training rows what its events look "
        "like, and from then on each event was held to that."
    )


def _cards(report: DataReport) -> str:
    caught, injected = _sums(report)
    before, during = _or_dash(report.latency_before.p50_ms), _or_dash(report.latency_during.p50_ms)
    vetoes = sum(one.vetoes for one in report.judgements)
    cards = [
        ("loop", "bad records caught", f"{caught:,} <small>of {injected:,}</small>"),
        ("", "bad rows in training", f"{report.bad_rows_in_training:,} <small>in {len(report.runs)} runs</small>"),
        ("", "false rejections", f"{report.false_rejection_share:.3%}"),
        ("", "good rows held up", f"{report.good_rows_held_up:,}"),
        ("", "predictions", f"{report.predictions:,}"),
        ("", "event to prediction", f"{before} ms <small>among faults {during} ms</small>"),
        ("", "windows judged bad", f"{len(report.judgements)} <small>{vetoes} vetoes</small>"),
        ("", "lost", f"{report.lost_events + report.lost_labels:,} <small>events and labels</small>"),
    ]  # fmt: skip
    return "<dl>" + "".join(f'<div class="{c}"><dt>{dt}</dt><dd>{dd}</dd></div>' for c, dt, dd in cards) + "</dl>"


def _fault(fault: str, figures: FaultFigures) -> list[str]:
    what = next((words for name, words in WHAT.items() if name == fault), "")
    rows = f"rows {figures.from_row:,} to {figures.until_row:,}"
    by = "<br>".join(f"{escape(reason)}&nbsp;{count:,}" for reason, count in figures.caught_by.items())
    told = "<br>".join(escape(message) or "(a flag in its sample)" for message in figures.messages.values())
    kind = "good" if figures.caught == figures.injected else "bad"
    return [
        f"<b>{escape(WORDS.get(fault, fault))}</b><br><small>{escape(what)}; {rows}</small>",
        f"{figures.injected:,}", f'<span class="{kind}">{figures.caught:,}</span>', by, f"<small>{told}</small>",
    ]  # fmt: skip


def _beside(report: DataReport, fault: str) -> str:
    found = report.latency_by_fault[fault]
    if not found.rows:
        return "<small>none</small>"
    p50, p99 = _or_dash(found.p50_ms), _or_dash(found.p99_ms)
    return f"{found.rows:,}<br><small>{p50} ms to their prediction, p99 {p99} ms</small>"


def _refusal_words(report: DataReport) -> str:
    status = report.incompatible_schema.status
    if status is None:
        return "It was not refused:"
    return f"Before the faults, a schema with the price as a text was offered. The registry answered {status}:"


def _run(run: TrainedOn) -> list[str]:
    rows = "" if run.from_row is None else f"<br><small>rows {run.from_row:,} to {run.until_row:,}</small>"
    version = "" if run.version is None else f"version {run.version} "
    outcome = f"{version}{run.decision}" if run.status == "SUCCEEDED" else run.status.lower()
    kind = "bad" if run.bad_rows else "good"
    return [
        f"<b>{escape(run.run_id)}</b>{rows}", escape(run.trigger.lower().replace("_", " ")), f"{run.rows:,}",
        f"{run.bad_rows_in_ranges:,}", f'<span class="{kind}">{run.bad_rows:,}</span>', f"{run.excluded_offsets:,}",
        escape(outcome + (f": {run.error}" if run.error else "")),
    ]  # fmt: skip


def _judgement(one: Judgement) -> list[str]:
    veto = ", veto" if one.vetoes else ""
    rows = f"{one.from_row:,} to {one.until_row:,}" if one.until_row > one.from_row + 1 else f"{one.from_row:,}"
    return [f"<b>{escape(one.check)}</b><br><small>{escape(one.subject)}</small>", rows,
            f"{one.severity.lower()}{veto}", escape(one.message)]  # fmt: skip


def _rest(report: DataReport) -> list[list[str]]:
    restarts = ", ".join(f"{escape(name)} {count}" for name, count in report.restarts.items() if count)
    before, during, after = (
        _or_dash(one.p99_ms) for one in (report.latency_before, report.latency_during, report.latency_after)
    )
    return [
        ["good events among the faults", _clean(report.among_faults)],
        ["good events in the rest of the stream", _clean(report.rest_of_stream)],
        ["every row of the file, held to what version 1 learned", _clean(report.whole_clean_stream)],
        ["labels", f"{report.labels:,}; of events that were caught {report.labels_of_refused_events:,}"],
        ["event to prediction, 99 of 100", f"before {before} ms, among the faults {during} ms, after {after} ms"],
        ["versions", ", ".join(f"{one.version} since row {one.from_row:,}" for one in report.serving)],
        ["restarts of services", restarts or "none"],
        ["time to start the platform", f"{report.start_s:.1f} s"],
    ]  # fmt: skip


def _clean(rows: CleanRows) -> str:
    by = "".join(f", {count} {escape(reason)}" for reason, count in rows.by.items())
    return f"{rows.rows:,}: {rows.refused} refused, {rows.flagged} flagged ({rows.share:.3%}){by}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; on a phone each row becomes a block with the head's words before the values."""
    cells = "".join(f"<th{_class(name)}>{name}</th>" for name in head)
    body = "".join(
        "<tr>"
        + "".join(f'<td data-name="{name}"{_class(name)}>{cell}</td>' for name, cell in zip(head, row, strict=True))
        + "</tr>\n"
        for row in rows
    )
    return f'<div class="table"><table><thead><tr>{cells}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _class(name: str) -> str:
    return ' class="n"' if name in NUMBERS else ""


def _verdict(*, passed: bool) -> str:
    return '<span class="good">✓ holds</span>' if passed else '<b class="bad">✗ FAILED</b>'


def _or_dash(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
