"""The trainer's effects: news -> the core's decision -> rows, fit, artefact, event. One thing at a time.

The subscription only rings a bell; what happened is read from the log by the journal. A fit that fails, whatever the
reason, ends its run with a FAILED event and an alert, and the service goes on. An artefact store that does not answer
is asked again for a while first. A champion whose file is lost is no such reason: only the next model can help.
"""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from millrace.bus.context import Context
from millrace.bus.failpoints import failpoint
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import (
    ArtifactError,
    ArtifactStoreUnavailableError,
    ContractError,
    MillraceError,
    OffsetGoneError,
)
from millrace.contracts.events import ExpectationsLearned, Traffic, TrainingRunChanged
from millrace.contracts.project import Project
from millrace.contracts.topics import topic_name
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import TRAINING_RUNS, TRAINING_SECONDS
from services.trainer import core, endings
from services.trainer.environment import lock_hash
from services.trainer.fitter import Fitter
from services.trainer.journal import FOLDED, Journal
from services.trainer.learner import Learner
from services.trainer.reader import SamplesReader
from services.trainer.train.task import FitError, FitTask, PipelineSource
from services.trainer.train.window import Window, split

log = get_logger(__name__)
STORE_TRIES = 30  # with the waits between them about two minutes: a restart of the store, not a night
WRITES = (topics.TRAINING_RUNS, topics.EXPECTATIONS, topics.ALERTS)
UNREADABLE = (ContractError, OffsetGoneError)


