"""Fits in a child process: the same answer as inline, and no way to harm the trainer."""

import asyncio
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import pytest

from services.trainer.answer import pack, unpack
from services.trainer.fitter import fit_in_child, fit_inline, warm
from services.trainer.train.task import FitError
from tests.trainer.mill import BOOSTING, Mill, children, project_with, story, task_of, until

HANG = """
import ctypes, os, pathlib, subprocess
def build(seed):
    helper = subprocess.Popen(["sleep", "600"])
    pathlib.Path({file!r}).write_text(f"{{os.getpid()}} {{helper.pid}}")
    ctypes.PyDLL(None).sleep(600)  # keeps the interpreter lock: no thread of Python can do anything meanwhile
"""
HOG = """
def build(seed):
    kept = []
    while True:
        kept.append(bytearray(64 * 1024 * 1024))
"""
CARELESS = """
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline


def build(seed):
    return make_pipeline(SimpleImputer(), ExtraTreesClassifier(5))
"""
RAISE = """

def build(seed):
    raise LookupError("no such column")
"""
TRAINER = """
import asyncio, pickle, sys
from services.trainer.fitter import fit_in_child
if __name__ == "__main__":
    asyncio.run(fit_in_child(pickle.loads(sys.stdin.buffer.read()), memory_mb=0, threads=1))
"""


@pytest.fixture(autouse=True, scope="module")
def _warm():
    warm()


def run(task, memory_mb=0, threads=1):
    """One fit in a child."""
    return fit_in_child(task, memory_mb=memory_mb, threads=threads)


def timeless(result):
    """A result without what a clock has measured: one check, and a file in the record."""
    checks = tuple(check for check in result.checks if check.name != "scoring-time")
    return replace(result, checks=checks, record=b"")


def pids_in(file: Path) -> list[int]:
    """The process ids that a pipeline wrote into a file; none before it has."""
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


async def begun(file: Path) -> list[int]:
    """The same, once they are there."""
    await until(lambda: len(pids_in(file)) == 2)
    return pids_in(file)


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def gone(pids: list[int]) -> None:
    """Wait until all of them have ended; a second is plenty for a signal."""
    await until(lambda: not any(map(alive, pids)), seconds=2.0)


def start_trainer(script: Path, task: bytes) -> subprocess.Popen[bytes]:
    """A process that fits this task, in a child of its own."""
    trainer = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, env={"PYTHONPATH": "."})
    assert trainer.stdin is not None
    with trainer.stdin as pipe:
        pipe.write(task)
    return trainer


async def test_two_children_and_none_give_the_same_bytes(tmp_path):
    """I5: the model's bytes do not depend on the process or on its threads."""
    task = task_of(project_with(tmp_path, BOOSTING), rows=400)
    results = [await run(task), await run(task, threads=2), await fit_inline(task)]
    assert 1 == len({result.artifact for result in results})
    assert timeless(results[0]) == timeless(results[1]) == timeless(results[2])


async def test_a_forgotten_random_state_is_seeded(tmp_path):
    """A pipeline that leaves ``random_state`` out is repeatable too, and other users of the generators see nothing."""
    task = task_of(project_with(tmp_path, CARELESS))
    assert (await fit_inline(task)).artifact == (await run(task)).artifact


async def test_a_hang_ends_at_the_limit_with_everything_it_started(tmp_path):
    """The time limit kills the whole process group: the fit and the process that it started."""
    file = tmp_path / "pids"
    task = task_of(project_with(tmp_path, HANG.format(file=str(file))), timeout_s=1.0)
    begin = time.monotonic()
    with pytest.raises(FitError, match="did not end within 1 s"):
        await run(task)
    assert time.monotonic() - begin < 3.0
    await gone(pids_in(file))


async def test_cancelling_kills_the_fit(tmp_path):
    """A trainer that is told to stop leaves no fit behind."""
    file = tmp_path / "pids"
    fit = asyncio.ensure_future(run(task_of(project_with(tmp_path, HANG.format(file=str(file))))))
    pids = await begun(file)
    assert all(map(alive, pids))
    fit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fit
    await gone(pids)


