"""What the rows of a partition are worth: features, a running profile, and when they make a training set. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from millrace.contracts.events import FeatureProfile
from millrace.contracts.project import Project
from millrace.features.batch import FeatureState
from millrace.features.frames import CHUNK_BYTES, pack, unpack
from millrace.features.functions import NONE, Functions
from services.ingest.profile import RunningProfile


@dataclass(frozen=True, slots=True)
class Rows:
    """A run of samples by the column, in log order: events and the labels joined to events.

    ``values`` has shape (events, inputs): what features look at, as ``inputs`` of ``RowMemory`` reads it; NaN where
    missing. ``labels`` has one value for each label.
    """

    is_label: NDArray[np.bool_]
    entity: Sequence[str]
    time_ms: NDArray[np.int64]
    values: NDArray[np.float64]
    labels: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.entity)


@dataclass(frozen=True, slots=True)
class SnapshotDue:
    """The rows written so far make a training set, up to and including the one at ``place`` of the run."""

    place: int
    rows: int
    labelled_rows: int
    from_time_ms: int
    until_time_ms: int
    profile: tuple[FeatureProfile, ...]


class RowMemory:
    """What is remembered of the rows. The same rows give the same features and snapshots, however they are cut.

    ``functions`` are the owner's, as ``load_functions`` gives them. ``fields`` are the names of the inputs.
    """

    def __init__(self, project: Project, functions: Functions = NONE) -> None:
        self._every = project.training.snapshot_every_rows
        self._features = FeatureState(project.features, project.data.entities.expire_after_s, functions)
        self.inputs = self._features.inputs
        self.fields = self.inputs.names
        self._profile = RunningProfile(project.feature_names)
        self.rows = 0
        self._labelled_rows = 0
        self._from_time_ms = 0
        self._until_time_ms = 0

    def advance(self, rows: Rows) -> tuple[NDArray[np.float64], list[SnapshotDue]]:
        """Take in a run; returns the features of its events, and the snapshots that it completes."""
        codes = self._features.codes(rows.entity)
        fields = {name: rows.values[:, place] for place, name in enumerate(self.fields)}
        features = self._features.advance(rows.is_label, codes, fields, rows.labels, rows.time_ms)
        due: list[SnapshotDue] = []
        label_places = np.flatnonzero(rows.is_label)
        first = self._every - self._labelled_rows % self._every - 1  # the label of this run that completes one
        start = 0
        for place in label_places[first :: self._every].tolist():
            self._count(rows, features, start, place + 1)
            start = place + 1
            due.append(
                SnapshotDue(
                    place, self.rows, self._labelled_rows, self._from_time_ms, self._until_time_ms,
                    self._profile.summary(),
                )
            )  # fmt: skip
        self._count(rows, features, start, len(rows))
        return features, due

    def save(self, chunk_bytes: int = CHUNK_BYTES) -> list[bytes]:
        """All that is remembered, as frames of at most ``chunk_bytes``, for ``restore``."""
        meta, arrays = self._features.parts()
        counts = [self.rows, self._labelled_rows, self._from_time_ms, self._until_time_ms]
        return pack("rows", {**meta, "counts": counts}, arrays | self._profile.parts(), chunk_bytes)

    def restore(self, frames: Sequence[bytes]) -> None:
        """Be what was saved; what was remembered before is forgotten.

        Raises:
            ContractError: the frames are damaged, or of other features. All is as it was.
        """
        meta, arrays = unpack("rows", frames)
        self._features.put(meta, arrays)
        self.rows, self._labelled_rows, self._from_time_ms, self._until_time_ms = meta["counts"]
        self._profile.put(arrays)

    def _count(self, rows: Rows, features: NDArray[np.float64], start: int, stop: int) -> None:
        """Take the rows from ``start`` to ``stop`` into the profile and the counts."""
        is_event = ~rows.is_label[start:stop]
        count = int(is_event.sum())
        self._labelled_rows += stop - start - count
        if not count:
            return
        before = start - int(rows.is_label[:start].sum())
        self._profile.add(features[before : before + count])
        times = rows.time_ms[start:stop][is_event]
        low, high = int(times.min()), int(times.max())
        self._from_time_ms = min(self._from_time_ms, low) if self.rows else low
        self._until_time_ms = max(self._until_time_ms, high) if self.rows else high
        self.rows += count
