"""The part of a fit that runs in a Dask worker.

Start workers with one thread each and the lake's variables (``MILLRACE_LAKE``, ``MILLRACE_LAKE_S3_…``) in their
environment; a worker that has more threads uses one at a time, because NumPy's global generator, which careless
pipelines draw from, is one per process. BLAS has one thread, as in the trainer's child: its sums depend on the number.

**Hangs.** The child of a run is killed when ``training.timeout_s`` is over; a unit that has run for as long is nobody's
any more, and it ends its worker. A nanny, which ``dask worker`` starts of itself, puts another in its place, and holds
its memory.

**Trust.** What comes here is code, the owner's, and what goes back is unpickled by the trainer's child. So whoever can
reach the scheduler or a worker can run code in both: the cluster is inside the trainer's trust boundary, and belongs on
a network of its own, or behind TLS with certificates. The trainer itself unpickles nothing of it, only its child does.
"""

import contextlib
import faulthandler
import pickle
import platform
import random
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # publishes no types
import numpy as np
from threadpoolctl import ThreadpoolController

from millrace.telemetry.log import get_logger
from services.trainer.dask_reference import RowsReference
from services.trainer.dask_rows import read_rows
from services.trainer.dask_settings import WorkerSettings
from services.trainer.environment import lock_hash
from services.trainer.train.task import FitError, FitTask, Rows

log = get_logger(__name__)
REMEMBERED = 2  # runs whose rows a worker keeps
_alone = threading.Lock()
_read: OrderedDict[str, Rows] = OrderedDict()  # from the lake, by hash
_carried: dict[str, Rows] = {}  # brought by the trainer, by hash, until it takes them back


@dataclass(frozen=True, slots=True)
class Work:
    """One call of a function of the search, with a task among its arguments that has no rows.

    ``reference`` is None if the rows were carried; ``sha256`` is their hash either way.
    """

    function: Callable[..., Any]
    args: Sequence[Any]
    sha256: str
    reference: RowsReference | None


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it: a value, or why there is none. ``rows_from`` says how the worker came by the rows."""

    value: Any
    error: str | None
    rows_from: str


class NotTheSameError(Exception):
    """A worker runs with something else than the trainer."""


def identity() -> tuple[str, str, str]:
    """What the bytes of a model depend on besides its rows and code: Python, the kind of machine, all packages."""
    return platform.python_version(), f"{sys.platform}/{platform.machine()}", f"packages {lock_hash()}"


def has_lake() -> bool:
    """Whether this worker was told of a lake."""
    return WorkerSettings().has_lake


def carry(sha256: str, rows: Rows) -> None:
    """Keep rows that the trainer has brought."""
    _carried[sha256] = rows


def forget(sha256: str) -> None:
    """Keep them no longer."""
    _carried.pop(sha256, None)


def carry_out(expected: tuple[str, str, str], work: bytes) -> tuple[str, bytes]:
    """Do a pickled ``Work``; return this worker's address and a pickled ``Done``.

    What the owner's code raises is an answer.

    Raises:
        NotTheSameError: this worker is not like the trainer; nothing was unpickled then.
        FitError: the rows cannot be had.
        LakeError: the lake does not answer.
    """
    if identity() != expected:
        raise NotTheSameError(differences(expected, identity()))
    with _alone:
        done = _do(pickle.loads(work))  # noqa: S301  # see Trust above
        try:
            packed: bytes = cloudpickle.dumps(done)
        except Exception as error:  # noqa: BLE001  # an owner's estimator may hold anything
            packed = cloudpickle.dumps(Done(None, f"the estimator cannot be sent back: {error!r}", done.rows_from))
    return _name(), packed


def _name() -> str:
    from distributed import get_worker  # noqa: PLC0415  # only where a worker runs

    return str(get_worker().address)


def differences(expected: Sequence[str], found: Sequence[str]) -> str:
    """In words.

    >>> differences(("3.11.4", "linux/x", "packages a"), ("3.11.4", "linux/x", "packages b"))
    'packages b in place of packages a'
    """
    return ", ".join(
        f"{there} in place of {here}" for here, there in zip(expected, found, strict=True) if here != there
    )


def _do(work: Work) -> Done:
    task = next(arg for arg in work.args if isinstance(arg, FitTask))
    rows, rows_from = _rows_of(work)
    whole = replace(task, train=rows)
    ThreadpoolController().limit(limits=1)
    random.seed(task.seed)
    np.random.seed(task.seed % 2**32)  # noqa: NPY002  # it is this one that careless pipelines use
    try:
        with _bounded(task.timeout_s):
            value = work.function(*(whole if arg is task else arg for arg in work.args))
    except FitError as error:
        return Done(None, str(error), rows_from)
    except Exception as error:  # noqa: BLE001  # the owner's code may raise anything, and no trainer could unpickle it
        files = {source.file for source in (task.pipeline, *task.families.values())}
        return Done(None, f"{type(error).__name__}: {error}{_where(error, files)}", rows_from)
    return Done(value, None, rows_from)


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """End this process when the time is over, even if native code keeps the interpreter lock; its log says where."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def _rows_of(work: Work) -> tuple[Rows, str]:
    if work.reference is None:
        if work.sha256 not in _carried:
            raise FitError("the rows that the trainer brought are gone from this worker")
        return _carried[work.sha256], "the trainer"
    if work.sha256 in _read:
        _read.move_to_end(work.sha256)
        return _read[work.sha256], "memory"
    rows = read_rows(work.reference, work.sha256, WorkerSettings().open_lake(work.reference.stream))
    log.info("training rows read from the lake", stream=work.reference.stream, rows=len(rows.y))
    _read[work.sha256] = rows
    while len(_read) > REMEMBERED:
        _read.popitem(last=False)
    return rows, "the lake"


def _where(error: BaseException, files: Collection[str]) -> str:
    """The line of the owner's code that raised, where it is on the way."""
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        place = f" ({file}, line {trace.tb_lineno})" if file in files else place
        trace = trace.tb_next
    return place
