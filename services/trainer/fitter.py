"""Runs a fit: in a child process for real, in this one for simulations.

The child is forked from a *fork server* that has imported the heavy libraries once, so a run starts in tens of
milliseconds and the trainer itself needs none of them. It has its own session; whatever ends the fit, an answer, an
error, a limit or cancellation, the whole process group is killed, and every descendant that has left the group.

Limits are held twice. The kernel holds memory and processor time of each process; a look every half second holds
memory, processor time and number of all of them together, so neither hogs nor a crowd of small ones get far. Wall time
is held here, against hangs of every kind. What the owner's code prints is read and dropped.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Protocol, runtime_checkable

import psutil

from millrace.bus.failpoints import failpoint
from millrace.bus.forkserver import launch
from millrace.contracts.events import RunProgress
from millrace.telemetry.log import get_logger
from services.trainer import usage
from services.trainer.answer import MESSAGE_BYTES_MAX, Limits, unpack
from services.trainer.output import Output
from services.trainer.train.task import FitError, FitResult, FitTask, Report

log = get_logger(__name__)
DEATH_S = 5.0  # from a broken pipe to the exit status
LOOK_S = 0.5  # between two looks at what the fit uses

Fitter = Callable[[FitTask], Awaitable[FitResult]]
Within = Callable[[], contextlib.AbstractContextManager[None]]


@runtime_checkable
class ReportingFitter(Protocol):
    """A fitter that can say how far a fit is."""

    def reporting(self, report: Report) -> Fitter:
        """The same, telling ``report``, which may be called in another thread and must not block."""
        ...


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


def _ignore(progress: RunProgress) -> None:
    del progress


@dataclass(frozen=True, slots=True)
class ChildFitter:
    """Fits each task in a child process of its own, with these limits.

    ``within`` makes a context that the child enters for the fit; it is pickled, and may raise ``FitError`` there.
    """

    limits: Limits
    report: Report = field(default=_ignore)
    within: Within = field(default=contextlib.nullcontext)

    def reporting(self, report: Report) -> "ChildFitter":
        """The same, telling ``report``."""
        return replace(self, report=report)

    async def __call__(self, task: FitTask) -> FitResult:
        """Fit.

        Raises:
            FitError: the pipeline's error, a crash, or a limit: time, processor time, memory, processes.
        """
        child = _Child(self.limits, self.report, self.within)
        work = asyncio.ensure_future(asyncio.to_thread(child.run, task))
        watch = asyncio.ensure_future(child.watch())
        try:
            async with asyncio.timeout(task.timeout_s):
                await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
                if watch.done() and not work.done():
                    raise FitError(watch.result())
                return await asyncio.shield(work)
        except TimeoutError as error:
            raise FitError(f"the fit did not end within {task.timeout_s:g} s and was killed") from error
        finally:
            watch.cancel()
            child.kill()
            with contextlib.suppress(FitError):  # of the killed child; what matters has been raised or returned
                await work
            await asyncio.gather(watch, return_exceptions=True)


async def fit_in_child(task: FitTask, *, memory_mb: int, threads: int) -> FitResult:
    """Fit in a child process with limits on memory and threads only. Raises ``FitError``."""
    return await ChildFitter(Limits(memory_mb, threads))(task)


class _Child:
    """One child process. ``run`` blocks, so it has a thread of its own; ``kill`` may come from another."""

    def __init__(self, limits: Limits, report: Report, within: Within) -> None:
        self._limits = limits
        self._report = report
        self._within = within
        self._lock = threading.Lock()
        self._process: ForkServerProcess | None = None
        self._family: usage.Family | None = None
        self._killed = False

    def run(self, task: FitTask) -> FitResult:
        """Start the child, hand over the task, wait for its answer, and see all of its processes gone."""
        context = multiprocessing.get_context("forkserver")
        tasks, its_tasks = context.Pipe()
        its_alive, alive = context.Pipe(duplex=False)
        printed, its_printed = context.Pipe(duplex=False)
        process = context.Process(target=_enter, args=(its_tasks, its_alive, its_printed, self._limits, self._within))
        output = Output(printed)
        try:
            self._start(process)
            for end in (its_tasks, its_alive, its_printed):
                end.close()
            return self._ask(process, tasks, task, output)
        finally:
            self.kill()
            if process.pid is not None:
                process.join()
            with self._lock:
                self._process = None
            process.close()
            for end in (tasks, its_tasks, its_alive, alive, its_printed):
                end.close()
            output.close()
            printed.close()
            if output.bytes_seen:
                log.info("the fit printed something", bytes=output.bytes_seen, end=output.close())

    async def watch(self) -> str:
        """Look at what the child and its descendants use until it is too much; then say so."""
        while True:
            await asyncio.sleep(LOOK_S)
            family = self._family
            excess = None if family is None else await asyncio.to_thread(family.excess, self._limits)
            if excess is not None:
                return excess

    def kill(self) -> None:
        """Kill the process group and whoever has left it, at once and for good; again is harmless."""
        with self._lock:
            self._killed = True
            if self._process is None or self._process.pid is None or self._family is None:
                return
            members = self._family.members()
            try:
                os.killpg(self._process.pid, signal.SIGKILL)
            except ProcessLookupError:  # it has not made its group yet, or all of it is gone
                self._process.kill()
            for member in members:
                with contextlib.suppress(psutil.Error):
                    member.kill()

    def _start(self, process: ForkServerProcess) -> None:
        try:
            launch(process)
        except (EOFError, OSError) as error:
            raise FitError(f"the fit's process cannot be started: {error!r}") from error
        with self._lock:
            assert process.pid is not None, "it was started"
            self._process, self._family = process, usage.Family(process.pid)
            killed = self._killed
        if killed:
            self.kill()

    def _ask(self, process: ForkServerProcess, tasks: Connection, task: FitTask, output: Output) -> FitResult:
        """Hand over the task, pass on what is told, and wait for the result or the end of the child."""
        try:
            tasks.send(task)
            failpoint("train.in-fit")
            while tasks in connection.wait([tasks, process.sentinel]):
                said = unpack(tasks.recv_bytes(MESSAGE_BYTES_MAX))
                if isinstance(said, FitResult):
                    return said
                self._report(said)
        except (EOFError, OSError):
            log.info("the fit's pipe broke", pid=process.pid)
        process.join(DEATH_S)
        self.kill()  # nobody writes any more, so the last words can be read to their end
        raise FitError(_epitaph(process.exitcode, self._limits, output.close()))


def _enter(tasks: Connection, alive: Connection, output: Connection, limits: Limits, within: Within) -> None:
    """The child's first function, in a module that is light to import for the parent."""
    from services.trainer.child import main  # noqa: PLC0415

    main(tasks, alive, output, limits, within)


def _epitaph(code: int | None, limits: Limits, last_words: str) -> str:
    """What a child died of, as far as its status and its last words tell."""
    if code == -signal.SIGXCPU:
        return usage.out_of_cpu(limits.cpu_s)
    name = signal.Signals(-code).name if code is not None and -code in set(signal.Signals) else f"status {code}"
    hint = ", perhaps for want of memory" if code in {-signal.SIGKILL, -signal.SIGABRT, -signal.SIGSEGV} else ""
    end = f"; it had printed: {last_words}" if last_words else ""
    return f"the fit's process died with {name}{hint}{end}"