async def test_a_killed_trainer_takes_the_fit_with_it(tmp_path):
    """After kill -9 of the trainer: neither fit nor helper nor fork server goes on."""
    file, script = tmp_path / "pids", tmp_path / "trainer.py"
    script.write_text(TRAINER)
    task = task_of(project_with(tmp_path, HANG.format(file=str(file))), timeout_s=600.0)
    trainer = start_trainer(script, pickle.dumps(task))
    pids = await begun(file)
    family = [*children(trainer.pid), *pids]
    assert len(set(family)) >= 3
    trainer.kill()
    trainer.wait()
    await gone(family)


async def test_a_killed_child_is_a_failed_fit(tmp_path):
    """A child killed alone is told as what it is, and its helper dies too."""
    file = tmp_path / "pids"
    fit = asyncio.ensure_future(run(task_of(project_with(tmp_path, HANG.format(file=str(file))))))
    pids = await begun(file)
    os.kill(pids[0], signal.SIGKILL)
    with pytest.raises(FitError, match="died with SIGKILL"):
        await fit
    await gone(pids)


async def test_a_killed_fork_server_is_replaced(tmp_path):
    """The next fit starts a new one."""
    task = task_of(project_with(tmp_path))
    first = await run(task)
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
    assert timeless(first) == timeless(await run(task))


def test_the_trainer_itself_loads_no_heavy_library():
    """Parent and child are apart: memory and start-up of the service do not include scikit-learn."""
    code = "import sys, services.trainer.shell as s; print({'sklearn', 'skl2onnx', 'onnxruntime'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env={"PYTHONPATH": "."})
    assert b"set()" == done.stdout.strip()


async def test_a_memory_hog_fails_alone(tmp_path):
    """More memory than allowed is an error of this fit; the next one works."""
    project = project_with(tmp_path / "hog", HOG)
    with pytest.raises(FitError, match="more memory than it may have"):
        await run(task_of(project), memory_mb=4096)
    good = task_of(project_with(tmp_path / "good", BOOSTING))
    assert (await run(good, memory_mb=4096)).metrics["accuracy"] > 0.7


async def test_an_error_of_the_pipeline_names_its_line(tmp_path):
    """The owner reads the exception and where it came from."""
    task = task_of(project_with(tmp_path, RAISE))
    with pytest.raises(FitError, match=r"LookupError: no such column \(.*pipeline.py, line 4\)"):
        await run(task)
    with pytest.raises(FitError, match="has no function 'missing'"):
        await run(replace(task, pipeline=replace(task.pipeline, function="missing")))


async def test_a_failed_run_does_not_hold_up_the_next(tmp_path):
    """The service: a hang ends as FAILED within the limit, a request after it is trained by the mended project."""
    folder, file = tmp_path / "project", tmp_path / "pids"
    mill = await Mill.create(project_with(folder, HANG.format(file=str(file)), training={"timeout_s": 1.0}), tmp_path)
    await mill.grow(120)
    await mill.ask("one")
    async with mill.trainer(run):
        assert "did not end within 1 s" in (await mill.until_runs(2))[1]["error"]
    mill.world.project = project_with(folder, BOOSTING, training={"timeout_s": 20.0})
    async with mill.trainer(run):
        await mill.ask("two")
        runs = await mill.until_runs(4)
    assert [("STARTED", "one"), ("FAILED", "one"), ("STARTED", "two"), ("SUCCEEDED", "two")] == story(runs)


async def test_an_answer_survives_the_pipe_and_garbage_does_not(tmp_path):
    """What is packed is what is unpacked; anything else is an error of the fit, not of the trainer."""
    result = await fit_inline(task_of(project_with(tmp_path)))
    assert result == unpack(pack(result))
    for garbage in (b"", b"\0" * 8, b"\xff" * 40, pack(result)[:30], b"\0" * 7 + b"\x02[]"):
        with pytest.raises(FitError, match="something else than a result"):
            unpack(garbage)
