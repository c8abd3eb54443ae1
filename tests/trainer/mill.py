"""A small stream for the trainer's tests: a project, its samples log, and a trainer on it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from millrace.bus.types import OutRecord
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.events import (
    DataQualityJudged,
    DataSnapshotTaken,
    DeploymentDecided,
    Event,
    OffsetMark,
    OffsetRange,
    RetrainModel,
    SampleRecorded,
    Traffic,
)
from millrace.contracts.project import Project, load_project
from millrace.contracts.topics import TopicRow
from millrace.stores.artifacts import ArtifactStore
from services.trainer.fitter import Fitter, fit_inline
from services.trainer.shell import TrainerService
from services.trainer.sources import Sources
from services.trainer.train.task import FitTask, Rows
from tests.support import EPOCH_MS, MINUTE_MS, World, tiny_project

GIVE_UP_S = 30.0
BOOSTING = """
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline


def build(seed):
    return make_pipeline(HistGradientBoostingClassifier(random_state=seed, early_stopping=True, max_iter=20))
"""
REGRESSION = """
from sklearn.ensemble import HistGradientBoostingRegressor


def build(seed):
    return HistGradientBoostingRegressor(random_state=seed, max_iter=20)
"""


def project_with(folder: Path, pipeline: str | None = None, **changes: Any) -> Project:
    """A small project whose pipeline.py is the given text."""
    project = tiny_project(folder, **changes)
    if pipeline is None:
        return project
    (folder / "pipeline.py").write_text(pipeline)
    return load_project(folder)


def regression_project(folder: Path, pipeline: str = REGRESSION) -> Project:
    """The same with a number to predict."""
    return project_with(
        folder,
        pipeline,
        label={"task": "regression", "classes": []},
        gates={"first": 10.0, "metric": "mae"},
    )


def numbers(rows: int, width: int, seed: int = 7, sign: float = 1.0) -> Rows:
    """Rows whose class is the sign of the first feature, with some noise; 2 % of the values are missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, width)).astype(np.float32)
    y = (sign * x[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(np.float64)
    x[rng.random(x.shape) < 0.02] = np.nan
    return Rows(x, y)


def task_of(project: Project, rows: int = 400, **changes: Any) -> FitTask:
    """A fit task over made-up rows; the newest quarter is held out."""
    data, cut = numbers(rows, len(project.feature_names)), rows * 3 // 4
    fields: dict[str, Any] = {
        "model": project.model,
        "feature_set": project.feature_set,
        "feature_names": project.feature_names,
        "label": project.label,
        "gates": project.gates,
        "seed": project.training.seed,
        "pipeline": Sources.read(project).pipeline,
        "train": Rows(data.x[:cut], data.y[:cut]),
        "holdout": Rows(data.x[cut:], data.y[cut:]),
        "champion": None,
        "rows_min": 100,
        "timeout_s": 30.0,
    }
    return FitTask(**{**fields, **changes})


def sample(project: Project, kind: str, number: int, values: Sequence[float], label: float | None) -> SampleRecorded:
    """An EVENT with features, or the LABEL of one."""
    return SampleRecorded.model_validate(
        {
            "kind": kind,
            "event_id": f"e{number}",
            "entity": "w",
            "time_ms": EPOCH_MS + number * MINUTE_MS,
            "feature_set": project.feature_set if kind == "EVENT" else "",
            "features": tuple(values),
            "event": b"" if kind == "EVENT" else None,
            "label": label,
            "source_topic": "t",
            "source_partition": 0,
            "source_offset": number,
            "source_time_ms": 0,
        }
    )


class Mill:
    """A world with a samples log that grows, and the events that make the trainer work."""

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.artifacts = ArtifactStore(folder / "artifacts")
        self.rows = 0

    @classmethod
    async def create(cls, project: Project, folder: Path) -> "Mill":
        """An empty log."""
        return cls(await World.create(project), folder)

    async def send(self, row: TopicRow, *events: Event) -> None:
        """Append events to a topic of this project."""
        codec = Codec(self.world.schemas)
        await codec.prepare(self.world.project, row)
        topic = self.world.topic(row)
        producer = await self.world.transport().producer(f"mill.{row.suffix}")
        for at in range(0, len(events), 500):
            await producer.commit([OutRecord(topic, b"k", codec.encode(topic, e), 0) for e in events[at : at + 500]])

    async def grow(self, rows: int, **shape: float) -> None:
        """Append labelled samples, the label after the next event, as it is with a delay of one row."""
        project = self.world.project
        data = numbers(rows, len(project.feature_names), seed=7 + self.rows, **shape)
        events: list[SampleRecorded] = []
        for at, (x, y) in enumerate(zip(data.x.tolist(), data.y.tolist(), strict=True), start=self.rows):
            events += [sample(project, "EVENT", at, x, None), sample(project, "LABEL", at, (), y)]
        for at in range(1, len(events) - 1, 2):
            events[at], events[at + 1] = events[at + 1], events[at]
        await self.send(topics.SAMPLES, *events)
        self.rows += rows

    async def snapshot(self, labelled_rows: int | None = None) -> str:
        """Announce everything that is there."""
        project, rows = self.world.project, labelled_rows or self.rows
        topic = self.world.topic(topics.SAMPLES)
        end = (await self.world.transport().bounds(topic, 0)).end
        snapshot = DataSnapshotTaken(
            snapshot_id=f"{project.stream}/0/{rows}",
            stream=project.stream,
            feature_set=project.feature_set,
            ranges=(OffsetRange(topic=topic, partition=0, from_offset=0, until_offset=end),),
            table_version=None,
            rows=rows,
            labelled_rows=rows,
            from_time_ms=EPOCH_MS,
            until_time_ms=EPOCH_MS,
            profile=(),
            taken_at_ms=EPOCH_MS + rows,
        )
        await self.send(topics.DATA_SNAPSHOTS, snapshot)
        return snapshot.snapshot_id

    async def ask(self, request_id: str, mark: int | None = None, **changes: Any) -> None:
        """Ask for a retrain."""
        topic = self.world.topic(topics.SAMPLES)
        request = RetrainModel(
            request_id=request_id,
            model=self.world.project.model,
            reason="DRIFT",
            caused_by=None,
            message="",
            since_time_ms=None,
            until=() if mark is None else (OffsetMark(topic=topic, partition=0, offset=mark),),
            requested_by="test",
            requested_at_ms=self.world.clock.now_ms(),
        )
        await self.send(topics.RETRAIN_REQUESTS, request.model_copy(update=changes))

    async def deploy(self, digest: str, version: int = 1) -> None:
        """Make the artefact of that digest the champion."""
        project = self.world.project
        part = Traffic(
            variant="champion", version=version, share=1.0, artifact_sha256=digest, feature_set=project.feature_set
        )
        await self.send(
            topics.DEPLOYMENTS,
            DeploymentDecided(
                deployment_id=f"d{version}",
                model=project.model,
                epoch=version,
                traffic=(part,),
                scoring_since_ms=0,
                caused_by="",
                reason="",
                decided_by="",
                decided_at_ms=0,
            ),
        )

    async def veto(self, low: int, high: int) -> None:
        """Judge these offsets of the samples to be bad."""
        project = self.world.project
        judgement = DataQualityJudged(
            judgement_id=f"q/{low}",
            stream=project.stream,
            model=project.model,
            partition=0,
            check="missing-share",
            subject="x",
            severity="ALARM",
            from_offset=low,
            until_offset=high,
            from_event_offset=0,
            until_event_offset=0,
            rows=1,
            observed=1,
            expected=0,
            message="",
            expectations_id=None,
            vetoes=True,
            judged_at_ms=0,
        )
        await self.send(topics.DATA_QUALITY, judgement)

    @contextlib.asynccontextmanager
    async def trainer(self, fit: Fitter = fit_inline, **options: Any) -> AsyncIterator[TrainerService]:
        """A running trainer; leaving ends it at once, as a kill does: it writes nothing on its way out."""
        service = TrainerService(self.world.context("trainer"), artifacts=self.artifacts, fit=fit, **options)
        task = asyncio.create_task(service.run())
        try:
            yield service
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def runs(self) -> list[dict[str, Any]]:
        """What ``training-runs`` says."""
        return [run for run in await self.world.values(topics.TRAINING_RUNS) if run["progress"] is None]

    async def progress(self) -> list[dict[str, Any]]:
        """What it says about runs that are under way."""
        return [run for run in await self.world.values(topics.TRAINING_RUNS) if run["progress"] is not None]

    async def until_runs(self, count: int) -> list[dict[str, Any]]:
        """Wait until it says that much, progress aside."""
        topic = self.world.topic(topics.TRAINING_RUNS)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(GIVE_UP_S):
            async for records in self.world.transport().read(topic, 0, 0, None):
                said = [await Codec(self.world.schemas).decode_record(record.value) for record in records]
                found += [run for run in said if run["progress"] is None]
                if len(found) >= count:
                    break
        return found


async def until(condition: Callable[[], bool], seconds: float = GIVE_UP_S) -> None:
    """Wait until it holds; for what no event tells, such as the end of a foreign process."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  # see above
            await asyncio.sleep(0.01)


def story(runs: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Status and cause of each event."""
    return [(run["status"], run["caused_by"]) for run in runs]


def children(pid: int) -> Iterator[int]:
    """Processes below this one, by /proc."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid and fields[0] != "Z":
                yield int(entry.name)
                yield from children(int(entry.name))
