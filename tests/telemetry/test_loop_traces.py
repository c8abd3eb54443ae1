"""From drift to deployment as one trace: trainer, registry and serving on the memory bus, and a real collector."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from millrace.bus.context import Context
from millrace.bus.tasks import inline
from millrace.contracts import topics
from millrace.contracts.events import (
    DeploymentDecided,
    DriftDetected,
    ModelVersionChanged,
    RetrainModel,
    RunProgress,
    TrainingRunChanged,
)
from millrace.telemetry import loop_spans
from millrace.telemetry.trace import HEADER, child, ids, root
from services.registry.core import State
from services.registry.shell import RegistryService
from services.registry.state import evolve
from services.registry.tracing import Tracing
from services.serving.shell import ServingService
from services.trainer.fitter import fit_inline
from services.trainer.shell import TrainerService
from services.trainer.train.task import FitResult, FitTask
from tests.registry.runs import make_run
from tests.serving.scene import part, rollout
from tests.support import EPOCH_MS, World, running, until
from tests.telemetry.collector import CollectorServer, Seen, collecting
from tests.trainer.mill import Mill, project_with

DRIFT = DriftDetected(
    drift_id="drift/tiny/0/240/error", model="tiny", version=1, subject="error", detector="ADWIN", severity="ALARM",
    partition=0, sample_offset=240, event_id="e120", time_ms=EPOCH_MS, before=0.1, after=0.8, before_rows=100,
    after_rows=20, parameters={}, detected_at_ms=EPOCH_MS,
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[CollectorServer]:
    """A real HTTP server on a free port."""
    with collecting() as made:
        yield made


class Talker:
    """Fits inline, and says that it searches first."""

    def __init__(self) -> None:
        self._report: Any = None

    def reporting(self, report: Any) -> "Talker":
        """The same, telling ``report``."""
        self._report = report
        return self

    async def __call__(self, task: FitTask) -> FitResult:
        """Talk, then fit."""
        self._report(RunProgress(stage="searching", step=1, steps=2, message="", values={}))
        return await fit_inline(task)


def named(server: CollectorServer, name: str) -> list[Seen]:
    """The spans of that name, as they began."""
    return sorted((span for span in server.spans if span.name == name), key=lambda span: span.start_ns)


def services(mill: Mill, folder: Path, server: CollectorServer) -> dict[str, tuple[Context, Any]]:
    """The three, each with its own connection."""
    contexts = {
        name: replace(mill.world.context(name), traces=server.traces(name))
        for name in ("trainer", "registry", "serving")
    }
    database = f"sqlite:///{folder / 'registry.db'}"
    return {
        "trainer": (contexts["trainer"], TrainerService(contexts["trainer"], artifacts=mill.artifacts, fit=Talker())),
        "registry": (
            contexts["registry"],
            RegistryService(contexts["registry"], artifacts=mill.artifacts, database_url=database, in_thread=inline),
        ),
        "serving": (
            contexts["serving"],
            ServingService(contexts["serving"], artifacts=str(folder / "artifacts"), max_records=500),
        ),
    }


async def spans_of(server: CollectorServer, *names: str) -> None:
    """Wait until the collector has a span of each name in each of the two loops."""

    async def there() -> Sequence[str]:
        return [name for name in names if len(named(server, name)) > 1]

    await until(there, len(names))


async def answered(world: World, version: int) -> None:
    """Wait until a version has answered an event."""

    async def found() -> Sequence[int]:
        return [one["version"] for one in await world.values(topics.PREDICTIONS) if one["version"] == version]

    await until(found, 1)


async def deployed(world: World, count: int) -> None:
    """Wait until serving has taken up so many deployments."""
    await world.until(topics.SERVING_STATUS, count)


async def test_a_drift_and_what_follows_are_one_trace(tmp_path: Path, server: CollectorServer) -> None:
    """Drift, request, run with its stages, version, deployment, first answers: each one the child of the one before."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)
    async with AsyncExitStack() as stack:
        for context, service in services(mill, tmp_path, server).values():
            await stack.enter_async_context(running(context, service))
        await mill.snapshot()
        await deployed(mill.world, 1)
        await mill.grow(120, sign=-1.0)
        await answered(mill.world, 1)
        monitor = server.traces("monitor")
        monitor.add(loop_spans.drift(DRIFT))
        monitor.close()
        await mill.ask("retrain/tiny/0/240", caused_by=DRIFT.drift_id)
        await deployed(mill.world, 2)
        await mill.grow(20, sign=-1.0)
        await spans_of(server, "train tiny", "decide tiny", "deploy tiny", "serve tiny")

    (drift,), (request,) = named(server, "drift error"), named(server, "retrain request")
    names = ("train tiny", "decide tiny", "deploy tiny", "serve tiny")
    chain = [drift, request, *(named(server, name)[1] for name in names)]

    assert f"{ids(root(DRIFT.drift_id))[0]:032x}" == drift.trace
    assert {drift.trace} == {span.trace for span in chain}
    assert ["", *(span.span for span in chain[:-1])] == [span.parent for span in chain]
    assert ["monitor", "trainer", "trainer", "registry", "registry", "serving"] == [
        span.service.removeprefix("millrace-") for span in chain
    ]
    assert all(span.start_ns <= span.end_ns for span in chain)
    assert [2, 2] == [chain[3].attributes["millrace.version"], chain[5].attributes["millrace.version"]]

    run = chain[2]
    stages = [span for span in server.spans if span.parent == run.span and span.service == run.service]
    stages.sort(key=lambda span: span.start_ns)
    assert ["rows", "fit", "searching", "keep", "learn"] == [span.name for span in stages]
    assert all(run.start_ns <= span.start_ns <= span.end_ns <= run.end_ns for span in stages)