class TrainerService:
    """Trains one model.

    Args:
        context: project, transport, codec, clock.
        artifacts: where the ONNX files are put, and the champion's is got.
        fit: runs one fit; raises nothing but ``FitError``.
        in_thread: makes a blocking call of the artefact store beside the event loop; a simulation, whose time is
            virtual, makes it in the loop.
        store_tries: how often the store is asked before the run has failed.
    """

    def __init__(
        self,
        context: Context,
        *,
        artifacts: ArtifactStore,
        fit: Fitter,
        in_thread: InThread = asyncio.to_thread,
        store_tries: int = STORE_TRIES,
    ) -> None:
        project = context.project
        self._context = context
        self._artifacts = artifacts
        self._fit = fit
        self._in_thread = in_thread
        self._store_tries = store_tries
        self._policy = policy_of(project)
        self._pipeline, self._project_error = read_pipeline(project)
        self._journal = Journal(project.model, project.stream, context.transport, context.codec)
        self._reader = SamplesReader(project, context.transport, context.codec)
        self._learner = Learner(project, context.codec, in_thread)
        self._window: tuple[str, Window] | None = None  # of the run that was just opened; saves reading it twice
        self._news = asyncio.Event()
        self._prepared = False
        self._bus_error: str | None = "the state is being rebuilt from the log"

    async def run(self) -> None:
        """Train until cancelled."""
        group = f"millrace-trainer-{self._context.project.model}"
        try:
            await run_together(self._context.transport.subscribe(group, list(FOLDED), self._ring), self._work())
        finally:
            await self._journal.close()

    def checks(self) -> Mapping[str, str | None]:
        """``bus``: the state is what the log says. ``project``: the pipeline can be loaded."""
        return {"bus": self._bus_error, "project": self._project_error}

    def add_routes(self, app: FastAPI) -> None:
        """The trainer has no HTTP paths of its own."""

    async def _ring(self, record: Record) -> None:
        """News: the journal reads it from the log, so handling it twice or late changes nothing."""
        del record
        self._news.set()

    async def _work(self) -> None:
        failures = 0
        while True:
            self._news.clear()
            try:
                if not self._prepared:
                    await self._context.codec.prepare(self._context.project, *WRITES)
                    self._prepared = True
                await self._journal.refresh()
                await self._journal.tell_unreadable(self._now_ms())
                self._bus_error, failures = None, 0
                decision = core.decide(self._journal.state, self._policy)
                match decision:
                    case core.Begin():
                        await self._begin(decision)
                    case core.Repeat():
                        await self._do(decision.started)
                    case None:
                        await self._news.wait()
            except MillraceError as error:
                if not error.retryable:
                    raise
                failures += 1
                self._bus_error = str(error)
                log.warning("the log cannot be read, trying again", failures=failures, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    async def _begin(self, begin: core.Begin) -> None:
        """Fix the rows and open the run; the next decision does its fit."""
        state = self._journal.state
        try:
            window = await self._reader.newest(begin.rows, begin.marks, state.vetoes)
        except UNREADABLE as error:
            await self._say(core.unreadable(self._policy, begin, str(error), self._now_ms()))
            return
        change = core.open_or_refuse(state, self._policy, begin, window, self._now_ms())
        if change is None:
            self._journal.state = core.put_off(state, begin)
            log.info("too few rows for a first model", caused_by=begin.caused_by, rows=len(window.rows))
            return
        self._window = (change.run_id, window)
        await self._say(change)

    async def _do(self, started: TrainingRunChanged) -> None:
        """Fit and end the run. Killed anywhere in here, it is done again from the beginning, with the same result."""
        champion = core.champion_for(self._journal.state, self._policy)
        try:
            window = await self._rows_of(started)
            content, fault = await self._champion_file(champion)
            result = await self._fit(self._task(window, content))
            digest = await self._ask_store(self._artifacts.put, result.artifact)
            failpoint("train.between-artifact-and-event")
        except (FitError, ArtifactError, OSError, *UNREADABLE) as error:
            await self._say(endings.failed(started, str(error), self._now_ms()))
        else:
            learned = await self._learner.learn(window, started, digest, self._now_ms())
            ended = endings.succeeded(started, result, digest, champion, self._now_ms(), champion_fault=fault)
            await self._say(ended.model_copy(update={"expectations_id": learned.expectations_id}), learned)

    async def _champion_file(self, champion: Traffic | None) -> tuple[bytes | None, str | None]:
        """The champion's file, or why it is lost; neither without a champion."""
        if champion is None:
            return None, None
        try:
            return await self._ask_store(self._artifacts.get, champion.artifact_sha256), None
        except ArtifactStoreUnavailableError:
            raise
        except ArtifactError as error:
            log.error("the champion's file is lost", version=champion.version, error=str(error))  # noqa: TRY400  # the message is enough
            return None, str(error)

    async def _ask_store(self, call: Callable[..., Any], argument: bytes | str) -> Any:
        """The store's answer. Raises ``ArtifactStoreUnavailableError`` when it has given none for a while."""
        attempt = 1
        while True:
            try:
                return await self._in_thread(call, argument)
            except ArtifactStoreUnavailableError as error:
                if attempt >= self._store_tries:
                    raise
                log.warning("the artefact store does not answer, trying again", attempt=attempt, error=str(error))
                await asyncio.sleep(backoff_s(attempt))
                attempt += 1

    async def _rows_of(self, started: TrainingRunChanged) -> Window:
        why = core.outdated(self._policy, started)
        if why is not None:
            raise FitError(why)
        known, self._window = self._window, None
        if known is not None and known[0] == started.run_id:
            return known[1]
        window = await self._reader.again(started.ranges, started.excluded)
        if len(window.rows) != started.train_rows + started.holdout_rows:
            raise FitError(
                f"the ranges hold {len(window.rows)} rows now, the run began with "
                f"{started.train_rows} and {started.holdout_rows}"
            )
        if started.rows_sha256 not in {None, window.sha256}:
            raise FitError(f"the rows hash to {window.sha256} now, the run began with {started.rows_sha256}")
        return window

    def _task(self, window: Window, champion: bytes | None) -> FitTask:
        project, training = self._context.project, self._policy.training
        train, holdout = split(window.rows, training.holdout_rows)
        return FitTask(
            model=project.model,
            feature_set=project.feature_set,
            feature_names=project.feature_names,
            label=project.label,
            gates=project.gates,
            seed=training.seed,
            pipeline=self._pipeline,
            train=train,
            holdout=holdout,
            champion=champion,
            rows_min=min(training.first_rows, training.window_rows),
            timeout_s=training.timeout_s,
        )

    async def _say(self, change: TrainingRunChanged, learned: ExpectationsLearned | None = None) -> None:
        if not await self._journal.publish(change, learned):
            log.info("already in the log", run_id=change.run_id, status=change.status)
            return
        self._context.lineage.training(change, self._context.project.feature_names)
        log.info("training run", run_id=change.run_id, status=change.status, trigger=change.trigger, error=change.error)
        if change.status != "STARTED":
            TRAINING_RUNS.labels(change.model, change.status).inc()
            TRAINING_SECONDS.labels(change.model).observe(change.duration_s)

    def _now_ms(self) -> int:
        return self._context.clock.now_ms()


def policy_of(project: Project) -> core.Policy:
    """The part of the project that decisions depend on. Reads the pipeline's file for its hash."""
    return core.Policy(
        model=project.model,
        stream=project.stream,
        samples=topic_name(topics.SAMPLES, project),
        feature_set=project.feature_set,
        code_hash=project.code_hash,
        training=project.training,
        config_hash=project.config_hash,
        lock_hash=lock_hash(),
    )


def read_pipeline(project: Project) -> tuple[PipelineSource, str | None]:
    """The pipeline's text, and what is wrong with it before it is run: a fit would fail, so readiness says it now."""
    file, _, function = project.training.pipeline.partition(":")
    path: Path = project.folder / file
    source = PipelineSource(str(path), function or "build", path.read_bytes())
    try:
        compile(source.text, source.file, "exec")
    except (SyntaxError, ValueError) as error:
        return source, f"{path} cannot be compiled: {error}"
    return source, None
