"""The inside of a fit: what runs in the child process, and what ``fit_inline`` runs without one.

The child belongs to its parent's pipe. When that pipe closes, because the trainer ended in whatever way, the kernel
sends SIGKILL to the child's whole process group (``F_SETSIG`` on Linux); a thread that waits for the same does it
elsewhere. The kernel's way works even when native code keeps the interpreter lock.

The answer is bytes that the parent parses as JSON and an ONNX file. The parent unpickles nothing that comes from here.
"""

import contextlib
import fcntl
import gc
import os
import random
import resource
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # publishes no types

from services.trainer.answer import Limits, pack, pack_error
from services.trainer.train.fit import Build, train
from services.trainer.train.task import FitError, FitResult, FitTask, PipelineSource


def run_task(task: FitTask, threads: int = 1) -> FitResult:
    """Load the owner's pipeline and train, with so many OpenMP threads; BLAS has one, its sums depend on their number.

    More threads than idle cores make boosting many times slower: each of its short steps waits for the last one.

    Raises:
        FitError: for every reason, the owner's own exceptions and a full memory included.
    """
    pools = ThreadpoolController()
    try:
        with _seeded(task.seed), pools.limit(limits=threads, user_api="openmp"), pools.limit(limits=1, user_api="blas"):
            return train(task, load_build(task.pipeline))
    except FitError:
        raise
    except MemoryError as error:
        raise FitError(
            "the fit needs more memory than it may have; raise MILLRACE_MEMORY_MB or train on less"
        ) from error
    except Exception as error:  # the owner's code may raise anything, and it ends this run only
        raise FitError(f"{type(error).__name__}: {error}{_where(error, task.pipeline.file)}") from error


def load_build(source: PipelineSource) -> Build:
    """The function that builds the estimator, from the text that was hashed."""
    namespace: dict[str, Any] = {"__name__": "millrace_pipeline", "__file__": source.file}
    exec(compile(source.text, source.file, "exec"), namespace)  # noqa: S102  # running the owner's code is the job
    build = namespace.get(source.function)
    if not callable(build):
        raise FitError(f"{source.file} has no function {source.function!r}; training.pipeline is file.py:function")
    loaded: Build = build
    return loaded


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the global generators for pipelines that forget ``random_state``, and put them back afterwards."""
    old, old_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # it is this one that such code uses
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(old)
        np.random.set_state(old_numpy)  # noqa: NPY002


def _where(error: BaseException, file: str) -> str:
    """The line of the pipeline that raised, where it is on the way."""
    line, trace = None, error.__traceback__
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == file else line
        trace = trace.tb_next
    return "" if line is None else f" ({file}, line {line})"


def main(tasks: Connection, alive: Connection, limits: Limits) -> None:
    """The child: take one task, answer, and wait to be killed, so that the process group stays addressable."""
    os.setsid()
    gc.freeze()  # a full collection would copy every page shared with the fork server: 200 ms
    _die_with(alive)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_mb:
        size = limits.memory_mb * 1024 * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    tasks.send_bytes(_answer(tasks.recv(), limits.threads))
    signal.pause()


def _answer(task: FitTask, threads: int) -> bytes:
    try:
        return pack(run_task(task, threads))
    except FitError as error:
        return pack_error(error)


def _die_with(alive: Connection) -> None:
    """End this process group when the other end of the pipe closes. Nothing is ever written to it."""
    threading.Thread(target=_watch, args=(alive,), daemon=True).start()
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(alive.fileno(), fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(alive.fileno(), fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(alive.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(alive.fileno(), fcntl.F_SETFL, flags | os.O_ASYNC)


def _watch(alive: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        alive.recv_bytes()
    os.killpg(os.getpgrp(), signal.SIGKILL)
