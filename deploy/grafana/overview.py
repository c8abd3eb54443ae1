"""Is all well, and if not, where to look: the first page."""

# ruff: noqa: E501  # a panel's text and query are read as a whole

from deploy.grafana.board import board
from deploy.grafana.kit import GOOD_ABOVE, SERVICES, Json, link, query, row, series, stat, table, thresholds

MODEL = link("Open this model in the console", "${console}/models/${__field.labels.model}")


def build() -> Json:
    """The dashboard."""
    text = "The loop at a glance: what answers, what flows, how good the models are. Every number links further."
    return board("millrace-overview", text, [_state(), _flow(), _models(), _alerts()])


def _state() -> list[Json]:
    return row(
        "Is it well?",
        stat(
            "Services that answer", "Ingest, serving, monitor, trainer, registry and console.",
            'sum(up{job="millrace"})', steps=thresholds(len(SERVICES) - 1, len(SERVICES), good=GOOD_ABOVE),
        ),
        stat(
            "Checks that fail", "Checks of readiness that do not pass now; /readyz of the service says why.",
            "count(millrace_check_passing == 0) or vector(0)", steps=thresholds(1),
        ),
        stat(
            "Alerts", "Firing now, Prometheus's own; the console shows them beside those that services raise.",
            'count(ALERTS{alertstate="firing"}) or vector(0)', steps=thresholds(1, 3),
        ),
        stat(
            "Records waiting", "Offsets that services have yet to take in, of all topics.",
            "sum(millrace_lag_records)", steps=thresholds(1000, 10_000),
        ),
        stat(
            "Slow predictions", "Share that took more than 2 s from the event's log time, over 5 minutes. Objective: under 1 %.",
            "max(model:millrace_prediction_slow:ratio_rate5m)", unit="percentunit", steps=thresholds(0.01, 0.06),
            none="no traffic",
        ),
        stat(
            "Refused in the last hour", "Dead letters but for repetitions. `millrace dead-letters list` shows them.",
            'sum(increase(millrace_dead_letters_total{reason!~"duplicate-.*"}[1h])) or vector(0)', steps=thresholds(1, 100),
            decimals=0,
        ),
    )  # fmt: skip


def _flow() -> list[Json]:
    return row(
        "What flows",
        series(
            "Records taken in", "By service and topic. Ingest and serving should keep the same pace.",
            query("sum by (service, topic) (rate(millrace_records_in_total[$__rate_interval]))", "{{service}} {{topic}}"),
            unit="reqps",
        ),
        series(
            "From event to prediction", "Log time of an event to the scoring of its micro-batch: half, 95 and 99 of a hundred.",
            *(
                query(
                    f"histogram_quantile({share}, sum by (le) "
                    "(rate(millrace_event_to_prediction_seconds_bucket[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            unit="s", steps=thresholds(2),
        ),
        series(
            "Waiting, by service", "Growing means too slow; steady and above zero while nothing flows means stuck.",
            query("sum by (service) (millrace_lag_records)", "{{service}}"), steps=thresholds(1000, 10_000),
        ),
    )  # fmt: skip


def _models() -> list[Json]:
    quality = 'millrace_model_quality{slice="", source="labels", metric=~"accuracy|r2"}'
    return row(
        "The models",
        table(
            "Champions", "The version that answers, by the registry.", "max by (model) (millrace_champion_version)",
            columns=("model",),
        ),
        series(
            "How good they are", "Accuracy (R2 in regression) over the newest labelled window, each row judged before it was learned from.",
            query(f"max by (model, version) ({quality})", "version {{version}} {{model}}"), unit="percentunit", low=None,
            links=(MODEL,),
        ),
        series(
            "Drift, retrains, deployments", "How many in the last 10 minutes: drift found, retrains asked for, deployments decided.",
            query("sum by (model) (increase(millrace_drifts_total[10m]))", "drift {{model}}"),
            query("sum by (model) (increase(millrace_retrain_requests_total[10m]))", "retrain {{model}}"),
            query("sum by (model) (increase(millrace_deployments_total[10m]))", "deployment {{model}}"),
            links=(MODEL,),
        ),
    )  # fmt: skip


def _alerts() -> list[Json]:
    return row(
        "What needs you",
        table(
            "Alerts firing", "Each has a section in docs/runbooks.md.",
            'max by (alertname, severity, instance) (ALERTS{alertstate="firing"})', columns=("severity", "alertname", "instance"),
            width=12,
        ),
        table(
            "Readiness", "Each check of each service: 1 passes, 0 does not.", "min by (service, check) (millrace_check_passing)",
            columns=("service", "check"), width=12,
        ),
    )  # fmt: skip
