"""The trainer's effects: news, or the time -> the core's decision -> rows, fit, artefact, event. One thing at a time.

The subscription only rings a bell; what happened is read from the log by the journal. A fit that fails, whatever the
reason, ends its run with a FAILED event and an alert, and the service goes on. An artefact store that does not answer
is asked again for a while first. A champion whose file is lost is no such reason: only the next model can help.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from fastapi import FastAPI

from millrace.bus.context import Context
from millrace.bus.failpoints import failpoint
from millrace.bus.retry import backoff_s
from millrace.bus.tasks import InThread, run_together
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.errors import ArtifactError, ContractError, MillraceError, OffsetGoneError
from millrace.contracts.events import TrainingRunChanged
from millrace.stores.artifacts import ArtifactStore
from millrace.telemetry import loop_spans, trace
from millrace.telemetry.log import get_logger
from millrace.telemetry.metrics import (
    ERRORS,
    TRAINING_CPU_SECONDS,
    TRAINING_IN_PROGRESS,
    TRAINING_MEMORY_BYTES,
    TRAINING_RUNS,
    TRAINING_SECONDS,
)
from services.trainer import core, endings, opening
from services.trainer.asking import PatientStore
from services.trainer.dask_fitter import RunFitter
from services.trainer.fitter import Fitter, ReportingFitter
from services.trainer.journal import FOLDED, Journal, Learned
from services.trainer.learner import Learner
from services.trainer.material import Material, Wanted
from services.trainer.profile import profile_of_run
from services.trainer.progress import Progress
from services.trainer.reader import SamplesReader
from services.trainer.sources import Sources, policy_of
from services.trainer.stages import Stages
from services.trainer.studies import Studies
from services.trainer.train.task import FitError, FitResult, FitTask
from services.trainer.train.window import Window

log = get_logger(__name__)
STORE_TRIES = 30  # with the waits between them about two minutes: a restart of the store, not a night
LONGEST_WAIT_S = 3600.0  # a wall clock may be put right while time is waited for
WRITES = (topics.TRAINING_RUNS, topics.EXPECTATIONS, topics.TRAINING_PROFILES, topics.ALERTS)
UNREADABLE = (ContractError, OffsetGoneError)


class TrainerService:
    """Trains one model.

    Args:
        context: project, transport, codec, clock.
        artifacts: where the ONNX files are put, and the champion's is got.
        fit: runs one fit; raises nothing but ``FitError``. One that can say how far it is, is listened to; one that
            depends on the run, on its backend for example, is asked for that run's.
        in_thread: makes a blocking call of the artefact store beside the event loop; a simulation, whose time is
            virtual, makes it in the loop.
        store_tries: how often the store is asked before the run has failed.
        studies: folder in which a search that is cut short is found again; None: it begins anew.
        skops_allowed: types that an imported skops file may name besides scikit-learn's own.
    """

    def __init__(
        self,
        context: Context,
        *,
        artifacts: ArtifactStore,
        fit: Fitter,
        in_thread: InThread = asyncio.to_thread,
        store_tries: int = STORE_TRIES,
        studies: Path | None = None,
        skops_allowed: tuple[str, ...] = (),
    ) -> None:
        project = context.project
        self._context = context
        self._fit = fit
        self._studies = Studies(studies, in_thread)
        self._sources = Sources.read(project)
        self._policy = policy_of(project, self._sources)
        self._store = PatientStore(artifacts, in_thread, store_tries)
        self._journal = Journal(project.model, project.stream, context.transport, context.codec)
        self._reader = SamplesReader(project, context.transport, context.codec)
        self._material = Material(
            project, self._policy, self._sources, context.codec, self._store, self._reader, skops_allowed
        )
        self._learner = Learner(project, context.codec, in_thread)
        self._stages = Stages(context.clock)  # of the run in hand
        self._window: tuple[str, Window] | None = None  # of the run that was just opened; saves reading it twice
        self._news = asyncio.Event()
        self._prepared = False
        self._bus_error: str | None = "the state is being rebuilt from the log"

    async def run(self) -> None:
        """Train until cancelled."""
        group = f"millrace-trainer-{self._context.project.model}"
        TRAINING_IN_PROGRESS.labels(self._policy.model).set(0)
        for status in ("SUCCEEDED", "FAILED"):
            TRAINING_RUNS.labels(self._policy.model, status)  # from the start, so that the first one is an increase
        try:
            await run_together(self._context.transport.subscribe(group, list(FOLDED), self._ring), self._work())
        finally:
            await self._journal.close()

    def checks(self) -> Mapping[str, str | None]:
        """``bus``: the state is what the log says. ``project``: the owner's code can be loaded."""
        return {"bus": self._bus_error, "project": self._sources.fault}

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
                if self._bus_error is not None:  # it was killed between a run's end and this
                    ended = {run_id for run_id, run in self._journal.state.runs.items() if run.ended is not None}
                    await self._studies.forget(ended)
                self._bus_error, failures = None, 0
                await self._act(core.decide(self._journal.state, self._policy, self._now_ms()))
            except MillraceError as error:
                if not error.retryable:
                    raise
                failures += 1
                ERRORS.labels("trainer", type(error).__name__).inc()
                self._bus_error = str(error)
                log.warning("the log cannot be read, trying again", failures=failures, error=str(error))
                await asyncio.sleep(backoff_s(failures))

    async def _act(self, decision: core.Begin | core.Repeat | core.Wait) -> None:
        match decision:
            case core.Begin():
                await self._begin(decision)
            case core.Repeat():
                with TRAINING_IN_PROGRESS.labels(self._policy.model).track_inprogress():
                    await self._do(decision.started)
            case core.Wait():
                await self._wait(decision)

    async def _wait(self, wait: core.Wait) -> None:
        """Until there is news or it is time."""
        if wait.held is not None:
            await self._journal.tell(endings.over_budget(self._policy.model, wait.held, self._now_ms()))
        if wait.wake_at_ms is None:
            await self._news.wait()
            return
        seconds = min(LONGEST_WAIT_S, max(0, wait.wake_at_ms - self._now_ms()) / 1000)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for may lose a cancellation that comes with the news
                await self._news.wait()

    async def _begin(self, begin: core.Begin) -> None:
        """Fix the rows and open the run; the next decision does its fit."""
        state = self._journal.state
        try:
            window = await self._reader.newest(begin.rows, begin.marks, state.vetoes)
        except UNREADABLE as error:
            await self._say(opening.unreadable(self._policy, begin, str(error), self._now_ms()))
            return
        change = opening.open_or_refuse(state, self._policy, begin, window, self._now_ms())
        if change is None:
            self._journal.state = core.put_off(state, begin)
            log.info("too few rows for a first model", caused_by=begin.caused_by, rows=len(window.rows))
            return
        self._window = (change.run_id, window if change.ranges else Window((), ()))
        await self._say(change)

    async def _do(self, started: TrainingRunChanged) -> None:
        """Fit and end the run. Killed anywhere in here, it is done again from the beginning, with the same result."""
        state = self._journal.state
        champion = core.champion_for(state, self._policy)
        self._stages = Stages(self._context.clock)
        try:
            self._stages.enter("rows")
            window = await self._rows_of(started)
            content, fault = await self._material.champion(champion)
            wanted = Wanted(
                champion=content,
                request=state.requests.get(started.caused_by),
                study=await self._studies.file(started.run_id) if self._policy.training.search else None,
                vetoes=opening.forbidden(state, started),
            )
            result = await self._fitted(started, await self._material.task(started, window, wanted))
            self._stages.enter("keep")
            kept = await self._keep(result)
            failpoint("train.between-artifact-and-event")
        except (FitError, ArtifactError, OSError, *UNREADABLE) as error:
            await self._say(endings.failed(started, str(error), self._now_ms()))
        else:
            self._stages.enter("learn")
            learned = await self._learner.learn(window, started, kept.artifact, self._now_ms())
            metric = self._context.project.gates.metric
            ended = endings.succeeded(
                started, result, kept, champion, self._now_ms(), metric=metric, champion_fault=fault
            )
            names = self._context.project.feature_names
            profile = profile_of_run(started, window, result.answers, names, self._now_ms())
            ended = ended.model_copy(update={"expectations_id": learned.expectations_id})
            await self._say(ended, (learned,) if profile is None else (learned, profile))
        await self._studies.forget({started.run_id})

    async def _fitted(self, started: TrainingRunChanged, task: FitTask) -> FitResult:
        """The fit's result, with its progress told meanwhile."""
        self._stages.enter("fit")
        async with Progress(self._journal, self._context.clock, started, self._stages) as progress:
            fit = self._fit.reporting(progress.report) if isinstance(self._fit, ReportingFitter) else self._fit
            result = await (fit.of_run(started) if isinstance(fit, RunFitter) else fit)(task)
        TRAINING_CPU_SECONDS.labels(started.model).inc(result.usage.get("cpu_s", 0.0))
        TRAINING_MEMORY_BYTES.labels(started.model).set(result.usage.get("memory_bytes_max", 0.0))
        log.info("fitted", run_id=started.run_id, **{name: round(value, 3) for name, value in result.usage.items()})
        try:
            await self._journal.refresh()
        except MillraceError as error:
            if not error.retryable:
                raise
            log.warning("whether rows were vetoed meanwhile is not known", run_id=started.run_id, error=str(error))
        vetoed = opening.vetoed_since(self._journal.state, started)
        if vetoed is not None:
            raise FitError(vetoed)
        return result

    async def _keep(self, result: FitResult) -> endings.Kept:
        """Bring everything into the store, the model last: what the event names is there before it."""
        golden = await self._store.put(result.golden) if result.golden else None
        record = await self._store.put(result.record) if result.record else None
        return endings.Kept(await self._store.put(result.artifact), golden, record)

    async def _rows_of(self, started: TrainingRunChanged) -> Window:
        known, self._window = self._window, None
        if known is not None and known[0] == started.run_id and core.outdated(self._policy, started) is None:
            return known[1]
        return await self._material.rows(started)

    async def _say(self, change: TrainingRunChanged, learned: Sequence[Learned] = ()) -> None:
        if not await self._journal.publish(change, learned):
            log.info("already in the log", run_id=change.run_id, status=change.status)
            return
        self._context.lineage.training(change, self._context.project.feature_names)
        request = self._journal.state.requests.get(change.caused_by)
        said = trace.for_log(loop_spans.run_context(change, request))
        log.info(
            "training run",
            run_id=change.run_id,
            status=change.status,
            trigger=change.trigger,
            error=change.error,
            **said,
        )
        if change.status != "STARTED":
            TRAINING_RUNS.labels(change.model, change.status).inc()
            TRAINING_SECONDS.labels(change.model).observe(change.duration_s)
            self._context.traces.add(*loop_spans.run(change, request, self._stages.take()))

    def _now_ms(self) -> int:
        return self._context.clock.now_ms()
