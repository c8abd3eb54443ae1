"""The inside of a fit: what runs in the child process, and what ``fit_inline`` runs without one.

The child belongs to its parent's pipe. When that pipe closes, because the trainer ended in whatever way, the kernel
sends SIGKILL to the child's whole process group (``F_SETSIG`` on Linux); a thread that waits for the same does it
elsewhere. The kernel's way works even when native code keeps the interpreter lock. Processes that its descendants leave
behind become its own children, so that the parent finds them even if they have left the group.

Messages are bytes that the parent parses as JSON and files. The parent unpickles nothing that comes from here. What
the owner's code prints goes into a pipe that the parent empties, so that it neither blocks nor fills the log.
"""

import contextlib
import ctypes
import fcntl
import gc
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from threadpoolctl import ThreadpoolController

from millrace.contracts.events import RunProgress
from services.trainer import usage
from services.trainer.answer import Limits, pack, pack_error, pack_progress
from services.trainer.gpu import cards
from services.trainer.train.fit import Build, train
from services.trainer.train.record import with_resources
from services.trainer.train.task import PIPELINE_ALONE, FitError, FitResult, FitTask, PipelineSource, Report

Within = Callable[[], contextlib.AbstractContextManager[None]]
REPORT_EVERY_S = 0.2  # the parent looks at no more than one a second; of a stage that has just begun it hears at once
CPU_GRACE_S = 5  # between the signal that can be caught and the one that cannot
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def ignore(progress: RunProgress) -> None:
    """Nobody is listening."""
    del progress


def run_task(
    task: FitTask, threads: int = 1, report: Report = ignore, clock: Callable[[], float] | None = None
) -> FitResult:
    """Load the owner's code and train, with so many OpenMP threads; BLAS has one, its sums depend on their number.

    More threads than idle cores make boosting many times slower: each of its short steps waits for the last one. A file
    from elsewhere is judged without a line of the owner's code. Without a clock no check measures time, so that the
    result is the same each time.

    Raises:
        FitError: for every reason, the owner's own exceptions and a full memory included.
    """
    pools = ThreadpoolController()
    sources = {} if task.imported is not None else {PIPELINE_ALONE.family: task.pipeline, **task.families}
    try:
        with _seeded(task.seed), pools.limit(limits=threads, user_api="openmp"), pools.limit(limits=1, user_api="blas"):
            return train(task, {name: load_build(source) for name, source in sources.items()}, report, clock)
    except FitError:
        raise
    except MemoryError as error:
        raise FitError(
            "the fit needs more memory than it may have; raise MILLRACE_TRAINING_MEMORY_MB or train on less"
        ) from error
    except Exception as error:  # the owner's code may raise anything, and it ends this run only
        files = {source.file for source in sources.values()}
        raise FitError(f"{type(error).__name__}: {error}{_where(error, files)}") from error


def load_build(source: PipelineSource) -> Build:
    """The function that builds the estimator, from the text that was hashed."""
    namespace: dict[str, Any] = {"__name__": "millrace_pipeline", "__file__": source.file}
    exec(compile(source.text, source.file, "exec"), namespace)  # noqa: S102  # running the owner's code is the job
    build = namespace.get(source.function)
    if not callable(build):
        raise FitError(f"{source.file} has no function {source.function!r}; training.pipeline, or the family, names it")
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


def _where(error: BaseException, files: Collection[str]) -> str:
    """The line of the owner's code that raised, where it is on the way."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        place = f" ({file}, line {trace.tb_lineno})" if file in files else place
        trace = trace.tb_next
    return place


class Teller:
    """Says over the pipe how far the fit is, with what it has needed so far. Never raises: then nobody listens."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()
        self._began_s = self._told_s = time.monotonic()
        self._stages: set[str] = set()

    def __call__(self, progress: RunProgress) -> None:
        """Tell it, unless the same stage has been told of just now."""
        now_s = time.monotonic()
        if progress.stage in self._stages and now_s - self._told_s < REPORT_EVERY_S:
            return
        self._stages.add(progress.stage)
        self._told_s = now_s
        values = {**progress.values, **usage.own(self._began_s)}
        self.send(pack_progress(progress.model_copy(update={"values": values})))

    def send(self, message: bytes) -> None:
        """One message at a time; a pipe that is gone means that the parent has given up."""
        with self._lock, contextlib.suppress(OSError):
            self._pipe.send_bytes(message)


def main(tasks: Connection, alive: Connection, output: Connection, limits: Limits, within: Within) -> None:
    """The child: take one task, answer, and wait to be killed, so that the process group stays addressable."""
    os.setsid()
    gc.freeze()  # a full collection would copy every page shared with the fork server: 200 ms
    _die_with(alive)
    _keep_orphans()
    _limit(limits)
    for number in (1, 2):
        os.dup2(output.fileno(), number)
    output.close()
    teller = Teller(tasks)
    answer = _answer(tasks.recv(), limits.threads, teller, within)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    teller.send(answer)
    while True:  # a signal that the owner's code handles must not end this
        signal.pause()


def _answer(task: FitTask, threads: int, report: Report, within: Within) -> bytes:
    try:
        began_s = time.monotonic()
        with within():
            result = run_task(task, threads, report, time.perf_counter)
        used = usage.own(began_s)
        record = with_resources(result.record, {**used, "gpu": cards()})
        return pack(replace(result, usage=used, record=record))
    except FitError as error:
        return pack_error(error)
    except Exception as error:  # noqa: BLE001  # what the fit's context or its record raises ends this run only
        return pack_error(FitError(f"{type(error).__name__}: {error}"))


def _limit(limits: Limits) -> None:
    """What the kernel holds, for each process by itself; the parent watches over all of them together."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.memory_mb:
        size = limits.memory_mb * usage.MIB
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    if limits.cpu_s:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + CPU_GRACE_S))


def _keep_orphans() -> None:
    """Become the parent of descendants whose own parent has ended. Linux only; elsewhere they are not found."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)


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
