"""Writes into the documents what stands in the code or in a report, between markers, so that prose cannot drift.

``python docs/generate.py`` writes the topic table of ARCHITECTURE.md and the settings of docs/settings.md; with
``--demo`` it also writes README's figures and picture from ``reports/demo.json`` and ``reports/demo.svg``, with
``--demo-data`` those of ``make demo-data``, with ``--rollouts`` those of ``make demo``, ``demo-rollout`` and
``bench-loop`` together, with ``--bench`` those of ``make bench`` (a copy of the report, with all
its figures, is kept as ``docs/bench.json``).
"""

import json
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from benchmarks import report as report_of_bench
from millrace.alerting.settings import AlertSettings
from millrace.console.settings import Settings as ConsoleSettings
from millrace.contracts.settings import ServiceSettings
from millrace.contracts.topics import FOREVER, TABLE, TopicRow
from millrace.local.platform import SERVICES
from services.trainer.dask_settings import ClusterSettings

ROOT = Path(__file__).parents[1]


COMPUTED = {"training_threads": "cores - 1", "console_services": "", "console_actor": "login name"}
"""Defaults that are computed; a test of the trainer's settings holds the first."""


def topic_table() -> str:
    """The topic table as Markdown."""
    lines = ["| topic | key | written by | read by | kept | what |", "|---|---|---|---|---|---|"]
    for row in TABLE:
        kept = "for ever" if row.retention_ms == FOREVER else f"{row.retention_ms // 86_400_000} days"
        kept = "newest of each key" if row.compacted else kept
        name, writers, readers = _name(row), ", ".join(row.writers), ", ".join(row.readers)
        lines.append(f"| `{name}` | {row.key} | {writers} | {readers} | {kept} | {row.what} |")
    return "\n".join(lines)


def settings_table() -> str:
    """Every environment variable of the services as Markdown: the shared ones first, then each service's own."""
    lines = ["| variable | read by | default | what |", "|---|---|---|---|"]
    lines += [_setting(name, "all", field) for name, field in ServiceSettings.model_fields.items()]
    for service in SERVICES:
        own = import_module(f"services.{service}.settings").Settings.model_fields
        names = [name for name in own if name not in ServiceSettings.model_fields]
        lines += [_setting(name, service, own[name]) for name in names]
    lines += [_setting(f"dask_{name}", "trainer", field) for name, field in ClusterSettings.model_fields.items()]
    for prefix, own in (("", ConsoleSettings.model_fields), ("alert_", AlertSettings.model_fields)):
        names = [name for name in own if name not in ServiceSettings.model_fields]
        lines += [_setting(f"{prefix}{name}", "console", own[name]) for name in names]
    return "\n".join(lines)


def _setting(name: str, service: str, field: FieldInfo) -> str:
    if field.is_required():
        default = "required"
    elif field.default_factory is not None:
        default = COMPUTED[name]
    else:
        default = "" if field.default is None else f"`{field.default}`"
    return f"| `MILLRACE_{name.upper()}` | {service} | {default} | {field.description} |"


