"""One model: how good it is, what it answers, how it is tried out, trained and watched."""

# ruff: noqa: E501  # a panel's text and query are read as a whole

from deploy.grafana.board import board, variable
from deploy.grafana.kit import Json, heatmap, link, query, row, series, stat, table, thresholds

M = 'model=~"$model"'
NOW = 'metric=~"$metric", slice="", source="labels"'
CONSOLE = link("Open this model in the console", "${console}/models/$model")
DAY_S = 86_400


def build() -> Json:
    """The dashboard."""
    text = (
        "One model: quality with its uncertainty, answers, rollouts, runs, drift. Choose the model and a metric above."
    )
    chosen = variable("model", "label_values(millrace_model_version, model)", "Which model.")
    metric = variable(
        "metric", 'label_values(millrace_model_quality{model="$model"}, metric)', "Which metric of quality."
    )
    return board(
        "millrace-model",
        text,
        [_signals(), _quality(), _answers(), _rollout(), _training(), _watch()],
        (chosen, metric),
    )


def _signals() -> list[Json]:
    return row(
        "Now",
        stat("Champion", "By the registry.", f"max(millrace_champion_version{{{M}}})"),
        stat(
            "Served", "The oldest version that a process of serving has as its champion: for a moment after a deployment it lags.",
            f"min(millrace_model_version{{{M}}})",
        ),
        stat(
            "Champion for", "Since it became champion.", f"time() - max(millrace_champion_since_timestamp_seconds{{{M}}})", unit="s",
        ),
        stat(
            "Trained", "Age of what the champion knows. An alert is raised after 30 days.",
            f"time() - max(millrace_champion_trained_timestamp_seconds{{{M}}})", unit="s", steps=thresholds(14 * DAY_S, 30 * DAY_S),
        ),
        stat(
            "Slow predictions", "Share over 2 s, last hour. Objective: under 1 %.",
            f"max(model:millrace_prediction_slow:ratio_rate1h{{{M}}})", unit="percentunit", steps=thresholds(0.01, 0.06), none="no traffic",
        ),
        stat(
            "Predictions without a label", "Of those that left the horizon, since the monitor's state began.",
            f"max(millrace_missing_labels_ratio{{{M}}})", unit="percentunit", steps=thresholds(0.05, 0.2),
        ),
    )  # fmt: skip


def _quality() -> list[Json]:
    per = "by (version, variant)"
    return row(
        "How good it is",
        series(
            "Quality and its uncertainty", "The chosen metric over the newest labelled window, with the ends of its 95 % interval.",
            query(f"max {per} (millrace_model_quality{{{M}, {NOW}}})", "version {{version}} {{variant}}"),
            query(f'max {per} (millrace_model_quality_bound{{{M}, {NOW}, bound="low"}})', "low {{version}} {{variant}}"),
            query(f'max {per} (millrace_model_quality_bound{{{M}, {NOW}, bound="high"}})', "high {{version}} {{variant}}"),
            low=None, width=16, links=(CONSOLE,),
        ),
        series(
            "Accuracy", "Over the newest window, of each version that has labels.",
            query(f"max by (version) (millrace_model_accuracy_ratio{{{M}}})", "version {{version}}"), unit="percentunit", low=None,
        ),
        series(
            "By slice", "The chosen metric for each slice that model.yaml names.",
            query(f'max by (version, slice) (millrace_model_quality{{{M}, metric=~"$metric", slice!=""}})', "version {{version}} {{slice}}"),
            low=None, width=12,
        ),
        series(
            "Estimated, before labels come", "The chosen metric as the model's own confidence foretells it.",
            query(f'max by (version) (millrace_model_quality{{{M}, metric=~"$metric", source!="labels"}})', "version {{version}}"),
            low=None, width=12,
        ),
    )  # fmt: skip


def _answers() -> list[Json]:
    return row(
        "What it answers",
        series(
            "Predictions, by class", "What it answers over time: a shift is a first sign of drift.",
            query(f"sum by (label) (rate(millrace_predictions_total{{{M}}}[$__rate_interval]))", "{{label}}"), unit="reqps", stacked=True,
        ),
        heatmap(
            "Scores", "Score of the second class where there are two, else of the answer.",
            f"sum by (le) (increase(millrace_prediction_score_ratio_bucket{{{M}}}[$__rate_interval]))", unit="percentunit",
        ),
        heatmap(
            "Values", "Predicted values, in regression.",
            f"sum by (le) (increase(millrace_prediction_value_bucket{{{M}}}[$__rate_interval]))", unit="short",
        ),
        series(
            "From event to prediction", "Log time of an event to the scoring of its micro-batch.",
            *(
                query(
                    f"histogram_quantile({share}, sum by (le) "
                    f"(rate(millrace_event_to_prediction_seconds_bucket{{{M}}}[$__rate_interval])))",
                    name,
                )
                for share, name in ((0.5, "half"), (0.95, "95 %"), (0.99, "99 %"))
            ),
            unit="s", steps=thresholds(2), width=12,
        ),
        series(
            "Latency budget", "Share of predictions over 2 s. Alerts are raised at 14.4 % (5 minutes and 1 hour) and 6 % (30 minutes and 6 hours).",
            *(query(f"model:millrace_prediction_slow:ratio_rate{span}{{{M}}}", span) for span in ("5m", "30m", "1h", "6h")),
            unit="percentunit", steps=thresholds(0.06, 0.144), width=12,
        ),
    )  # fmt: skip


