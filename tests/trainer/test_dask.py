"""Training on a Dask cluster: a real scheduler and real worker processes, a real lake, and what may go wrong there."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.contracts.training_policy import Family, Search
from services.trainer.answer import Limits
from services.trainer.child import run_task
from services.trainer.dask_cluster import Session, on_dask
from services.trainer.dask_fitter import INSTALL, Backends, fit_on_dask, on_cluster
from services.trainer.dask_reference import Cluster as Where
from services.trainer.dask_settings import ClusterSettings
from services.trainer.fitter import ChildFitter, warm
from services.trainer.train.task import FitError, FitResult, FitTask, PipelineSource
from tests.trainer.dask_processes import STREAM, Cluster, Log, Meter
from tests.trainer.mill import Mill, project_with, task_of, until

WIDTH = 48
GIVE_UP_S = 20.0
Fit = asyncio.Task[tuple[FitResult, Session]]
ROWS = 1500
SPACE = {"c": (0.1, 0.3, 1.0, 3.0)}
PIPELINE = """
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def logistic(seed, c=1.0):
    return make_pipeline(SimpleImputer(), LogisticRegression(C=c, random_state=seed))


def boosting(seed, depth=2):
    return HistGradientBoostingClassifier(random_state=seed, max_depth=depth, max_iter=10, early_stopping=True)
"""
WAITING = """
import os, pathlib, time
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline


def logistic(seed, c=1.0):
    folder = pathlib.Path({folder!r})
    if os.getpid() != {pid}:
        (folder / str(os.getpid())).touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    return make_pipeline(SimpleImputer(), LogisticRegression(C=c, random_state=seed))
"""
RAISING = """
def logistic(seed, c=1.0):
    raise LookupError(f"no column for {c}")
"""


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Log:
    """Samples that are in the lake as far as they go."""
    log = Log(tmp_path_factory.mktemp("lake"), "f" * 12, ROWS, WIDTH, 300)
    log.append(0, log.end)
    return log


@pytest.fixture(scope="module")
def processes(tmp_path_factory) -> Iterator[Cluster]:
    """A scheduler, for all tests of this file."""
    with Cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(processes, log) -> Cluster:
    """It, with two workers that know where the lake is."""
    for name in {"one", "two"} - set(processes.workers):
        processes.add(name, log.root)
    processes.ready()
    return processes


def names_in(folder: Path) -> set[str]:
    """What is there."""
    return {file.name for file in folder.iterdir()}


def task_on(log: Log, tmp_path: Path, text: str = PIPELINE, families: tuple[str, ...] = ("logistic",)) -> FitTask:
    """A search on the rows of the log."""
    names = [f"f{at}" for at in range(WIDTH)]
    project = project_with(tmp_path)
    space: dict[str, Any] = {"logistic": SPACE, "boosting": {"depth": (1, 2, 3)}}
    sources = {name: PipelineSource("pipeline.py", name, text.encode()) for name in families}
    search = Search(
        families=tuple(Family(name=name, build=f"pipeline.py:{name}", space=space[name]) for name in families),
        trials=5, folds=3, seconds=600.0,
    )  # fmt: skip
    train, holdout = log.rows()
    return task_of(
        project,
        feature_set=log.feature_set, feature_names=tuple(names), train=train, holdout=holdout,
        pipeline=sources["logistic"], families=sources, search=search, timeout_s=60.0,
    )  # fmt: skip


def timeless(result: FitResult) -> FitResult:
    """A result without the one check that measures time."""
    return replace(result, checks=tuple(check for check in result.checks if check.name != "scoring-time"))


def fit_there(task: FitTask, log: Log, where: Where) -> tuple[FitResult, Session]:
    """The fit as the child does it, in this process, with what it did on the cluster."""
    with on_dask(where, log.reference()) as session:
        return run_task(task), session


def there(cluster: Cluster, **changes: float) -> Where:
    """The cluster as the trainer is told of it, with little patience."""
    return Where(cluster.address, **{"connect_s": 10.0, "lost_s": 5.0, **changes})


def test_the_cluster_gives_the_model_that_is_made_here(tmp_path, cluster, log):
    """I5: same choice, same bytes and metrics; both workers did some, and each read the rows in the lake, once."""
    task = task_on(log, tmp_path, families=("logistic", "boosting"))
    here = run_task(task)
    result, session = fit_there(task, log, there(cluster))
    assert here.artifact == result.artifact
    assert timeless(here) == timeless(result)
    assert 2 == len(session.units)
    assert 5 * 3 + 1 == sum(session.units.values())  # the folds of each trial, and the last fit
    read = {worker: count for (worker, source), count in session.rows_from.items() if source == "the lake"}
    assert dict.fromkeys(session.units, 1) == read


def test_the_rows_are_not_sent(tmp_path, cluster, log):
    """What goes to the scheduler for a whole search is a fraction of the rows."""
    task = task_on(log, tmp_path)
    with Meter(cluster.address) as meter:
        _, session = fit_there(task, log, replace(there(cluster), scheduler=meter.address))
    assert session.sent_bytes < meter.bytes_sent < (task.train.x.nbytes + task.train.y.nbytes) // 2


async def test_it_is_done_in_a_child(tmp_path, cluster, log):
    """The run's own process, with its limits, holds the connection."""
    warm()
    task = task_on(log, tmp_path)
    result = await fit_on_dask(task, reference=log.reference(), scheduler=cluster.address, memory_mb=0, threads=1)
    assert run_task(task).artifact == result.artifact


