"""Writes docs/metrics.md from millrace/telemetry/metrics.py: `python docs/generate_metrics.py`. A test compares."""

from pathlib import Path

from millrace.telemetry.catalogue import Declared, declared

PAGE = Path(__file__).parent / "metrics.md"
HEAD = """# Metrics

Every process answers `/metrics` in Prometheus' text format, and in OpenMetrics for whoever asks for it in `Accept`.
OpenMetrics carries exemplars: buckets of latencies name the trace of a sampled event. Times are in seconds, sizes in
bytes, shares between 0 and 1; `_timestamp_seconds` are points in time, so that an age is `time()` minus one. No label
has more values than a project has topics, partitions, features, classes and versions; of each model the newest five
versions are kept. Whatever passes with every event is measured once per micro-batch.

The client library adds the process itself: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_open_fds`, `process_start_time_seconds`, and Python's garbage collector.

This page is made from `millrace/telemetry/metrics.py` by `docs/generate_metrics.py`.
"""


def page() -> str:
    """The whole page."""
    lines = ["| metric | kind | labels | what |", "|---|---|---|---|", *map(_row, declared())]
    return "\n".join([HEAD, *lines, ""])


def _row(metric: Declared) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.help} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
