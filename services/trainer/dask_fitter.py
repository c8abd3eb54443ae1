"""``training.backend``: where a run's fit is carried out, here alone or with a Dask cluster.

Either way a run has a child process of its own, with its limits, and is killed as a whole. On Dask the child hands the
folds of the search and the last fit to the cluster (``dask_cluster.py``) and does the rest itself: it draws the trials,
writes ONNX, and runs the checks. The same choice gives the same bytes.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, runtime_checkable

from millrace.contracts.events import TrainingRunChanged
from services.trainer.answer import Limits
from services.trainer.dask_reference import Cluster, RowsReference
from services.trainer.fitter import ChildFitter, Fitter
from services.trainer.train.task import FitError, FitResult, FitTask, Report

INSTALL = "training.backend is dask, and Dask is not installed here: pip install 'millrace[dask]'"


@runtime_checkable
class RunFitter(Protocol):
    """A fitter that depends on the run."""

    def of_run(self, started: TrainingRunChanged) -> Fitter:
        """The one for this run. Raises ``FitError`` if there is none."""
        ...


@contextlib.contextmanager
def on_cluster(cluster: Cluster, reference: RowsReference) -> Iterator[None]:
    """What is fitted inside is fitted on the cluster. Entered in the child.

    Raises:
        FitError: Dask is not installed, or the cluster fails.
    """
    try:
        from services.trainer.dask_cluster import on_dask  # noqa: PLC0415  # an extra, and slow to import
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"dask", "distributed", "cloudpickle"}:
            raise
        raise FitError(INSTALL) from error
    with on_dask(cluster, reference):
        yield


@dataclass(frozen=True, slots=True)
class Backends:
    """Fits each run as ``training.backend`` said when it began: by ``child``, alone or with the cluster."""

    child: ChildFitter
    cluster: Cluster | None
    stream: str

    def reporting(self, report: Report) -> "Backends":
        """The same, telling ``report``."""
        return replace(self, child=self.child.reporting(report))

    def of_run(self, started: TrainingRunChanged) -> ChildFitter:
        """The fitter of this run.

        Raises:
            FitError: the run is to be fitted on Dask, and the settings name no cluster.
        """
        if started.backend != "dask":
            return self.child
        if self.cluster is None:
            raise FitError("training.backend is dask: set MILLRACE_DASK_SCHEDULER, such as tcp://scheduler:8786")
        return replace(self.child, within=partial(on_cluster, self.cluster, RowsReference.of(self.stream, started)))

    async def __call__(self, task: FitTask) -> FitResult:
        """Fit a task that belongs to no run, such as one that is repeated: here."""
        return await self.child(task)


async def fit_on_dask(
    task: FitTask, *, reference: RowsReference, scheduler: str, memory_mb: int, threads: int
) -> FitResult:
    """Fit in a child process that has a Dask cluster. Raises ``FitError``."""
    within = partial(on_cluster, Cluster(scheduler), reference)
    return await ChildFitter(Limits(memory_mb, threads), within=within)(task)