def _rollout() -> list[Json]:
    return row(
        "What is tried out",
        series(
            "Share of the traffic", "By variant, as serving has it.",
            query(f"max by (variant) (millrace_variant_share_ratio{{{M}}})", "{{variant}}"), unit="percentunit", stacked=True, high=1,
        ),
        series(
            "Events of a rollout", "By variant and outcome; missing and error are without success.",
            query(f"sum by (variant, outcome) (rate(millrace_variant_events_total{{{M}}}[$__rate_interval]))", "{{variant}} {{outcome}}"),
            unit="reqps",
        ),
        series(
            "Time to score one event", "By variant; a candidate that is much slower is stopped.",
            query(
                f"sum by (variant) (rate(millrace_variant_scoring_seconds_total{{{M}}}[$__rate_interval])) "
                f'/ sum by (variant) (rate(millrace_variant_events_total{{{M}, outcome="scored"}}[$__rate_interval]))',
                "{{variant}}",
            ),
            unit="s",
        ),
        series(
            "Deployments decided", "By kind, in the last hour.",
            query(f"sum by (kind) (increase(millrace_deployments_total{{{M}}}[1h]))", "{{kind}}"),
        ),
        series(
            "Versions loaded and refused", "Time to try and load one (99 of a hundred), and how many were refused in the last hour.",
            query(f"histogram_quantile(0.99, sum by (le) (rate(millrace_model_load_seconds_bucket{{{M}}}[1h])))", "seconds"),
            query(f"sum(increase(millrace_model_load_failures_total{{{M}}}[1h]))", "refused"),
        ),
        series(
            "Epoch", "Of the deployment that each process serves: it only grows.",
            query(f"max by (instance) (millrace_model_epoch{{{M}}})", "{{instance}}"),
        ),
    )  # fmt: skip


def _training() -> list[Json]:
    return row(
        "How it is made",
        series(
            "Runs", "Ended in the last hour, by outcome, and whether one is under way.",
            query(f"sum by (status) (increase(millrace_training_runs_total{{{M}}}[1h]))", "{{status}}"),
            query(f"max(millrace_training_in_progress{{{M}}})", "under way"),
        ),
        series(
            "Duration of a run", "Mean over the last hour.",
            query(
                f"sum(increase(millrace_training_seconds_sum{{{M}}}[1h])) / sum(increase(millrace_training_seconds_count{{{M}}}[1h]))",
                "mean",
            ),
            unit="s",
        ),
        table(
            "Decisions of the registry", "About runs, since its process began.",
            f"sum by (status) (millrace_versions_decided_total{{{M}}})", columns=("status",),
        ),
        series(
            "CPU of the fits", "Cores in use.", query(f"sum(rate(millrace_training_cpu_seconds_total{{{M}}}[5m]))", "cores"), width=12,
        ),
        series(
            "Memory of a fit", "The most that the newest one had at once.", query(f"max(millrace_training_memory_bytes{{{M}}})", "bytes"),
            unit="bytes", width=12,
        ),
    )  # fmt: skip


def _watch() -> list[Json]:
    return row(
        "How it is watched",
        series(
            "Drift", "Found in the last 10 minutes, by severity. The console has the evidence.",
            query(f"sum by (severity) (increase(millrace_drifts_total{{{M}}}[10m]))", "{{severity}}"), links=(CONSOLE,),
        ),
        series(
            "Retrains asked for", "By the monitor, in the last hour.",
            query(f"sum(increase(millrace_retrain_requests_total{{{M}}}[1h]))", "retrains"),
        ),
        series(
            "Labels", "What became of them at the monitor.",
            query(f"sum by (outcome) (rate(millrace_labels_total{{{M}}}[$__rate_interval]))", "{{outcome}}"), unit="reqps",
        ),
        series(
            "Waiting for a label", "Predictions that the monitor remembers.",
            query(f"sum(millrace_waiting_predictions{{{M}}})", "predictions"),
        ),
        series(
            "Saved state", "Size of the newest, compressed: what a restart reads.",
            query(f"max by (partition) (millrace_monitor_state_bytes{{{M}}})", "partition {{partition}}"), unit="bytes",
        ),
        stat(
            "Versions without a profile", "They serve, but have no training rows to compare with: older or imported ones.",
            f"max(millrace_versions_without_profile{{{M}}})", steps=thresholds(1), width=8,
        ),
    )  # fmt: skip
