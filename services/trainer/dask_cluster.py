"""A fit whose folds and last fit run on a Dask cluster. Used inside the trainer's child; blocks.

To the search, and to scikit-learn, the cluster is a joblib backend, as joblib's own for Dask is. That one does not do
here: it sends arguments, so the rows, through the scheduler; on the workers it spreads what is nested over the cluster,
with its arrays; and a call whose worker died for good is waited for without end. So:

- The unit is one call of the search on a whole candidate: a fold of a trial, or the last fit. Sent are the function,
  the owner's code, the parameters, and a reference to the rows; back comes a number or an estimator.
- The rows are read by each worker from the lake, once per run. Where no worker has a lake, they are brought to each
  worker once, through the scheduler, and taken back at the end.
- Whatever else asks joblib meanwhile is done here, in this process: its arrays would have to be sent.
- A worker that is lost costs its unit only: the scheduler gives it to another, up to four times. A scheduler that is
  lost, a cluster without workers, a worker that is not like the trainer end the fit with words, and within a bounded
  time. They are no fault of a candidate, so no trial may take them for its own: they pass through every ``except
  Exception``, and become a ``FitError`` at the end.
"""

import contextlib
import pickle
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from typing import Any

import cloudpickle  # type: ignore[import-untyped]  # publishes no types
from distributed import KilledWorker, WorkerPlugin
from distributed import TimeoutError as DaskTimeoutError
from joblib import parallel_config
from joblib.parallel import ParallelBackendBase

from millrace.telemetry.log import get_logger
from services.trainer import dask_worker
from services.trainer.dask_connect import ClusterError, connected, ready
from services.trainer.dask_reference import Cluster, RowsReference, bare, digest
from services.trainer.train.task import FitError, FitTask, Rows

log = get_logger(__name__)
CLOSE_S = 2.0  # for good-byes; the scheduler notices the end of a client anyway
LOOK_S = 1.0  # between two looks at the cluster while a unit is waited for
WAY_OUT = "see to it, or set training.backend to local, and ask for the run again"


class CarriedRows(WorkerPlugin):
    """Brings rows to every worker, also to one that joins later."""

    def __init__(self, sha256: str, rows: Rows) -> None:
        self._sha256 = sha256
        self._rows = rows

    def setup(self, worker: Any) -> None:
        """On a worker that has come."""
        del worker
        dask_worker.carry(self._sha256, self._rows)

    def teardown(self, worker: Any) -> None:
        """On each worker, when they are taken back."""
        del worker
        dask_worker.forget(self._sha256)


