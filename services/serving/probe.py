"""The first load of a model, tried where it can do no harm: in a child process.

A model file is the one thing from outside that native code reads. So before this process opens it, a child does all
that could crash, hang or eat the memory: it parses and checks the file, opens the session, scores odd rows and the
golden records. The child may use so much memory, CPU and time; whatever ends it otherwise than by an answer is the
model's refusal. It is forked from a *fork server* that has imported the libraries once: 30 ms for a usual model.

The child answers in text. The parent unpickles nothing that comes from there. Simulations call :func:`try_model`.
"""

import contextlib
import multiprocessing
import resource
import signal
import threading
from dataclasses import dataclass
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Protocol

import numpy as np

from millrace.bus.forkserver import launch
from millrace.contracts.errors import ArtifactError
from millrace.contracts.golden import Golden
from millrace.contracts.model_file import DEFAULT, Limits
from millrace.telemetry.log import get_logger
from services.serving.score import Model
from services.serving.verify import NotNowError

log = get_logger(__name__)
DEATH_S = 5.0  # from a broken pipe to the exit status
GRACE_S = 5  # after the wall time, for a child whose parent is gone
PRELOADED = ("services.serving.probe",)


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be tried. ``golden`` are the golden records' bytes, None where there are none."""

    content: bytes
    golden: bytes | None
    width: int
    classes: int
    limits: Limits = DEFAULT


class Probe(Protocol):
    """How a model is tried."""

    def __call__(self, task: Task) -> None:
        """Return if the model may be loaded; blocks.

        Raises:
            ArtifactError: it may not, with the reason.
        """
        ...

    def close(self) -> None:
        """End what is under way."""
        ...


def try_model(task: Task, threads: int = 1) -> Model:
    """Load the model with all checks and let it answer the golden records. Raises ``ArtifactError``."""
    model = Model(task.content, width=task.width, classes=task.classes, threads=threads, limits=task.limits)
    if task.golden is None:
        return model
    golden = Golden.from_bytes(task.golden)
    if golden.features.shape[1] != task.width:
        raise ArtifactError(f"the golden records have {golden.features.shape[1]} features, {task.width} are needed")
    try:
        answers = model.score(golden.features.astype(np.float64))
    except Exception as error:  # as for the odd rows
        raise ArtifactError(f"the model cannot score its golden records: {error}") from error
    if fault := golden.fault(answers.values, answers.scores):
        raise ArtifactError(fault)
    return model


def warm() -> None:
    """Start the fork server, so that the first model need not wait for its imports. Call it from the main thread."""
    forkserver.set_forkserver_preload(list(PRELOADED))
    forkserver.ensure_running()


class ChildProbe:
    """Tries each model in a child process of its own, one at a time.

    Args:
        memory_mb: address space that the child may have, its libraries (some 250 MB) included.
        seconds: CPU time that it may use, and wall time that it may take.
    """

    def __init__(self, *, memory_mb: int, seconds: float) -> None:
        self._memory_mb = memory_mb
        self._seconds = seconds
        self._one_at_a_time = threading.Lock()
        self._lock = threading.Lock()
        self._process: ForkServerProcess | None = None
        self._closed = False

    def __call__(self, task: Task) -> None:
        """Try it in a child.

        Raises:
            ArtifactError: the model's refusal.
            NotNowError: the child could not be started; nothing is known about the model.
        """
        with self._one_at_a_time:
            context = multiprocessing.get_context("forkserver")
            ours, its = context.Pipe()
            process = context.Process(target=_child, args=(its, self._memory_mb, self._seconds))
            try:
                _start(process)
                its.close()
                self._watch(process)
                self._ask(process, ours, task)
            finally:
                self._watch(None)
                if process.pid is not None:
                    process.kill()
                    process.join()
                process.close()
                ours.close()
                its.close()

    def close(self) -> None:
        """Kill the child that is at work, if one is; whoever waits for it is told that nothing is known."""
        with self._lock:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def _watch(self, process: ForkServerProcess | None) -> None:
        with self._lock:
            self._process = process
            if process is not None and self._closed:
                process.kill()

    def _ask(self, process: ForkServerProcess, ours: Connection, task: Task) -> None:
        try:
            ours.send(task)
            ready = connection.wait([ours, process.sentinel], self._seconds)
            if not ready:
                raise ArtifactError(f"the model could not be loaded and tried within {self._seconds:g} s")
            if ours in ready:
                reason = ours.recv_bytes().decode()
                if reason:
                    raise ArtifactError(reason)
                return
        except (EOFError, OSError):
            log.info("the probe's pipe broke", pid=process.pid)
        process.join(DEATH_S)
        if self._closed:
            raise NotNowError("serving is ending; the model was not tried")
        raise ArtifactError(f"loading and trying the model ended its process with {self._death(process.exitcode)}")

    def _death(self, code: int | None) -> str:
        if code is None or -code not in set(signal.Signals):
            return f"status {code}"
        name = signal.Signals(-code).name
        if -code == signal.SIGXCPU:
            return f"{name}: it needs more than {self._seconds:g} s of CPU"
        if -code in {signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV}:
            return f"{name}, perhaps for want of memory (it may have {self._memory_mb} MB)"
        return name


def _start(process: ForkServerProcess) -> None:
    try:
        launch(process)
    except (EOFError, OSError) as error:
        raise NotNowError(f"the probe's process cannot be started: {error!r}") from error


def _child(ours: Connection, memory_mb: int, seconds: float) -> None:
    """The child: one task, one answer; empty text if the model may be loaded."""
    cpu_s = max(1, round(seconds))
    signal.alarm(cpu_s + GRACE_S)  # the parent kills it earlier, if there still is a parent
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU first: it tells the reason
    task: Task = ours.recv()
    resource.setrlimit(resource.RLIMIT_AS, (memory_mb * 2**20, memory_mb * 2**20))
    try:
        try_model(task)
        reason = ""
    except MemoryError:
        reason = f"the model needs more than the {memory_mb} MB that it may have"
    except ArtifactError as error:
        reason = str(error) or repr(error)
    with contextlib.suppress(BrokenPipeError):
        ours.send_bytes(reason.encode())
