"""Every metric once, with its kind and unit. Labels are services, topics, models and reasons, never entities.

Names follow the Prometheus rules: base units, the unit last, ``_total`` on counters.
"""

from prometheus_client import Counter, Gauge, Histogram

from millrace.telemetry.batch_histogram import BatchHistogram

LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)

LANE_RECOVERIES = Counter(
    "millrace_lane_recoveries_total", "Times a lane threw its state away and recovered.", ["service"]
)
RECORDS_IN = Counter("millrace_records_in_total", "Records taken from the bus, by topic.", ["service", "topic"])
RECORDS_OUT = Counter("millrace_records_out_total", "Records written to the bus, by topic.", ["service", "topic"])
DEAD_LETTERS = Counter("millrace_dead_letters_total", "Records refused, by reason.", ["stream", "reason"])
FLAGGED = Counter("millrace_flagged_total", "Samples that passed with a flag, by expectation.", ["stream", "flag"])
DATA_QUALITY = Counter(
    "millrace_data_quality_total", "Windows of events found unlike the training rows.", ["stream", "check", "severity"]
)
OPENLINEAGE_EVENTS = Counter(
    "millrace_openlineage_events_total", "OpenLineage events, by whether they were told or lost.", ["outcome"]
)
ASYNCIO_TASKS = Gauge("millrace_asyncio_tasks", "Tasks of the process's event loop, as of this answer.")
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
BATCH_SECONDS = Histogram(
    "millrace_batch_seconds", "Time to process one micro-batch.", ["service"], buckets=LATENCY_BUCKETS_S
)
EVENT_TO_PREDICTION_SECONDS = BatchHistogram(
    "millrace_event_to_prediction_seconds",
    "Log time of an event to the scoring of its micro-batch.",
    "model",
    LATENCY_BUCKETS_S,
)
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
MODEL_ACCURACY = Gauge(
    "millrace_model_accuracy_ratio", "Prequential accuracy over the newest window.", ["model", "version"]
)
DRIFTS = Counter("millrace_drifts_total", "Drift events, by severity.", ["model", "severity"])
RETRAIN_REQUESTS = Counter("millrace_retrain_requests_total", "Retrain requests sent by the monitor.", ["model"])
TRAINING_RUNS = Counter("millrace_training_runs_total", "Training runs ended, by outcome.", ["model", "status"])
TRAINING_SECONDS = Histogram(
    "millrace_training_seconds", "Duration of a training run.", ["model"], buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
)
VERSIONS_DECIDED = Counter(
    "millrace_versions_decided_total", "Registry decisions about runs, by outcome.", ["model", "status"]
)
