"""The data of a stream: what comes, what is refused, what is unlike the training rows, how old it is."""

# ruff: noqa: E501  # a panel's text and query are read as a whole

from deploy.grafana.board import board, variable
from deploy.grafana.kit import Json, link, query, row, series, stat, table, thresholds

S = 'stream=~"$stream"'
REFUSED = f'millrace_dead_letters_total{{{S}, reason!~"duplicate-.*"}}'
LETTERS = link("Open the dead letters in the console", "${console}/dead-letters")


def build() -> Json:
    """The dashboard."""
    text = (
        "What comes in on a stream, what is refused and why, what is unlike the training rows. Choose the stream above."
    )
    chosen = variable("stream", "label_values(millrace_newest_event_timestamp_seconds, stream)", "Which stream.")
    return board("millrace-data", text, [_now(), _refused(), _unlike(), _fresh()], (chosen,))


def _taken(kind: str, span: str) -> str:
    """Records per second of the stream's events or labels."""
    return f'rate(millrace_records_in_total{{service="ingest", topic=~"$stream-{kind}"}}[{span}])'


def _now() -> list[Json]:
    return row(
        "Now",
        stat("Events", "Taken in per second, over 5 minutes.", f"sum({_taken('events', '5m')})", unit="reqps"),
        stat("Labels", "Taken in per second, over 5 minutes.", f"sum({_taken('labels', '5m')})", unit="reqps"),
        stat(
            "Refused", "Share of all records, over 10 minutes. An alert is raised from 5 %.",
            f"(sum(rate({REFUSED}[10m])) or vector(0)) / sum({_taken('(events|labels)', '10m')})", unit="percentunit",
            steps=thresholds(0.001, 0.05), none="no traffic",
        ),
        stat(
            "Newest event", "How long ago, in event time. A replay of old data shows its own age.",
            f"time() - max(millrace_newest_event_timestamp_seconds{{{S}}})", unit="s",
        ),
        stat(
            "Newest label", "How long ago, in label time.",
            f"time() - max(millrace_newest_label_timestamp_seconds{{{S}}})", unit="s",
        ),
        stat(
            "Newest training set", "How long ago it was announced.",
            f"time() - max(millrace_newest_snapshot_timestamp_seconds{{{S}}})", unit="s",
        ),
    )  # fmt: skip


def _refused() -> list[Json]:
    return row(
        "What is refused",
        series(
            "Dead letters", "Per minute, by reason. Repetitions of an event are among them, and harm nothing.",
            query(f"60 * sum by (reason) (rate(millrace_dead_letters_total{{{S}}}[$__rate_interval]))", "{{reason}}"), width=12,
            links=(LETTERS,),
        ),
        table(
            "Dead letters, by reason", "Since the processes began. `millrace dead-letters list` has each of them.",
            f"sum by (reason) (millrace_dead_letters_total{{{S}}})", columns=("reason",), width=12,
        ),
    )  # fmt: skip


def _unlike() -> list[Json]:
    return row(
        "What is unlike the training rows",
        series(
            "Samples with a flag", "Per minute, by expectation: taken, but marked.",
            query(f"60 * sum by (flag) (rate(millrace_flagged_total{{{S}}}[$__rate_interval]))", "{{flag}}"),
        ),
        series(
            "Windows judged unlike", "In the last 10 minutes, by check and severity; an ALARM vetoes training on them.",
            query(f"sum by (check, severity) (increase(millrace_data_quality_total{{{S}}}[10m]))", "{{check}} {{severity}}"),
        ),
        series(
            "Labels at the monitor", "What became of them: joined, corrected, duplicate, late, unusable, forgotten.",
            query("sum by (outcome) (rate(millrace_labels_total[$__rate_interval]))", "{{outcome}}"), unit="reqps",
        ),
    )  # fmt: skip


def _fresh() -> list[Json]:
    return row(
        "How it flows",
        series(
            "Events and labels", "Taken in per second.",
            query(f"sum({_taken('events', '$__rate_interval')})", "events"),
            query(f"sum({_taken('labels', '$__rate_interval')})", "labels"), unit="reqps",
        ),
        series(
            "From event to sample", "Log time of an event to the micro-batch in which it became a sample.",
            *(
                query(
                    f"histogram_quantile({share}, sum by (le) "
                    f"(rate(millrace_event_to_sample_seconds_bucket{{{S}}}[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "half"), (0.99, "99 %"))
            ),
            unit="s",
        ),
        series(
            "Ingest's lag", "Offsets that it has yet to take in, by topic and partition.",
            query('sum by (topic, partition) (millrace_lag_records{service="ingest"})', "{{topic}} {{partition}}"),
            steps=thresholds(1000, 10_000),
        ),
        series(
            "Age of the newest event", "By partition: one that stands still while others move has lost its producer.",
            query(f"time() - max by (partition) (millrace_newest_event_timestamp_seconds{{{S}}})", "partition {{partition}}"), unit="s",
            width=12,
        ),
        series(
            "Mean size of a record", "Of its value.",
            query(
                'sum by (topic) (rate(millrace_record_bytes_sum{service="ingest", topic=~"$stream-.+"}[5m])) '
                '/ sum by (topic) (rate(millrace_record_bytes_count{service="ingest", topic=~"$stream-.+"}[5m]))',
                "{{topic}}",
            ),
            unit="bytes", width=12,
        ),
    )  # fmt: skip
