"""Our events as OpenLineage's. Pure: the same event gives the same words. Imported only where lineage is told.

| ours | job | inputs | outputs |
|---|---|---|---|
| training run | ``<model>.train`` | samples topic, lake table | ``models/<model>`` |
| data snapshot | ``<stream>.snapshot`` | samples topic | lake table |
| deployment | ``<model>.deploy`` | ``models/<model>`` of each version | predictions topic |

Run ids are made from ours. The version of a model is its file's SHA-256, that of a topic its offset ranges, as
``partition:from-until``. What the standard facets have no word for is in facets called ``millrace_…``.
"""

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import attr
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.facet_v2 import (
    DatasetFacet,
    JobFacet,
    RunFacet,
    dataset_version_dataset,
    error_message_run,
    execution_parameters_run,
    input_statistics_input_dataset,
    job_type_job,
    output_statistics_output_dataset,
    schema_dataset,
)

from millrace.contracts import topics
from millrace.contracts.events import DataSnapshotTaken, DeploymentDecided, OffsetRange, TrainingRunChanged
from millrace.telemetry.openlineage import Places

PRODUCER = "urn:millrace:openlineage"
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, PRODUCER)
_STATES = {"STARTED": RunState.START, "SUCCEEDED": RunState.COMPLETE, "FAILED": RunState.FAIL}
_SAMPLE = (
    ("kind", "string"), ("event_id", "string"), ("entity", "string"), ("time_ms", "timestamp-millis"),
    ("feature_set", "string"), ("label", "double"),
)  # fmt: skip


@attr.define
class CodeJobFacet(JobFacet):
    """What a job's result depends on besides its data, by content."""

    codeHash: str  # noqa: N815  # names as OpenLineage writes them
    featureSet: str  # noqa: N815
    configHash: str | None = None  # noqa: N815
    lockHash: str | None = None  # noqa: N815


@attr.define
class TrainingRunFacet(RunFacet):
    """What a training run is, under our own names."""

    runId: str  # noqa: N815
    trigger: str
    causedBy: str  # noqa: N815
    trainRows: int  # noqa: N815
    holdoutRows: int  # noqa: N815
    rowsSha256: str | None = None  # noqa: N815
    snapshotId: str | None = None  # noqa: N815
    excluded: str | None = None
    metrics: dict[str, float] | None = None


@attr.define
class ModelDatasetFacet(DatasetFacet):
    """Which version of a model a file is, and its part of the traffic."""

    model: str
    version: int
    variant: str
    share: float


def run_id(kind: str, name: str) -> str:
    """OpenLineage's id for one of ours: always the same.

    >>> run_id("run", "run-1") == run_id("run", "run-1") != run_id("snapshot", "run-1")
    True
    """
    return str(uuid.uuid5(_NAMES, f"{kind}/{name}"))


def training(run: TrainingRunChanged, names: Sequence[str], places: Places) -> list[RunEvent]:
    """A run's beginning or end."""
    facets: dict[str, RunFacet] = {
        "millrace_training": TrainingRunFacet(
            runId=run.run_id,
            trigger=run.trigger,
            causedBy=run.caused_by,
            trainRows=run.train_rows,
            holdoutRows=run.holdout_rows,
            rowsSha256=run.rows_sha256,
            snapshotId=run.snapshot_id,
            excluded=_version(run.excluded) or None,
            metrics={name: value for name, value in run.metrics.items() if math.isfinite(value)} or None,
        ),
        "executionParameters": execution_parameters_run.ExecutionParametersRunFacet(
            parameters=[execution_parameters_run.ExecutionParameter(key="seed", value=str(run.seed))]
        ),
    }
    if run.status == "FAILED":
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(run.error or "unknown", "Python")
    code = CodeJobFacet(run.code_hash, run.feature_set, run.config_hash, run.lock_hash)
    rows = run.train_rows + run.holdout_rows
    inputs = [_topic(places, part.topic, run.ranges, names, rows) for part in run.ranges[:1]]
    if run.table_version is not None and places.lake is not None and run.ranges:
        stream = run.ranges[0].topic.removesuffix(f"-{topics.SAMPLES.suffix}")
        inputs.append(InputDataset(*_table(places, stream), facets=_facets(str(run.table_version), names)))
    outputs = [] if run.artifact_sha256 is None else [_model_made(run, run.artifact_sha256, places)]
    return [
        RunEvent(
            eventType=_STATES[run.status],
            eventTime=_time(run.changed_at_ms),
            producer=PRODUCER,
            run=Run(run_id("run", run.run_id), facets=facets),
            job=_job(places, f"{run.model}.train", "TRAINING", {"millrace_code": code}),
            inputs=inputs,
            outputs=outputs,
        )
    ]