def test_what_the_owners_code_raises_there_is_said_in_the_same_words(tmp_path, cluster, log):
    """An error on a worker names its line in the owner's file, and is no fault of the cluster."""
    task = task_on(log, tmp_path, RAISING)
    with pytest.raises(FitError) as here:
        run_task(task)
    with pytest.raises(FitError) as far:
        fit_there(task, log, there(cluster))
    assert "no column for" in str(here.value)
    assert "all" in str(far.value)
    assert "LookupError: no column for" in str(far.value)
    assert "(pipeline.py, line 3)" in str(far.value)


def test_a_worker_that_is_not_like_the_trainer_is_refused(tmp_path, cluster, log):
    """A package more on one worker: the run fails with its name and what differs, before anything is fitted."""
    info = tmp_path / "more" / "surplus-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: surplus\nVersion: 1.0\n")
    cluster.add("odd", log.root, [tmp_path / "more"])
    cluster.ready()
    with pytest.raises(FitError, match=r"worker tcp://.* has packages \w+ in place of packages \w+.*same lock file"):
        fit_there(task_on(log, tmp_path), log, there(cluster))
    cluster.kill("odd")


def test_a_cluster_that_is_not_there_is_named(tmp_path, log):
    """Nobody listens: the address, and what can be done."""
    with Meter("tcp://127.0.0.1:1") as nobody:
        address = nobody.address
    with pytest.raises(FitError, match=rf"{address}: its scheduler is not there.*MILLRACE|{address}.*local"):
        fit_there(task_on(log, tmp_path), log, Where(address, connect_s=1.0))


def test_without_dask_it_is_said_what_to_install(log, monkeypatch):
    """The extra is named."""
    monkeypatch.delitem(sys.modules, "services.trainer.dask_cluster")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(FitError) as seen, on_cluster(Where("tcp://127.0.0.1:1"), log.reference()):
        pass
    assert INSTALL == str(seen.value)


def test_the_run_says_where_it_is_fitted():
    """``training.backend``, as the run began; a cluster that nobody has named is an error of that run."""
    child = ChildFitter(Limits(0, 1))
    backends = Backends(child, None, "tiny")
    assert child == backends.of_run(SimpleNamespace(backend="local"))
    with pytest.raises(FitError, match="set MILLRACE_DASK_SCHEDULER"):
        backends.of_run(SimpleNamespace(backend="dask"))


