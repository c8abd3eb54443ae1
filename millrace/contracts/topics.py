"""The topic table: every topic once, with who writes it, who reads it, and how the broker keeps it.

Rules that hold for all topics:

- A name is lower-case with hyphens. ``<stream>`` and ``<model>`` come from the model project.
- Values are Avro in Confluent wire format, subjects by TopicNameStrategy (``<topic>-value``); keys are UTF-8 strings.
- The topics of one stream and of the models on it are *co-partitioned*: partition ``p`` of one is computed only from
  partition ``p`` of the others. That makes an entity's history one ordered sequence from event to prediction.
- Control topics are never compacted: they are the memory of what was decided, and projections are rebuilt from them.
  Two topics are, ``<stream>-feature-state`` and ``<model>-monitor-state``: they only save time, what they hold follows
  from other topics.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from millrace.contracts.project import Project

DAY_MS = 24 * 3600 * 1000
FOREVER = -1

Service = Literal["upstream", "ingest", "trainer", "registry", "serving", "monitor", "operator"]
Scope = Literal["stream", "model", "platform"]


@dataclass(frozen=True, slots=True)
class TopicRow:
    """One row of the table.

    ``schema`` names the folder under ``schemas/``; None is for the user's own schema (events) or raw bytes (dead letters).
    ``retention_ms`` of ``FOREVER`` keeps every record. ``partitions`` of None follows the stream's setting. Of a ``compacted`` topic the broker keeps the newest record
    of each key.
    """

    suffix: str
    scope: Scope
    key: str
    schema: str | None
    writers: tuple[Service, ...]
    readers: tuple[str, ...]
    retention_ms: int
    partitions: int | None
    what: str
    compacted: bool = False

    @property
    def is_input(self) -> bool:
        """Whether upstream systems write it: then readers must be able to read every older version (BACKWARD)."""
        return self.writers == ("upstream",)

    def name(self, *, stream: str, model: str) -> str:
        """The topic's name for this stream and model."""
        match self.scope:
            case "stream":
                return f"{stream}-{self.suffix}"
            case "model":
                return f"{model}-{self.suffix}"
            case "platform":
                return self.suffix


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as the broker is asked to create it.

    ``log_append_time`` lets the broker's clock stamp the records. What upstream writes keeps the producer's time.
    """

    name: str
    partitions: int
    retention_ms: int
    log_append_time: bool = True
    compacted: bool = False


EVENTS = TopicRow(
    "events",
    "stream",
    "entity",
    None,
    ("upstream",),
    ("ingest",),
    7 * DAY_MS,
    None,
    "the user's own schema; names of id, entity and time fields are in model.yaml",
)
LABELS = TopicRow(
    "labels",
    "stream",
    "entity",
    "label-observed",
    ("upstream",),
    ("ingest",),
    7 * DAY_MS,
    None,
    "event id, label, label time",
)
SAMPLES = TopicRow(
    "samples",
    "stream",
    "entity",
    "sample-recorded",
    ("ingest",),
    ("ingest", "serving", "trainer"),
    90 * DAY_MS,
    None,
    "validated sample with features; or a label joined to its event",
)
DEAD_LETTERS = TopicRow(
    "dead-letters",
    "stream",
    "as received",
    None,
    ("ingest", "serving"),
    ("operator",),
    30 * DAY_MS,
    None,
    "original bytes and headers, plus `__connect.errors.*` headers",
)
PREDICTIONS = TopicRow(
    "predictions",
    "model",
    "entity",
    "prediction-made",
    ("serving",),
    ("downstream",),
    90 * DAY_MS,
    None,
    "one per sample: deterministic id, value, scores, version, times",
)
OBSERVATIONS = TopicRow(
    "observations",
    "model",
    "partition",
    "observations-recorded",
    ("serving",),
    ("monitor",),
    30 * DAY_MS,
    None,
    "columnar frames: features, predictions and labels of one micro-batch",
)
FEATURE_STATE = TopicRow(
    "feature-state",
    "stream",
    "partition, kind and part",
    "feature-state-saved",
    ("ingest",),
    ("ingest",),
    FOREVER,
    None,
    "what ingest remembers, as of an offset of the samples: recovery begins there",
    compacted=True,
)
DATA_SNAPSHOTS = TopicRow(
    "data-snapshots",
    "platform",
    "stream",
    "data-snapshot-taken",
    ("ingest",),
    ("trainer", "operator"),
    FOREVER,
    1,
    "offset ranges + profile (and the table version, where there is a lake)",
)
RETRAIN_REQUESTS = TopicRow(
    "retrain-requests",
    "platform",
    "model",
    "retrain-model",
    ("monitor", "operator"),
    ("trainer", "monitor", "registry", "operator"),
    FOREVER,
    1,
    "why, since when, evidence",
)
TRAINING_RUNS = TopicRow(
    "training-runs",
    "platform",
    "model",
    "training-run-changed",
    ("trainer",),
    ("registry", "trainer", "monitor", "operator"),
    FOREVER,
    1,
    "progress, metrics, outcome",
)
MODEL_VERSIONS = TopicRow(
    "model-versions",
    "platform",
    "model",
    "model-version-changed",
    ("registry",),
    ("registry", "trainer", "monitor", "operator"),
    FOREVER,
    1,
    "life-cycle facts",
)
DEPLOYMENTS = TopicRow(
    "deployments",
    "platform",
    "model",
    "deployment-decided",
    ("registry",),
    ("ingest", "serving", "trainer", "registry", "monitor", "operator"),
    FOREVER,
    1,
    "desired traffic per version, with an epoch that only grows",
)
SERVING_STATUS = TopicRow(
    "serving-status",
    "platform",
    "model",
    "serving-status-reported",
    ("serving",),
    ("registry", "operator"),
    FOREVER,
    1,
    "what each process really serves",
)
MODEL_METRICS = TopicRow(
    "model-metrics",
    "platform",
    "model",
    "model-metrics-measured",
    ("monitor",),
    ("registry", "operator"),
    90 * DAY_MS,
    1,
    "windowed metrics per version",
)
DRIFT_EVENTS = TopicRow(
    "drift-events",
    "platform",
    "model",
    "drift-detected",
    ("monitor",),
    ("monitor", "operator"),
    FOREVER,
    1,
    "detector, subject, evidence, severity",
)
EXPECTATIONS = TopicRow(
    "expectations",
    "platform",
    "model",
    "expectations-learned",
    ("trainer",),
    ("ingest",),
    FOREVER,
    1,
    "what the training rows of a version look like: ranges, categories, missing shares",
)
DATA_QUALITY = TopicRow(
    "data-quality",
    "platform",
    "stream",
    "data-quality-judged",
    ("ingest",),
    ("trainer", "operator"),
    FOREVER,
    1,
    "windows of events that are unlike the training rows; an alarm vetoes training on them",
)
SHADOW_PREDICTIONS = TopicRow(
    "shadow-predictions",
    "model",
    "entity",
    "prediction-made",
    ("serving",),
    ("operator",),
    30 * DAY_MS,
    None,
    "what a version says that is scored beside the one that answers",
)
REGISTRY_REQUESTS = TopicRow(
    "registry-requests",
    "platform",
    "model",
    "manage-model",
    ("operator",),
    ("registry", "operator"),
    FOREVER,
    1,
    "approve, promote, roll back, freeze: what people ask of the registry",
)
ROLLOUT_EVIDENCE = TopicRow(
    "rollout-evidence",
    "platform",
    "model",
    "rollout-measured",
    ("monitor",),
    ("registry", "operator"),
    FOREVER,
    1,
    "how the variants of a rollout do: rows, errors, time and paired losses",
)
ALERTS = TopicRow(
    "alerts",
    "platform",
    "model",
    "alert-raised",
    ("ingest", "trainer", "registry", "serving", "monitor", "operator"),
    ("operator",),
    90 * DAY_MS,
    1,
    "what an operator should look at now",
)
TRAINING_PROFILES = TopicRow(
    "training-profiles",
    "platform",
    "model",
    "training-profile-recorded",
    ("trainer",),
    ("monitor", "operator"),
    FOREVER,
    1,
    "a sample of the rows that a version was trained and tested on, to compare with",
)
MONITOR_STATE = TopicRow(
    "monitor-state",
    "model",
    "partition and part",
    "monitor-state-saved",
    ("monitor",),
    ("monitor",),
    FOREVER,
    None,
    "what the monitor remembers, as of an offset of the observations: recovery begins there",
    compacted=True,
)
ALERT_ACTIONS = TopicRow(
    "alert-actions",
    "platform",
    "actor",
    "alert-handled",
    ("operator",),
    ("operator",),
    FOREVER,
    1,
    "alerts acknowledged and silenced, by whom and why",
)
AUDIT_EVENTS = TopicRow(
    "audit-events",
    "platform",
    "actor",
    "audit-recorded",
    ("registry", "operator"),
    ("registry", "operator"),
    FOREVER,
    1,
    "who decided what, and why",
)

TABLE: tuple[TopicRow, ...] = (
    EVENTS, LABELS, SAMPLES, DEAD_LETTERS, FEATURE_STATE, PREDICTIONS, SHADOW_PREDICTIONS, OBSERVATIONS,
    DATA_SNAPSHOTS, EXPECTATIONS, DATA_QUALITY, RETRAIN_REQUESTS, TRAINING_RUNS, MODEL_VERSIONS, REGISTRY_REQUESTS,
    DEPLOYMENTS, ROLLOUT_EVIDENCE, SERVING_STATUS, TRAINING_PROFILES, MODEL_METRICS, MONITOR_STATE, DRIFT_EVENTS, ALERTS,
    ALERT_ACTIONS, AUDIT_EVENTS,
)  # fmt: skip


def subject(topic: str) -> str:
    """The schema registry's subject for a topic's values (TopicNameStrategy)."""
    return f"{topic}-value"


def topic_name(row: TopicRow, project: Project) -> str:
    """The row's topic for this project."""
    return row.name(stream=project.stream, model=project.model)


def specs(project: Project) -> Iterator[TopicSpec]:
    """Every topic that the project needs, ready to be created."""
    for row in TABLE:
        partitions = row.partitions or project.partitions
        yield TopicSpec(
            topic_name(row, project), partitions, row.retention_ms, log_append_time=not row.is_input,
            compacted=row.compacted,
        )  # fmt: skip