async def test_a_first_model_begins_its_own_trace(tmp_path: Path, server: CollectorServer) -> None:
    """Nobody asked for it: the run is the beginning, and what follows goes on from it. Another trace than a drift's."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)
    async with AsyncExitStack() as stack:
        for context, service in services(mill, tmp_path, server).values():
            await stack.enter_async_context(running(context, service))
        await mill.snapshot()
        await deployed(mill.world, 1)

        async def there() -> Sequence[Seen]:
            return named(server, "deploy tiny")

        await until(there, 1)
    (run,), (version,), (deployment,) = (named(server, name) for name in ("train tiny", "decide tiny", "deploy tiny"))

    assert ["", run.span, version.span] == [run.parent, version.parent, deployment.parent]
    assert {run.trace} == {version.trace, deployment.trace}
    assert run.trace != f"{ids(root(DRIFT.drift_id))[0]:032x}"


@pytest.mark.parametrize("caused_by", [None, DRIFT.drift_id])
def test_a_request_is_in_its_drift_s_trace_or_in_its_own(caused_by: str | None) -> None:
    """A person's request has no drift; its run is its child in either case."""
    request = RetrainModel(
        request_id="r", model="tiny", reason="OPERATOR", caused_by=caused_by, message="", since_time_ms=None, until=(),
        requested_by="me", requested_at_ms=EPOCH_MS,
    )  # fmt: skip
    asked, run = loop_spans.run(make_run(caused_by="r", changed_at_ms=EPOCH_MS + 9000), request)

    assert ids(root(caused_by or "r"))[0] == ids(asked.context)[0] == ids(run.context)[0]
    assert (None if caused_by is None else root(caused_by), asked.context) == (asked.parent, run.parent)
    assert (EPOCH_MS, EPOCH_MS + 6500, EPOCH_MS + 9000) == (asked.start_ms, run.start_ms, run.end_ms)
    assert asked.end_ms == run.start_ms


def test_a_failed_run_says_why() -> None:
    """Its span is an error."""
    (run,) = loop_spans.run(make_run(status="FAILED", error="too few rows"), None)

    assert "too few rows" == run.error


def registered(number: int, run_id: str) -> ModelVersionChanged:
    """A version of that run."""
    return ModelVersionChanged(
        change_id=f"version/tiny/{number}/REGISTERED", model="tiny", version=number, status="REGISTERED", run_id=run_id,
        artifact_sha256="ab" * 32, feature_set="f", metrics={}, reasons=(), caused_by=run_id,
        changed_at_ms=EPOCH_MS + number,
    )  # fmt: skip


def after(*events: TrainingRunChanged | ModelVersionChanged | DeploymentDecided) -> State:
    """The registry's state after these."""
    state = State("tiny")
    for event in events:
        state = evolve(state, event)
    return state


async def test_deployments_belong_to_the_version_that_is_tried(tmp_path: Path) -> None:
    """What tries a version or takes it back is in the trace of its run; if that has none, in a trace of its own."""
    world = await World.create(project_with(tmp_path))
    runs = {"run-1": root("run-1"), "run-2": root("run-2")}
    one, two = registered(1, "run-1"), registered(2, "run-2")
    champion, tried = part(world, "ab" * 32, 1), part(world, "ab" * 32, 2, 0.2, variant="canary")
    (_, first), (_, trial), (_, back) = (
        rollout(1, champion, rollout_id=None),
        rollout(2, champion.model_copy(update={"share": 0.8}), tried),
        rollout(3, champion, rollout_id=None, kind="ROLLED_BACK"),
    )
    begun = after(one, two, first)
    tracing = Tracing(begun, [trial], runs)
    taken_back = Tracing(evolve(begun, trial), [back], runs)
    of_two = child(runs["run-2"], two.change_id)

    assert child(of_two, trial.deployment_id) == tracing.context(trial) == tracing.span(trial).context
    assert child(of_two, back.deployment_id) == taken_back.context(back)
    assert of_two == taken_back.span(back).parent
    assert child(child(runs["run-1"], one.change_id), first.deployment_id) == Tracing(
        after(), [one, first], runs
    ).context(first)
    assert root(trial.deployment_id) == Tracing(begun, [trial], {}).context(trial)
    assert Tracing(begun, [trial], {}).span(trial).parent is None


async def test_contexts_go_in_headers(tmp_path: Path, server: CollectorServer) -> None:
    """Whoever reads a run, a version or a deployment from the log can go on with its trace."""
    mill = await Mill.create(project_with(tmp_path / "project"), tmp_path)
    await mill.grow(120)
    async with AsyncExitStack() as stack:
        for context, service in services(mill, tmp_path, server).values():
            await stack.enter_async_context(running(context, service))
        await mill.snapshot()
        await deployed(mill.world, 1)
    records = [
        *await mill.world.records(topics.TRAINING_RUNS),
        (await mill.world.records(topics.MODEL_VERSIONS))[0],
        *await mill.world.records(topics.DEPLOYMENTS),
    ]
    (run,) = {record.header(HEADER) for record in records[:-2]}

    assert len(records) >= 4
    assert child(run, "version/tiny/1/REGISTERED") == records[-2].header(HEADER)
    assert child(records[-2].header(HEADER), "deployment/tiny/1") == records[-1].header(HEADER)