def demo_table(report: dict[str, object]) -> str:
    """README's figures from a demo's report."""
    accuracy, latency, serving = report["accuracy"], report["event_to_prediction_ms"], report["drift_to_serving_s"]
    assert isinstance(accuracy, dict)
    assert isinstance(latency, dict)
    assert isinstance(serving, dict)
    rows = [
        ("events sent", f"{report['rows']:,}"),
        ("of these refused", f"{report['dead_events']:,}"),
        ("before the first model", f"{report['events_before_first_model']:,}"),
        ("predictions", f"{report['predictions']:,}"),
        ("missing, doubled", f"{report['missing_predictions']}, {report['duplicate_predictions']}"),
        ("accuracy of the loop", f"**{accuracy['loop']:.1%}**"),
        ("of the first model, left alone", f"{accuracy['frozen']:.1%}"),
        ("of repeating the last label", f"{accuracy['repeat_last']:.1%}"),
        ("retrains, deployments", f"{report['retrains']}, {report['deployments']}"),
        ("deployments caused by drift", f"{report['drift_caused_deployments']}"),
        ("event to prediction, p50, p99", f"{latency['p50']:.0f} ms, {latency['p99']:.0f} ms"),
        ("drift to new version serving, p50, max", f"{serving['p50']:.1f} s, {serving['max']:.1f} s"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def data_table(report: dict[str, Any]) -> str:
    """README's figures from the demo of data trust: each fault, how much of it was caught, and by what."""
    lines = ["| fault | records | caught | by |", "|---|---:|---:|---|"]
    for name, seen in report["faults"].items():
        by = ", ".join(f"{count:,} {rule}" for rule, count in seen["caught_by"].items())
        lines.append(f"| {name.replace('_', ' ')} | {seen['injected']:,} | {seen['caught']:,} | {by} |")
    before, among = report["latency_before"]["p50_ms"], report["latency_during"]["p50_ms"]
    said = (
        f"False rejections on the clean stream: {report['false_rejection_share']:.3%}. Bad rows in training: "
        f"{report['bad_rows_in_training']:,}. Good rows lost or doubled: {report['good_rows_held_up']:,}. A good row's "
        f"prediction took {before:,.0f} ms before the faults and {among:,.0f} ms among them (medians)."
    )
    lines += ["", said]
    return "\n".join(lines)


def headline_table(demo: dict[str, Any], rollout: dict[str, Any], loop: dict[str, Any]) -> str:
    """README's four figures, each with its method."""
    serving, cases = demo["drift_to_serving_s"], rollout["cases"]
    hurt = ", ".join(f"{name} {case['touched_share']:.1%}" for name, case in cases.items())
    reproduced, load = loop["reproduced"], rollout["rollback_rate_rows_per_s"]
    rows = [
        (
            "from drift to a new version that answers events",
            f"**{serving['p50']:.1f} s** (longest {serving['max']:.1f} s)",
            "`make demo`: log time of the drift event to that of the first report that the version answers",
        ),
        (
            "events that a bad version answered",
            f"**{max(case['touched_share'] for case in cases.values()):.1%}** at most",
            f"`make demo-rollout`: of all events from its deployment until it was stopped; {hurt}",
        ),
        (
            "rollback",
            f"**{rollout['rollback_ms']:.0f} ms**",
            f"`make demo-rollout`: from asking to the report that the old version serves, at {load:,.0f} events/s",
        ),
        (
            "models that are equal, byte for byte, when trained again",
            f"**{reproduced['equal']} of {reproduced['runs']}**",
            "`make bench-loop`: every run of the replay, from the offsets and the choice in its event",
        ),
    ]
    lines = ["| | | how it is measured |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {value} | {method} |" for name, value, method in rows)])


def cases_table(report: dict[str, Any]) -> str:
    """README's figures of the bad models: what stopped each, and what it had answered by then."""
    lines = ["| model | stopped by | events answered | in words |", "|---|---|---:|---|"]
    for name, case in report["cases"].items():
        share = f"{case['touched']:,} of {case['events']:,}" if case["events"] else "none"
        lines.append(f"| {name} | {case['guardrail']} | {share} | {case['stopped_by']} |")
    return "\n".join(lines)


def loop_table(report: dict[str, Any]) -> str:
    """README's figures of the loop beside its rivals."""
    rows = [
        ("Millrace's loop", report["accuracy"], f"{report['retrains']} retrains"),
        ("its first model, left alone", report["frozen_accuracy"], ""),
        ("repeat the last label", report["repeat_last_accuracy"], ""),
        ("river's ARFClassifier on the fields of the event", report["arf_accuracy"], "learns on every label"),
        (
            "the same on the features that Millrace computes",
            report["arf_same_features_accuracy"],
            "learns on every label; label feedback among its features",
        ),
    ]
    lines = ["| | right | |", "|---|---:|---|"]
    return "\n".join([*lines, *(f"| {name} | {share:.2%} | {note} |" for name, share, note in rows)])


def bench_table(report: dict[str, Any]) -> str:
    """README's figures from the report of the benchmarks: the rows, then latency by rate."""
    lines = [report_of_bench.markdown(report)]
    lines += ["| latency, exactly once | events/s | p50 | p99 |", "|---|---:|---:|---:|"]
    for rate, figures in report["latency_ms"].items():
        for name in ("event_to_prediction", "sample_to_prediction"):
            seen = figures[name]
            lines.append(
                f"| {name.replace('_', ' ')} | {float(rate):,.0f} | {seen['p50']:.0f} ms | {seen['p99']:.0f} ms |"
            )
    lines += ["", "| ingest with | events/s | of plain | CPU µs/event |", "|---|---:|---:|---:|"]
    for name, seen in report.get("trust", {}).items():
        per_s = f"{seen['median']:,} ({seen['min']:,} to {seen['max']:,})"
        lines.append(f"| {name} | {per_s} | {seen['of_plain']:.0%} | {seen['cpu_us']:.1f} |")
    return "\n".join(lines)


