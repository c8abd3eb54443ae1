"""Fault 19: what a pipeline may do to the machine, and that each ends its own run only."""

import asyncio
import contextlib
import os
from functools import partial
from pathlib import Path

import pytest

from services.trainer import usage
from services.trainer.answer import Limits
from services.trainer.fitter import ChildFitter, fit_inline, warm
from services.trainer.output import KEPT_BYTES
from services.trainer.train.task import FitError
from tests.trainer.mill import BOOSTING, Mill, project_with, story, task_of, until

BURN = """
def build(seed):
    while True:
        pass
"""
BURN_IN_CHILDREN = """
import subprocess, sys, time
def build(seed):
    for _ in range(2):
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
    time.sleep(600)
"""
HOARD_IN_CHILDREN = """
import subprocess, sys, time
def build(seed):
    for _ in range(4):
        subprocess.Popen([sys.executable, "-c", "kept = b'x' * (100 << 20); import time; time.sleep(600)"])
    time.sleep(600)
"""
CROWD = """
import pathlib, subprocess, time
def build(seed):
    # each starts another session, and one process more that its parent leaves behind: neither is in the group
    script = "setsid sh -c 'echo $$ >> {file}; (sleep 600 & echo $! >> {file}); exec sleep 600' &"
    for _ in range(20):
        subprocess.run(["sh", "-c", script])
    time.sleep(600)
"""
CHATTER = """
import os, subprocess, sys
from sklearn.ensemble import HistGradientBoostingClassifier
def build(seed):
    for _ in range(64):
        print("x" * (1 << 16))
        os.write(2, b"y" * (1 << 16))
    subprocess.run([sys.executable, "-c", "print('z' * (4 << 20))"], check=True)
    print("the end")
    return HistGradientBoostingClassifier(random_state=seed, max_iter=20)
"""
CRASH = """
import os
def build(seed):
    os.write(2, b"the library cannot go on")
    os.abort()
"""
STUBBORN = """
import os, signal, sys
def build(seed):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU):
        signal.signal(number, signal.SIG_IGN)
    while True:
        pass
"""


@pytest.fixture(autouse=True, scope="module")
def _warm():
    warm()


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def fit(folder, pipeline, limits=None, timeout_s=30.0):
    """One fit of this pipeline in a child."""
    return await ChildFitter(limits or Limits(0, 1))(task_of(project_with(folder, pipeline), timeout_s=timeout_s))


@pytest.mark.parametrize("pipeline", [BURN, BURN_IN_CHILDREN, STUBBORN])
async def test_processor_time_is_limited_whoever_spends_it(tmp_path, pipeline):
    """By itself, by those that it starts, or though it does not want to hear of it."""
    with pytest.raises(FitError, match="used more than 1 s of processor time and was killed"):
        await fit(tmp_path, pipeline, Limits(0, 1, cpu_s=1))


async def test_memory_is_limited_over_all_processes(tmp_path):
    """Each stays below the limit, all of them together do not."""
    with pytest.raises(FitError, match=r"needs more memory than it may have: its [3-6] processes hold"):
        await fit(tmp_path, HOARD_IN_CHILDREN, Limits(500, 1))


async def test_a_crowd_of_processes_is_found_and_killed(tmp_path):
    """Too many of them, in sessions of their own, some left behind by their parents: none survives."""
    file = tmp_path / "pids"
    with pytest.raises(FitError, match=r"ran \d+ processes at once, 10 are allowed"):
        await fit(tmp_path / "project", CROWD.replace("{file}", str(file)), Limits(0, 1, processes=10))
    pids = [int(pid) for pid in file.read_text().split()]
    assert len(pids) > 10
    await until(lambda: not any(map(alive, pids)), seconds=5.0)


async def test_what_a_pipeline_prints_goes_nowhere(tmp_path, capfd):
    """Megabytes on both outputs, from a process that it starts too: the fit is done, the trainer's log as ever."""
    result = await fit(tmp_path, CHATTER)
    assert result.metrics["accuracy"] > 0.7
    out, error = capfd.readouterr()
    assert "xxx" not in out + error
    assert len(out + error) < 2 * KEPT_BYTES + 2000


async def test_a_crash_is_told_with_its_last_words(tmp_path):
    """A library that aborts says why on its way out; it is in the error."""
    with pytest.raises(FitError, match=r"died with SIGABRT.*it had printed: the library cannot go on"):
        await fit(tmp_path, CRASH)


@pytest.mark.parametrize("pipeline", [BURN, CRASH, HOARD_IN_CHILDREN])
async def test_each_ends_its_own_run_and_the_next_one_works(tmp_path, pipeline):
    """FAILED with the reason; the mended project's run succeeds."""
    folder = tmp_path / "project"
    mill = await Mill.create(project_with(folder, pipeline, training={"timeout_s": 15.0}), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer(ChildFitter(Limits(500, 1, cpu_s=1))):
        failed = (await mill.until_runs(2))[1]
    assert failed["error"]
    mill.world.project = project_with(folder, BOOSTING, training={"timeout_s": 30.0})
    async with mill.trainer(ChildFitter(Limits(0, 1))):
        await mill.ask("two")
        runs = await mill.until_runs(4)
    assert [("STARTED", "one"), ("FAILED", "one"), ("STARTED", "two"), ("SUCCEEDED", "two")] == story(runs)


async def test_what_a_fit_used_is_in_its_result(tmp_path):
    """Processor time, memory and wall time; inline nobody measures."""
    result = await fit(tmp_path, BOOSTING)
    assert 0 < result.usage["cpu_s"] < 60
    assert 10 * usage.MIB < result.usage["memory_bytes_max"] < 4000 * usage.MIB
    assert result.usage["wall_s"] > 0
    assert {} == (await fit_inline(task_of(project_with(tmp_path, BOOSTING)))).usage


async def test_within_its_limits_nothing_is_said(tmp_path):
    """A look at a process that is gone, or within its limits, finds nothing."""
    assert usage.Family(2**22 - 1).excess(Limits(1, 1, 1, 1)) is None
    process = await asyncio.create_subprocess_exec("sleep", "60")
    family = usage.Family(process.pid)
    assert family.excess(Limits(500, 1, 10, 5)) is None
    assert family.memory_bytes_max > 0
    process.kill()
    await process.wait()


@contextlib.contextmanager
def marked(file):
    """A context that leaves a trace."""
    file.write_text(str(os.getpid()))
    yield


@contextlib.contextmanager
def failing():
    """A context that cannot be entered."""
    raise LookupError("no such cluster")
    yield


async def test_a_fit_may_have_a_context_of_its_own(tmp_path):
    """It is entered in the child; what it raises is this fit's error."""
    task, file = task_of(project_with(tmp_path / "project", BOOSTING)), tmp_path / "pid"
    assert (await ChildFitter(Limits(0, 1), within=partial(marked, file))(task)).artifact
    assert os.getpid() != int(file.read_text())
    with pytest.raises(FitError, match="LookupError: no such cluster"):
        await ChildFitter(Limits(0, 1), within=failing)(task)
