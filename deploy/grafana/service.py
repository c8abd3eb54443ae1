"""One service, or several: rate, errors and duration of its work; use, saturation and errors of its process."""

# ruff: noqa: E501  # a panel's text and query are read as a whole

from deploy.grafana.board import board, variable
from deploy.grafana.kit import BLUE, VERMILION, Json, heatmap, query, row, series, states, thresholds

MINE = 'service=~"$service"'
OF = f"on (instance) group_left (service) max by (instance, service) (millrace_build_info{{{MINE}}})"
"""The client library's own series have no service; this gives them one."""


def build() -> Json:
    """The dashboard."""
    text = "Rate, errors, duration of what a service does, and what its process uses. Choose services above."
    chosen = variable("service", "label_values(millrace_build_info, service)", "Which services.", many=True)
    return board("millrace-service", text, [_rate(), _errors(), _duration(), _process(), _broker()], (chosen,))


def _quantiles(histogram: str, by: str, legend: str, *, chosen: str = MINE) -> list[Json]:
    return [
        query(
            f"histogram_quantile({share}, sum by (le, {by}) (rate({histogram}_bucket{{{chosen}}}[$__rate_interval])))",
            f"{legend} {name}",
        )
        for share, name in ((0.5, "half"), (0.99, "99 %"))
    ]


def _rate() -> list[Json]:
    return row(
        "Rate",
        series(
            "Records in", "Taken from the bus, by topic.",
            query(f"sum by (service, topic) (rate(millrace_records_in_total{{{MINE}}}[$__rate_interval]))", "{{service}} {{topic}}"),
            unit="reqps",
        ),
        series(
            "Records out", "Written to the bus, by topic.",
            query(f"sum by (service, topic) (rate(millrace_records_out_total{{{MINE}}}[$__rate_interval]))", "{{service}} {{topic}}"),
            unit="reqps",
        ),
        series(
            "Bytes", "Size of the records' values, in and out. Estimated from a part of each micro-batch.",
            query(f"sum by (service, direction) (rate(millrace_record_bytes_sum{{{MINE}}}[$__rate_interval]))", "{{service}} {{direction}}"),
            unit="Bps",
        ),
        series(
            "HTTP requests", "By route; health and metrics are left out.",
            query(f"sum by (service, route) (rate(millrace_http_request_seconds_count{{{MINE}}}[$__rate_interval]))", "{{service}} {{route}}"),
            unit="reqps", width=12,
        ),
        heatmap(
            "Size of a record", "How the sizes of the records' values are spread.",
            f"sum by (le) (increase(millrace_record_bytes_bucket{{{MINE}}}[$__rate_interval]))", unit="bytes", width=12,
        ),
    )  # fmt: skip


def _errors() -> list[Json]:
    return row(
        "Errors",
        series(
            "Errors survived", "By their class; the log has each in words.",
            query(f"sum by (service, kind) (rate(millrace_errors_total{{{MINE}}}[$__rate_interval]))", "{{service}} {{kind}}"),
            unit="ops", steps=thresholds(0.1),
        ),
        series(
            "Recoveries", "A lane threw its state away and read it back, so that each record counts exactly once.",
            query(f"sum by (service) (increase(millrace_lane_recoveries_total{{{MINE}}}[10m]))", "{{service}}"),
            steps=thresholds(5),
        ),
        series(
            "HTTP answers that are errors", "Share of the requests that ended with 5xx.",
            query(f"service:millrace_http_errors:ratio_rate5m{{{MINE}}}", "{{service}}"), unit="percentunit",
            steps=thresholds(0.01, 0.05), high=1,
        ),
        states(
            "Readiness", "Each check of /readyz over time.", f"min by (service, check) (millrace_check_passing{{{MINE}}})",
            "{{service}} {{check}}", {"1": ("passes", BLUE), "0": ("fails", VERMILION)},
        ),
        series(
            "Restarts", "Starts of the process in the last hour, whoever started it again.",
            query(f'changes(process_start_time_seconds{{job="millrace"}}[1h]) * {OF}', "{{service}} {{instance}}"),
            steps=thresholds(1, 3), width=12,
        ),
    )  # fmt: skip


def _duration() -> list[Json]:
    return row(
        "Duration",
        series("A micro-batch", "From fetch to commit.", *_quantiles("millrace_batch_seconds", "service", "{{service}}"), unit="s"),
        series("A transaction", "What the broker takes to commit one.", *_quantiles("millrace_commit_seconds", "service", "{{service}}"), unit="s"),
        series("An HTTP request", "By service.", *_quantiles("millrace_http_request_seconds", "service", "{{service}}"), unit="s"),
        heatmap(
            "Micro-batches", "How their times are spread.",
            f"sum by (le) (increase(millrace_batch_seconds_bucket{{{MINE}}}[$__rate_interval]))", unit="s", width=12,
        ),
        series(
            "From event to sample", "Ingest's part of the way, by stream.",
            *_quantiles("millrace_event_to_sample_seconds", "stream", "{{stream}}", chosen=""), unit="s", width=12,
        ),
    )  # fmt: skip


def _process() -> list[Json]:
    return row(
        "The process",
        series(
            "CPU", "Cores in use.", query(f"rate(process_cpu_seconds_total[$__rate_interval]) * {OF}", "{{service}} {{instance}}"),
            unit="short",
        ),
        series(
            "Memory", "Resident, as the system counts it.",
            query(f"process_resident_memory_bytes * {OF}", "{{service}} {{instance}}"), unit="bytes",
        ),
        series(
            "Memory, of what it may have", "An alert is raised from 90 %.",
            query(f"process_resident_memory_bytes / on (instance) (millrace_memory_limit_bytes > 0) * {OF}", "{{service}} {{instance}}"),
            unit="percentunit", steps=thresholds(0.75, 0.9), high=1,
        ),
        series(
            "Open files", "Descriptors, of as many as it may have.",
            query(f"process_open_fds / process_max_fds * {OF}", "{{service}} {{instance}}"), unit="percentunit",
            steps=thresholds(0.5, 0.8),
        ),
        series(
            "Tasks", "Of the event loop. Growing without end is a leak.",
            query(f"millrace_asyncio_tasks * {OF}", "{{service}} {{instance}}"),
        ),
        series(
            "Disk left", "Where its data folder is. An alert is raised below 10 %.",
            query(f"min by (service) (millrace_disk_free_bytes{{{MINE}}} / millrace_disk_size_bytes{{{MINE}}})", "{{service}}"),
            unit="percentunit", high=1,
        ),
    )  # fmt: skip


def _broker() -> list[Json]:
    return row(
        "What it waits for",
        series(
            "Lag", "Offsets between what it has taken in and the last stable offset.",
            query(f"sum by (service, topic) (millrace_lag_records{{{MINE}}})", "{{service}} {{topic}}"),
            steps=thresholds(1000, 10_000), width=12,
        ),
        series(
            "Hidden by open transactions", "Offsets above the last stable one. It falls with each commit: if it does not, a transaction hangs.",
            query(f"max by (service, topic) (millrace_stable_lag_records{{{MINE}}})", "{{service}} {{topic}}"), width=12,
        ),
    )  # fmt: skip