def drift_table(report: dict[str, Any]) -> str:
    """README's figures of the monitor beside bare detectors: how soon and how surely, then how often for nothing."""
    lines = ["| stream | ours: events until found | missed | best bare detector | missed |", "|---|---:|---:|---|---:|"]
    for name, seen in report["streams"].items():
        bare = "none" if seen["best_bare"] is None else f"{seen['best_bare']}: {seen['best_bare_delay_events']:,.0f}"
        missed = "" if seen["best_bare"] is None else f"{seen['best_bare_missed_share']:.0%}"
        ours = "-" if seen["delay_events"] is None else f"{seen['delay_events']:,.0f}"
        lines.append(f"| {name} | {ours} | {seen['missed_share']:.0%} | {bare} | {missed} |")
    lines += ["", "| false alarms on stable streams | events | alarms | per 1,000,000 events |", "|---|---:|---:|---:|"]
    totals = sorted(report["over_all"].items(), key=lambda item: item[1]["false_per_million"] or 0.0)
    for name, seen in totals:
        if seen["stable_events"]:
            rate = (
                f"{seen['false_per_million']:,.2f}"
                if seen["false_per_million"] < 10
                else f"{seen['false_per_million']:,.0f}"
            )
            lines.append(f"| {name} | {seen['stable_events']:,} | {seen['false_alarms']:,} | {rate} |")
    return "\n".join(lines)


def put(document: Path, marker: str, content: str) -> None:
    """Replace what stands between ``<!-- marker: … -->`` and ``<!-- /marker -->``."""
    text = document.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {marker}:[^\n]*-->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{document} has no marker {marker!r}")
    document.write_text(pattern.sub(lambda match: f"{match[1]}{content}\n{match[2]}", text), encoding="utf-8")


def _name(row: TopicRow) -> str:
    return row.name(stream="<stream>", model="<model>")


if __name__ == "__main__":
    put(ROOT / "ARCHITECTURE.md", "topics", topic_table())
    put(ROOT / "docs/settings.md", "settings", settings_table())
    if "--demo" in sys.argv:
        put(ROOT / "README.md", "demo", demo_table(json.loads((ROOT / "reports/demo.json").read_text())))
        shutil.copy(ROOT / "reports/demo.svg", ROOT / "docs/images/demo.svg")
    if "--demo-data" in sys.argv:
        put(ROOT / "README.md", "demo-data", data_table(json.loads((ROOT / "reports/demo-data.json").read_text())))
        shutil.copy(ROOT / "reports/demo-data.svg", ROOT / "docs/images/demo-data.svg")
    if "--rollouts" in sys.argv:
        reports = {
            name: json.loads((ROOT / f"reports/{name}.json").read_text())
            for name in ("demo", "demo-rollout", "bench-loop")
        }
        put(ROOT / "README.md", "headline", headline_table(*reports.values()))
        put(ROOT / "README.md", "demo-rollout", cases_table(reports["demo-rollout"]))
        put(ROOT / "README.md", "bench-loop", loop_table(reports["bench-loop"]))
        shutil.copy(ROOT / "reports/demo-rollout.svg", ROOT / "docs/images/demo-rollout.svg")
        shutil.copy(ROOT / "reports/bench-loop.svg", ROOT / "docs/images/bench-loop.svg")
    if "--drift" in sys.argv:
        put(ROOT / "README.md", "bench-drift", drift_table(json.loads((ROOT / "reports/bench-drift.json").read_text())))
        shutil.copy(ROOT / "reports/bench-drift.svg", ROOT / "docs/images/bench-drift.svg")
    if "--bench" in sys.argv:
        shutil.copy(ROOT / "reports/bench.json", ROOT / "docs/bench.json")
        shutil.copy(ROOT / "reports/bench.svg", ROOT / "docs/images/bench.svg")
        put(ROOT / "README.md", "bench", bench_table(json.loads((ROOT / "docs/bench.json").read_text())))
