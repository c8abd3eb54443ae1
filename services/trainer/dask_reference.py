"""What is said about a cluster and about a run's rows in place of the rows themselves. Plain data."""

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from millrace.contracts.events import OffsetRange, TrainingRunChanged
from services.trainer.train.task import FitTask, Rows


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Dask cluster, and how long it may be away before a fit is given up."""

    scheduler: str
    tls_ca_file: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    connect_s: float = 10.0  # until the scheduler has answered, and again until a worker is there
    lost_s: float = 20.0  # without an answer of the scheduler, or without any worker


class RowsReference(NamedTuple):
    """Where the rows of a run are in the lake: what its event says about them."""

    stream: str
    ranges: tuple[OffsetRange, ...]
    excluded: tuple[OffsetRange, ...]
    feature_set: str
    table_version: int | None
    holdout_rows: int

    @classmethod
    def of(cls, stream: str, started: TrainingRunChanged) -> Self:
        """The rows of this run."""
        return cls(
            stream=stream,
            ranges=started.ranges,
            excluded=started.excluded,
            feature_set=started.feature_set,
            table_version=started.table_version,
            holdout_rows=started.holdout_rows,
        )


def digest(rows: Rows) -> str:
    """Hash of features and labels as a fit gets them: equal for the same values in the same order, and only for these.

    >>> one = Rows(np.array([[1.0, 2.0]], dtype=np.float32), np.array([0.0]))
    >>> digest(one) == digest(Rows(one.x.copy(), one.y.copy())), digest(one) == digest(Rows(one.x + 1, one.y))
    (True, False)
    """
    found = hashlib.sha256(repr(rows.x.shape).encode())
    found.update(np.ascontiguousarray(rows.x, dtype="<f4").tobytes())
    found.update(np.ascontiguousarray(rows.y, dtype="<f8").tobytes())
    return found.hexdigest()


def bare(task: FitTask) -> FitTask:
    """The task without a single row or file: what a fold or a last fit needs besides the training rows."""
    nothing = Rows(np.empty((0, len(task.feature_names)), dtype=np.float32), np.empty(0))
    return replace(task, train=nothing, holdout=nothing, champion=None, imported=None, sample=None, study=None)