def snapshot(taken: DataSnapshotTaken, names: Sequence[str], places: Places) -> list[RunEvent]:
    """A snapshot begins and is complete at once: it is known when it is taken."""
    inputs = [_topic(places, part.topic, taken.ranges, names, taken.rows) for part in taken.ranges[:1]]
    outputs = []
    if taken.table_version is not None and places.lake is not None:
        facets = _facets(str(taken.table_version), names)
        outputs.append(OutputDataset(*_table(places, taken.stream), facets=facets))
    job = _job(places, f"{taken.stream}.snapshot", "SNAPSHOT", {})
    return _at_once(run_id("snapshot", taken.snapshot_id), job, taken.taken_at_ms, inputs, outputs)


def deployment(decided: DeploymentDecided, places: Places) -> list[RunEvent]:
    """From now on predictions are made from these versions."""
    inputs = [
        InputDataset(
            places.namespace,
            f"models/{decided.model}",
            facets={
                "version": dataset_version_dataset.DatasetVersionDatasetFacet(part.artifact_sha256),
                "millrace_model": ModelDatasetFacet(decided.model, part.version, part.variant, part.share),
            },
        )
        for part in decided.traffic
    ]
    topic = topics.PREDICTIONS.name(stream="", model=decided.model)
    version = dataset_version_dataset.DatasetVersionDatasetFacet(f"epoch {decided.epoch}")
    outputs = [OutputDataset(places.bus, topic, facets={"version": version})]
    job = _job(places, f"{decided.model}.deploy", "DEPLOYMENT", {})
    return _at_once(run_id("deployment", decided.deployment_id), job, decided.decided_at_ms, inputs, outputs)


def _at_once(
    name: str, job: Job, time_ms: int, inputs: list[InputDataset], outputs: list[OutputDataset]
) -> list[RunEvent]:
    return [
        RunEvent(
            eventType=state,
            eventTime=_time(time_ms),
            producer=PRODUCER,
            run=Run(name),
            job=job,
            inputs=inputs,
            outputs=outputs,
        )
        for state in (RunState.START, RunState.COMPLETE)
    ]


def _job(places: Places, name: str, kind: str, facets: Mapping[str, JobFacet]) -> Job:
    said = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="MILLRACE", jobType=kind)
    return Job(places.namespace, name, facets={"jobType": said, **facets})


def _topic(places: Places, topic: str, ranges: Iterable[OffsetRange], names: Sequence[str], rows: int) -> InputDataset:
    statistics = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(rowCount=rows)
    return InputDataset(
        places.bus, topic, facets=_facets(_version(ranges), names), inputFacets={"inputStatistics": statistics}
    )


def _table(places: Places, stream: str) -> tuple[str, str]:
    """Namespace and name of the stream's table, as OpenLineage names files and buckets.

    >>> _table(Places(lake="s3://bucket/lake"), "tiny")
    ('s3://bucket', 'lake/tiny')
    >>> _table(Places(lake="/data/lake"), "tiny")
    ('file', '/data/lake/tiny')
    """
    assert places.lake is not None, "the caller asks first"
    scheme, found, rest = places.lake.rstrip("/").partition("://")
    if not found:
        return "file", f"{scheme}/{stream}"
    bucket, _, folder = rest.partition("/")
    return f"{scheme}://{bucket}", "/".join(part for part in (folder, stream) if part)


def _model_made(run: TrainingRunChanged, sha256: str, places: Places) -> OutputDataset:
    size = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(size=run.artifact_bytes)
    return OutputDataset(
        places.namespace,
        f"models/{run.model}",
        facets={"version": dataset_version_dataset.DatasetVersionDatasetFacet(sha256)},
        outputFacets={"outputStatistics": size},
    )


def _facets(version: str, names: Sequence[str]) -> dict[str, DatasetFacet]:
    columns = [*_SAMPLE, *((name, "double") for name in names)]
    fields: list[Any] = [schema_dataset.SchemaDatasetFacetFields(name=name, type=kind) for name, kind in columns]
    return {
        "version": dataset_version_dataset.DatasetVersionDatasetFacet(version),
        "schema": schema_dataset.SchemaDatasetFacet(fields=fields),
    }


def _version(ranges: Iterable[OffsetRange]) -> str:
    return ",".join(f"{part.partition}:{part.from_offset}-{part.until_offset}" for part in ranges)


def _time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
