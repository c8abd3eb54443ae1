"""Every metric once, with its kind and unit. Labels are services, topics, models and reasons, never entities.

Names follow the Prometheus rules: base units, the unit last, ``_total`` on counters; ``_timestamp_seconds`` are points
in time, in seconds since 1970, so that an age is ``time()`` minus one. Whatever passes with every event is measured
once per micro-batch. ``catalogue.py`` lists them, ``docs/metrics.md`` is made from that list.
"""

from prometheus_client import Counter, Gauge, Histogram, Info

from millrace.telemetry.batch_histogram import BatchHistogram

LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
SIZE_BUCKETS_BYTES = (64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576)
SCORE_BUCKETS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)
VALUE_BUCKETS = tuple(sorted([0.0, *(sign * 10.0**power for sign in (-1, 1) for power in range(-3, 7))]))

# ---- a service and its traffic -----------------------------------------------------------------------------------

BUILD = Info("millrace_build", "Version of Millrace and of Python.")
PROCESS_RESTARTS = Counter(
    "millrace_process_restarts_total", "Times that the supervisor has started this service again.", ["service"]
)
CHECK_PASSING = Gauge(
    "millrace_check_passing", "1 if this check of the service's readiness passes, else 0.", ["service", "check"]
)
ERRORS = Counter("millrace_errors_total", "Errors that a service survived, by their class.", ["service", "kind"])
LANE_RECOVERIES = Counter(
    "millrace_lane_recoveries_total", "Times a lane threw its state away and recovered.", ["service"]
)
ASYNCIO_TASKS = Gauge("millrace_asyncio_tasks", "Tasks of the process's event loop, as of this answer.")
MEMORY_LIMIT_BYTES = Gauge(
    "millrace_memory_limit_bytes", "Memory that the process's control group may use, where it is limited.", ["service"]
)
DISK_FREE_BYTES = Gauge("millrace_disk_free_bytes", "Free space where the data folder is.", ["service"])
DISK_SIZE_BYTES = Gauge("millrace_disk_size_bytes", "Size of the disk where the data folder is.", ["service"])
HTTP_REQUEST_SECONDS = Histogram(
    "millrace_http_request_seconds",
    "Time to answer an HTTP request, by the route's template and the class of the status; not of health and metrics.",
    ["service", "method", "route", "status"],
    buckets=LATENCY_BUCKETS_S,
)
RECORDS_IN = Counter("millrace_records_in_total", "Records taken from the bus, by topic.", ["service", "topic"])
RECORDS_OUT = Counter("millrace_records_out_total", "Records written to the bus, by topic.", ["service", "topic"])
RECORD_BYTES = BatchHistogram(
    "millrace_record_bytes",
    "Size of a record's value. At most 64 of a micro-batch are looked at, each counted for its neighbours.",
    ("service", "topic", "direction"),
    SIZE_BUCKETS_BYTES,
)
BATCH_SECONDS = Histogram(
    "millrace_batch_seconds", "Time to process one micro-batch.", ["service"], buckets=LATENCY_BUCKETS_S
)
COMMIT_SECONDS = Histogram(
    "millrace_commit_seconds", "Time that one transaction took to commit.", ["service"], buckets=LATENCY_BUCKETS_S
)
LAG_RECORDS = Gauge(
    "millrace_lag_records",
    "Offsets between what a lane has taken in and the last stable offset, as of its last fetch.",
    ["service", "topic", "partition"],
)
STABLE_LAG_RECORDS = Gauge(
    "millrace_stable_lag_records",
    "Offsets between the last stable offset and the end: what open transactions hide from read_committed readers.",
    ["service", "topic", "partition"],
)
OPENLINEAGE_EVENTS = Counter(
    "millrace_openlineage_events_total", "OpenLineage events, by whether they were told or lost.", ["outcome"]
)
SPANS = Counter(
    "millrace_spans_total",
    "Spans of traces: exported, lost (the collector did not take them), dropped (too many were waiting).",
    ["outcome"],
)
ALERT_DELIVERIES = Counter(
    "millrace_alert_deliveries_total", "Alerts by route and by what became of them.", ["route", "outcome"]
)
ALERT_ROUTE_FAILING = Gauge(
    "millrace_alert_route_failing", "1 while a route cannot deliver alerts, else 0.", ["route"]
)  # fmt: skip

# ---- data --------------------------------------------------------------------------------------------------------

DEAD_LETTERS = Counter("millrace_dead_letters_total", "Records refused, by reason.", ["stream", "reason"])
FLAGGED = Counter("millrace_flagged_total", "Samples that passed with a flag, by expectation.", ["stream", "flag"])
DATA_QUALITY = Counter(
    "millrace_data_quality_total", "Windows of events found unlike the training rows.", ["stream", "check", "severity"]
)
EVENT_TO_SAMPLE_SECONDS = BatchHistogram(
    "millrace_event_to_sample_seconds",
    "Log time of an event to the micro-batch in which it became a sample.",
    "stream",
    LATENCY_BUCKETS_S,
)
NEWEST_EVENT_TIMESTAMP_SECONDS = Gauge(
    "millrace_newest_event_timestamp_seconds", "Event time of the newest event admitted.", ["stream", "partition"]
)
NEWEST_LABEL_TIMESTAMP_SECONDS = Gauge(
    "millrace_newest_label_timestamp_seconds", "Label time of the newest label joined.", ["stream", "partition"]
)
NEWEST_SNAPSHOT_TIMESTAMP_SECONDS = Gauge(
    "millrace_newest_snapshot_timestamp_seconds", "When the newest training set was announced.", ["stream", "partition"]
)

# ---- a model that serves -----------------------------------------------------------------------------------------

