"""Runs a fit: in a child process for real, in this one for simulations.

The child is forked from a *fork server* that has imported the heavy libraries once, so a run starts in tens of
milliseconds and the trainer itself needs none of them. It has its own session; whatever ends the fit, an answer, an
error, the time limit or cancellation, the whole process group is killed. Only a process that leaves the group by
starting a session of its own would survive; that takes a container to hold.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from millrace.bus.failpoints import failpoint
from millrace.bus.retry import backoff_s
from millrace.telemetry.log import get_logger
from services.trainer.answer import Limits, unpack
from services.trainer.train.task import FitError, FitResult, FitTask

log = get_logger(__name__)
LAUNCHES = 5  # tries, within a second
DEATH_S = 5.0  # from a broken pipe to the exit status

Fitter = Callable[[FitTask], Awaitable[FitResult]]

PRELOADED = (
    "services.trainer.fitter",
    "services.trainer.child",  # numpy, scikit-learn's base, skl2onnx and onnxruntime come with it
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.pipeline",
    "sklearn.preprocessing",
)


def warm() -> None:
    """Start the fork server, so that the first run need not wait for its imports. Call it from the main thread."""
    forkserver.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()


async def fit_inline(task: FitTask) -> FitResult:
    """Fit in this process, in one thread: no isolation and no time limit, but no dependence on wall time either."""
    from services.trainer.child import run_task  # noqa: PLC0415  # the heavy libraries, only where they are used

    return run_task(task)


async def fit_in_child(task: FitTask, *, memory_mb: int, threads: int) -> FitResult:
    """Fit in a child process of its own.

    Raises:
        FitError: the pipeline's error, a crash, the time limit, or too much memory.
    """
    child = _Child(Limits(memory_mb, threads))
    work = asyncio.ensure_future(asyncio.to_thread(child.run, task))
    try:
        async with asyncio.timeout(task.timeout_s):
            return await asyncio.shield(work)
    except TimeoutError as error:
        raise FitError(f"the fit did not end within {task.timeout_s:g} s and was killed") from error
    finally:
        child.kill()
        with contextlib.suppress(FitError):  # of the killed child; what matters has been raised or returned
            await work


class _Child:
    """One child process. ``run`` blocks, so it has a thread of its own; ``kill`` may come from another."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._process: ForkServerProcess | None = None
        self._killed = False

    def run(self, task: FitTask) -> FitResult:
        """Start the child, hand over the task, wait for its answer, and see the process group gone."""
        context = multiprocessing.get_context("forkserver")
        tasks, its_tasks = context.Pipe()
        its_alive, alive = context.Pipe(duplex=False)
        process = context.Process(target=_enter, args=(its_tasks, its_alive, self._limits))
        try:
            self._start(process)
            its_tasks.close()
            its_alive.close()
            return _ask(process, tasks, task)
        finally:
            self.kill()
            if process.pid is not None:
                process.join()
            with self._lock:
                self._process = None
            process.close()
            for end in (tasks, its_tasks, its_alive, alive):
                end.close()

    def kill(self) -> None:
        """Kill the process group, at once and for good; again is harmless."""
        with self._lock:
            self._killed = True
            if self._process is None or self._process.pid is None:
                return
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group yet, or all of it is gone
                self._process.kill()

    def _start(self, process: ForkServerProcess) -> None:
        _launch(process)
        with self._lock:
            self._process = process
            killed = self._killed
        if killed:
            self.kill()


def _launch(process: ForkServerProcess) -> None:
    """Start it. A fork server that has died is found out and replaced by a later try, once its remains are gone."""
    for attempt in range(1, LAUNCHES + 1):
        try:
            process.start()
        except (EOFError, OSError) as error:
            if attempt == LAUNCHES:
                raise FitError(f"the fit's process cannot be started: {error!r}") from error
            log.warning("the fork server does not answer", attempt=attempt, error=repr(error))
            time.sleep(backoff_s(attempt))
        else:
            return


def _enter(tasks: Connection, alive: Connection, limits: Limits) -> None:
    """The child's first function, in a module that is light to import for the parent."""
    from services.trainer.child import main  # noqa: PLC0415

    main(tasks, alive, limits)


def _ask(process: ForkServerProcess, tasks: Connection, task: FitTask) -> FitResult:
    """Hand over the task and wait for the answer or the end of the child, whichever is first."""
    try:
        tasks.send(task)
        failpoint("train.in-fit")
        if tasks in connection.wait([tasks, process.sentinel]):
            return unpack(tasks.recv_bytes())
    except (EOFError, OSError):
        log.info("the fit's pipe broke", pid=process.pid)
    process.join(DEATH_S)
    code = process.exitcode
    name = signal.Signals(-code).name if code is not None and -code in set(signal.Signals) else f"status {code}"
    hint = ", perhaps for want of memory" if code in {-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV} else ""
    raise FitError(f"the fit's process died with {name}{hint}")