async def test_a_run_without_its_cluster_fails_and_says_so(tmp_path):
    """``training.backend: dask``, and no scheduler named: the run is in the log as failed, the trainer goes on."""
    mill = await Mill.create(project_with(tmp_path / "project", training={"backend": "dask"}), tmp_path)
    await mill.grow(120)
    await mill.snapshot()
    async with mill.trainer(fit=Backends(ChildFitter(Limits(0, 1)), None, STREAM)):
        started, failed = await mill.until_runs(2)
    assert ("STARTED", "dask") == (started["status"], started["backend"])
    assert ("FAILED", "training.backend is dask: set MILLRACE_DASK_SCHEDULER, such as tcp://scheduler:8786") == (
        failed["status"],
        failed["error"],
    )


def test_settings_of_a_cluster(monkeypatch):
    """An address alone for TCP; TLS needs its three files."""
    assert ClusterSettings().cluster is None
    monkeypatch.setenv("MILLRACE_DASK_SCHEDULER", "tcp://here:8786")
    assert Where("tcp://here:8786") == ClusterSettings().cluster
    monkeypatch.setenv("MILLRACE_DASK_SCHEDULER", "tls://here:8786")
    with pytest.raises(ValueError, match="set MILLRACE_DASK_TLS_CA_FILE"):
        ClusterSettings()


@contextlib.asynccontextmanager
async def waiting(task: FitTask, log: Log, where: Where, folder: Path, pids: set[str]) -> AsyncIterator[Fit]:
    """A fit under way, at a place where each of these processes waits for the file ``go``."""
    for name in names_in(folder):
        (folder / name).unlink()
    work = asyncio.create_task(asyncio.to_thread(fit_there, task, log, where))
    await until(lambda: pids <= names_in(folder))
    yield work
    (folder / "go").touch()
    await asyncio.gather(work, return_exceptions=True)


def waiting_task(log: Log, tmp_path: Path) -> tuple[FitTask, Path]:
    """A task whose fits wait, and the folder where they look for ``go`` and leave their pids."""
    folder = tmp_path / "pids"
    folder.mkdir()
    return task_on(log, tmp_path, WAITING.format(folder=str(folder), pid=os.getpid())), folder


async def test_a_lost_worker_costs_nothing_but_time(tmp_path, cluster, log):
    """One of two workers is killed in the middle of a fit: the other one does its part, the model is the same.

    A fit that hangs ends its worker when the run's time is over; a cluster without workers ends the run, with words.
    """
    task, folder = waiting_task(log, tmp_path)
    pids = {name: str(process.pid) for name, process in cluster.workers.items()}
    async with waiting(task, log, there(cluster), folder, set(pids.values())) as work:
        cluster.kill("two")
        (folder / "go").touch()
        result, session = await work
        assert run_task(task).artifact == result.artifact
        assert 1 == len(session.units)
    hanging = replace(task, timeout_s=1.0)
    async with waiting(hanging, log, there(cluster, lost_s=1.0), folder, {pids["one"]}) as work:
        with pytest.raises(FitError, match="no worker has been there for 1 s"):
            await work
        assert 1 == cluster.workers["one"].poll()
        assert "Timeout (0:00:01)!" in cluster.said("one")


async def test_a_lost_scheduler_ends_the_fit(tmp_path, log):
    """Without a lake the rows are brought to the worker; then the scheduler is killed: it is said within seconds."""
    task, folder = waiting_task(log, tmp_path)
    (folder / "go").touch()
    with Cluster(tmp_path / "cluster") as own:
        own.add("only")
        result, session = await asyncio.to_thread(fit_there, task, log, there(own))
        assert run_task(task).artifact == result.artifact
        assert {"the trainer"} == {source for _, source in session.rows_from}
        only = str(own.workers["only"].pid)
        async with waiting(task, log, there(own, connect_s=2.0), folder, {only}) as work:
            own.kill_scheduler()
            killed_s = time.monotonic()
            with pytest.raises(FitError, match=rf"{own.address}: its scheduler .*training\.backend to local"):
                await work
            assert time.monotonic() - killed_s < GIVE_UP_S