EVENT_TO_PREDICTION_SECONDS = BatchHistogram(
    "millrace_event_to_prediction_seconds",
    "Log time of an event to the scoring of its micro-batch.",
    "model",
    LATENCY_BUCKETS_S,
)
PREDICTIONS = Counter(
    "millrace_predictions_total",
    "Predictions that answer, by version and class; no class in regression.",
    ["model", "version", "label"],
)
PREDICTION_SCORE = BatchHistogram(
    "millrace_prediction_score_ratio",
    "Score of the second class where there are two, else of the class answered, of at most 500 in a micro-batch.",
    ("model", "version"),
    SCORE_BUCKETS,
)
PREDICTION_VALUE = BatchHistogram(
    "millrace_prediction_value", "Predicted value in regression, in the label's unit.", ("model", "version"),
    VALUE_BUCKETS,
)  # fmt: skip
MODEL_VERSION = Gauge("millrace_model_version", "Version of the model that this process serves.", ["model"])
MODEL_EPOCH = Gauge("millrace_model_epoch", "Epoch of the deployment that this process serves.", ["model"])
MODEL_LOAD_FAILURES = Counter("millrace_model_load_failures_total", "Models that serving refused to load.", ["model"])
MODEL_LOAD_SECONDS = Histogram(
    "millrace_model_load_seconds",
    "Time to try and load a model that was not in memory.",
    ["model"],
    buckets=(0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20),
)
VARIANT_SHARE = Gauge(
    "millrace_variant_share_ratio", "Share of the traffic that a variant has in this process.", ["model", "variant"]
)
VARIANT_EVENTS = Counter(
    "millrace_variant_events_total",
    "Events of a rollout, by variant: answered, and scored, without success (error, missing) among them.",
    ["model", "variant", "outcome"],
)
VARIANT_SCORING_SECONDS = Counter(
    "millrace_variant_scoring_seconds_total", "Time that a variant of a rollout took to score.", ["model", "variant"]
)

# ---- a model that is watched -------------------------------------------------------------------------------------

QUALITY = ["model", "version", "variant", "slice", "source", "metric"]
MODEL_ACCURACY = Gauge(
    "millrace_model_accuracy_ratio", "Prequential accuracy over the newest window.", ["model", "version"]
)
MODEL_QUALITY = Gauge(
    "millrace_model_quality", "A metric of a version over its newest window of labels, in the metric's unit.", QUALITY
)
MODEL_QUALITY_BOUND = Gauge(
    "millrace_model_quality_bound", "Ends of the 95 % interval of the same (bound: low, high).", [*QUALITY, "bound"]
)
DRIFTS = Counter(
    "millrace_drifts_total",
    "Drift events, by severity, by what drifted and by what found it.",
    ["model", "severity", "subject", "detector"],
)
RETRAIN_REQUESTS = Counter("millrace_retrain_requests_total", "Retrain requests sent by the monitor.", ["model"])
LABELS = Counter(
    "millrace_labels_total",
    "Labels at the monitor, and predictions that were given up waiting for one, by what became of them: joined, "
    "corrected, duplicate, late (unknown event or past the horizon), unusable, forgotten.",
    ["model", "outcome"],
)
WAITING_PREDICTIONS = Gauge(
    "millrace_waiting_predictions", "Predictions remembered for their label.", ["model", "partition"]
)
MISSING_LABELS = Gauge(
    "millrace_missing_labels_ratio",
    "Share of the predictions that left the horizon without a label, since the state began.",
    ["model", "partition"],
)
LABELLED_EVENT_TIMESTAMP_SECONDS = Gauge(
    "millrace_newest_labelled_event_timestamp_seconds",
    "Event time of the newest event whose label is known.",
    ["model", "partition"],
)
VERSIONS_WITHOUT_PROFILE = Gauge(
    "millrace_versions_without_profile", "Versions that serve and have no training profile to compare with.", ["model"]
)
MONITOR_STATES_SAVED = Counter("millrace_monitor_states_saved_total", "States that the monitor saved.", ["model"])
MONITOR_STATE_BYTES = Gauge(
    "millrace_monitor_state_bytes", "Size of the newest saved state, compressed.", ["model", "partition"]
)

# ---- a model that is made ----------------------------------------------------------------------------------------

TRAINING_IN_PROGRESS = Gauge("millrace_training_in_progress", "1 while a run is under way, else 0.", ["model"])
TRAINING_RUNS = Counter("millrace_training_runs_total", "Training runs ended, by outcome.", ["model", "status"])
TRAINING_SECONDS = Histogram(
    "millrace_training_seconds", "Duration of a training run.", ["model"], buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
)
TRAINING_CPU_SECONDS = Counter(
    "millrace_training_cpu_seconds_total", "Processor time of the fits, which have processes of their own.", ["model"]
)
TRAINING_MEMORY_BYTES = Gauge(
    "millrace_training_memory_bytes", "Most memory that the newest fit had at once.", ["model"]
)
VERSIONS_DECIDED = Counter(
    "millrace_versions_decided_total", "Registry decisions about runs, by outcome.", ["model", "status"]
)
DEPLOYMENTS = Counter(
    "millrace_deployments_total", "Deployments that the registry decided, by kind.", ["model", "kind"]
)
CHAMPION_VERSION = Gauge("millrace_champion_version", "Version that the registry has made champion.", ["model"])
CHAMPION_SINCE_TIMESTAMP_SECONDS = Gauge(
    "millrace_champion_since_timestamp_seconds", "When the champion became champion.", ["model"]
)
CHAMPION_TRAINED_TIMESTAMP_SECONDS = Gauge(
    "millrace_champion_trained_timestamp_seconds", "When the champion was registered, right after its run.", ["model"]
)
