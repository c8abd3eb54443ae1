"""One micro-batch from Avro to Avro, by the column: samples -> scores -> predictions and observation frames. Pure.

Everything in here runs in a worker thread and touches nothing but its arguments, so that the event loop goes on with
heartbeats, fetches and commits meanwhile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.codec import Codec
from millrace.contracts.events import ObservationsRecorded
from millrace.contracts.frames import frames_of
from services.serving.score import Model, Scores

CHAMPION = "champion"
FRAME_BYTES = 800_000  # of one frame; a record may have RECORD_BYTES_MAX


class Samples:
    """The samples of a micro-batch, one row each, in log order.

    ``columns`` has the fields of SampleRecorded; ``offsets`` are theirs, in the partition that they were read from.
    """

    def __init__(self, columns: Any, offsets: Sequence[int] | NDArray[np.int64]) -> None:
        self.columns = columns
        self.offsets = np.asarray(offsets, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.offsets)

    @cached_property
    def is_event(self) -> NDArray[np.bool_]:
        """Which rows are events; the others are labels."""
        return cast("NDArray[np.bool_]", _numpy(pc.equal(self.columns.column("kind"), "EVENT")))

    def foreign(self, feature_set: str) -> list[int]:
        """Rows of events that were computed with another feature set."""
        other = _numpy(pc.not_equal(self.columns.column("feature_set"), feature_set))
        return np.flatnonzero(self.is_event & other).tolist()

    def misshapen(self, width: int) -> list[int]:
        """Rows of events that do not have as many features as their feature set."""
        lengths = _numpy(pc.list_value_length(self.columns.column("features")))
        return np.flatnonzero(self.is_event & (lengths != width)).tolist()

    def take(self, rows: Sequence[int]) -> "Samples":
        """These rows only."""
        return Samples(self.columns.take(pa.array(rows, pa.int64())), self.offsets[list(rows)])

    def events(self) -> "Samples":
        """The events only."""
        if self.is_event.all():
            return self
        return Samples(self.columns.filter(pa.array(self.is_event)), self.offsets[self.is_event])

    def features(self, width: int) -> NDArray[np.float64]:
        """Features of the events, shape (events, width). Only for samples of which none is misshapen."""
        flat = self.columns.column("features").flatten()  # a label has none
        return cast("NDArray[np.float64]", _numpy(flat)).reshape(-1, width)


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers: the same for all of a micro-batch."""

    model: Model
    name: str
    version: int
    epoch: int
    classes: tuple[str, ...]
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Where:
    """From where to where."""

    samples: str
    predictions: str
    observations: str
    partition: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written for a micro-batch.

    ``predictions`` has one value for each event, in order; ``observations`` the values of the frames.
    ``waited_ms`` is the time since each event's own log time.
    """

    predictions: list[bytes]
    observations: list[bytes]
    waited_ms: NDArray[np.int64]


def answer(samples: Samples, server: Server, where: Where, codec: Codec, *, from_offset: int, now_ms: int) -> Answer:
    """Score the samples and encode what came of it. ``from_offset`` is where the first frame begins."""
    events = samples.events()
    features = events.features(len(server.features))
    scored = server.model.score(features) if len(events) else Scores(np.empty(0), np.empty((0, len(server.classes))))
    predictions = codec.encode_columns(where.predictions, _predictions(events, scored, server, where, now_ms, codec))
    columns = observed_columns(samples, features, scored, server)
    observations = [
        codec.encode(where.observations, observed)
        for observed in _observations(columns, server, where, from_offset, now_ms)
    ]
    waited = np.maximum(0, now_ms - _numpy(events.columns.column("source_time_ms")))
    return Answer(predictions, observations, waited)


def _predictions(events: Samples, scored: Scores, server: Server, where: Where, now_ms: int, codec: Codec) -> Any:
    """PredictionMade by the column."""
    rows = len(events)
    offsets = pa.array(events.offsets)
    place = f"{server.name}/{where.samples}/{where.partition}/"
    labels = pa.nulls(rows, pa.utf8())
    if server.classes:
        known = (scored.values >= 0) & (scored.values < len(server.classes))  # else a model that should not be here
        places = pa.array(np.where(known, scored.values, 0).astype(np.int64), mask=~known)
        labels = pa.array(server.classes, pa.utf8()).take(places)
    width = scored.scores.shape[1]
    ends = np.arange(rows + 1, dtype=np.int32) * width
    columns: Mapping[str, Any] = {
        "prediction_id": pc.binary_join_element_wise(place, offsets.cast(pa.utf8()), ""),
        "event_id": events.columns.column("event_id"),
        "entity": events.columns.column("entity"),
        "model": _same(server.name, pa.utf8(), rows),
        "version": _same(server.version, pa.int32(), rows),
        "variant": _same(CHAMPION, pa.utf8(), rows),
        "epoch": _same(server.epoch, pa.int64(), rows),
        "value": pa.array(scored.values, pa.float64()),
        "label": labels,
        "scores": pa.ListArray.from_arrays(pa.array(ends), pa.array(scored.scores.ravel(), pa.float64())),
        "event_time_ms": events.columns.column("time_ms"),
        "predicted_at_ms": _same(now_ms, pa.int64(), rows),
        "sample_partition": _same(where.partition, pa.int32(), rows),
        "sample_offset": offsets,
    }
    return codec.batch(where.predictions, columns)


def observed_columns(samples: Samples, features: NDArray[np.float64], scored: Scores, server: Server) -> dict[str, Any]:
    """The micro-batch as a frame's columns; cells that a label's row does not have are NaN."""
    rows, is_event = len(samples), samples.is_event

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(values) == rows:
            return values
        column = np.full(rows, np.nan)
        column[is_event] = values
        return column

    label = pc.fill_null(samples.columns.column("label"), float("nan"))
    columns: dict[str, Any] = {
        "offset": samples.offsets,
        "is_label": ~is_event,
        "event_id": samples.columns.column("event_id"),
        "time_ms": _numpy(samples.columns.column("time_ms")),
        "version": np.where(is_event, server.version, 0).astype(np.int32),
        "value": spread(scored.values),
        "label": _numpy(label),
    }
    columns |= {f"score_{i}": spread(scored.scores[:, i]) for i in range(scored.scores.shape[1])}
    columns |= {name: spread(features[:, i]) for i, name in enumerate(server.features)}
    return columns


def _observations(
    columns: Mapping[str, Any], server: Server, where: Where, from_offset: int, now_ms: int
) -> list[ObservationsRecorded]:
    """One frame, or as many as are needed for each to fit into a record."""
    recorded = []
    for part, frame in frames_of(columns, FRAME_BYTES):
        until_offset = int(part["offset"][-1]) + 1
        recorded.append(
            ObservationsRecorded.model_construct(
                model=server.name,
                partition=where.partition,
                from_offset=from_offset,
                until_offset=until_offset,
                epoch=server.epoch,
                rows=len(part["offset"]),
                frame=frame,
                recorded_at_ms=now_ms,
            )
        )
        from_offset = until_offset
    return recorded


def _same(value: object, kind: Any, rows: int) -> Any:
    return pa.repeat(pa.scalar(value, kind), rows)


def _numpy(column: Any) -> NDArray[Any]:
    return cast("NDArray[Any]", column.to_numpy(zero_copy_only=False))