class Session:
    """A connection for one fit. ``units`` counts answers by worker, ``rows_from`` how they came by the rows."""

    def __init__(self, client: Any, cluster: Cluster, reference: RowsReference | None) -> None:
        self.sent_bytes = 0
        self.units: Counter[str] = Counter()
        self.rows_from: Counter[tuple[str, str]] = Counter()
        self._client = client
        self._cluster = cluster
        self._reference = reference
        self._digests: dict[int, tuple[Rows, str]] = {}
        self._carried: list[str] = []

    def threads(self) -> int:
        """How many units can run at a time. Raises ``ClusterError`` if the scheduler does not say."""
        try:
            cores = self._client.sync(self._client.scheduler.ncores, callback_timeout=self._cluster.lost_s)
        except Exception as error:  # a closed client raises several kinds; all mean that nobody answers
            raise ClusterError(f"its scheduler does not answer: {error!r}") from error
        return sum(cores.values())

    def send(self, function: Callable[..., Any], args: tuple[Any, ...], task: FitTask) -> Any:
        """Hand a unit over; the future is for ``receive``.

        Raises:
            FitError: the owner's code cannot be sent.
            ClusterError: the cluster failed.
        """
        sha256, light = self._digest(task.train), bare(task)
        work = dask_worker.Work(function, tuple(light if arg is task else arg for arg in args), sha256, self._reference)
        try:
            payload = cloudpickle.dumps(work)
        except Exception as error:  # the owner's module may hold anything
            raise FitError(f"the pipeline cannot be sent to the cluster: {error!r}") from error
        self.sent_bytes += len(payload)
        try:
            if self._reference is None and sha256 not in self._carried:
                self._carried.append(sha256)
                self._client.register_plugin(CarriedRows(sha256, task.train), name=sha256)
            return self._client.submit(dask_worker.carry_out, dask_worker.identity(), payload, pure=False)
        except Exception as error:  # a client whose scheduler is gone raises several kinds
            raise ClusterError(f"its scheduler takes nothing: {error!r}") from error

    def receive(self, future: Any) -> Any:
        """The value of a unit.

        Raises:
            FitError: what the owner's code raised, in words, or that it has killed its workers.
            ClusterError: the cluster failed.
        """
        alone_since: float | None = None
        while True:
            try:
                packed = future.result(timeout=LOOK_S)
            except DaskTimeoutError:
                alone_since = None if self.threads() else alone_since or time.monotonic()
                if alone_since is not None and time.monotonic() - alone_since >= self._cluster.lost_s:
                    raise ClusterError(f"no worker has been there for {self._cluster.lost_s:g} s") from None
            except KilledWorker as error:
                raise FitError(f"the workers that took it died, perhaps for want of memory: {error}") from error
            except CancelledError as error:
                raise ClusterError("its scheduler was lost in the middle of the fit") from error
            except Exception as error:  # the owner's errors come as answers: this worker cannot do its work
                raise ClusterError(f"a worker refused: {error}") from error
            else:
                return self._open(packed)

    def close(self) -> None:
        """Take back what was brought."""
        for name in self._carried:
            with contextlib.suppress(Exception):  # the cluster may be gone; then so are the rows
                self._client.unregister_worker_plugin(name)

    def _open(self, packed: tuple[str, bytes]) -> Any:
        worker, answer = packed
        done: dask_worker.Done = pickle.loads(answer)  # noqa: S301  # see Trust in dask_worker.py
        self.units[worker] += 1
        self.rows_from[worker, done.rows_from] += 1
        if done.error is not None:
            raise FitError(done.error)
        return done.value

    def _digest(self, rows: Rows) -> str:
        """Its hash, found once: the search hands over the same rows each time."""
        known = self._digests.get(id(rows))
        if known is None:
            known = self._digests[id(rows)] = (rows, digest(rows))
        return known[1]


class FitBackend(ParallelBackendBase):  # type: ignore[misc]  # joblib publishes no types
    """joblib's view of a session."""

    default_n_jobs = -1
    supports_retrieve_callback = False

    def __init__(self, session: Session, nesting_level: int = 0) -> None:
        super().__init__(nesting_level=nesting_level)
        self._session = session

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many units at a time; two at least, because with one joblib would not ask this backend at all."""
        return 1 if n_jobs == 1 else max(2, self._session.threads())

    def submit(self, func: Any, callback: Callable[[Any], None] | None = None) -> "_Answer":
        """Send the calls of a batch that have a task among their arguments; do others at once, here."""
        calls = func.items
        tasks = [next((arg for arg in args if isinstance(arg, FitTask)), None) for _, args, _ in calls]
        if any(task is None for task in tasks):
            return _Answer(lambda: func(), callback)  # noqa: PLW0108  # it is called when its turn comes
        futures = [
            self._session.send(function, args, task)
            for (function, args, _), task in zip(calls, tasks, strict=True)
            if task is not None
        ]
        return _Answer(lambda: [self._session.receive(future) for future in futures], callback)


class _Answer:
    """What joblib waits for, in the thread that has asked."""

    def __init__(self, get: Callable[[], list[Any]], callback: Callable[[Any], None] | None) -> None:
        self._get = get
        self._callback = callback

    def get(self, timeout: float | None = None) -> list[Any]:
        """The values of the batch's calls."""
        del timeout
        values = self._get()
        if self._callback is not None:
            self._callback(values)
        return values


@contextlib.contextmanager
def on_dask(cluster: Cluster, reference: RowsReference) -> Iterator[Session]:
    """Fits inside of this run on the cluster.

    Raises:
        FitError: the cluster is not there, is lost, or is not like the trainer.
    """
    try:
        client = connected(cluster)
        try:
            session = Session(client, cluster, reference if ready(client, cluster) else None)
            with contextlib.closing(session), parallel_config(backend=FitBackend(session)):
                yield session
            log.info("fitted on Dask", units=dict(session.units), sent_bytes=session.sent_bytes)
        finally:
            client.close(timeout=CLOSE_S)
    except ClusterError as error:
        raise FitError(f"the Dask cluster {cluster.scheduler}: {error}; {WAY_OUT}") from error
