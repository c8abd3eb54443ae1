"""One micro-batch from Avro to Avro, by the column: samples -> scores -> predictions and observation frames. Pure.

Everything in here runs in a worker thread and touches nothing but its arguments, so that the event loop goes on with
heartbeats, fetches and commits meanwhile. Who answers which event during a rollout is in ``variants.py``; without one
there is no work for it in any row.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.codec import Codec
from millrace.contracts.events import ObservationsRecorded, VariantScored
from millrace.contracts.frames import frames_of
from services.serving.guard import Scorer
from services.serving.samples import Samples, as_numpy
from services.serving.score import Scores
from services.serving.variants import CHAMPION, Outcome, Rollout, Said, names_of, score_with

FRAME_BYTES = 800_000  # of one frame; a record may have RECORD_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Server:
    """Who answers: the same for all of a micro-batch. ``model`` and ``version`` are the champion's."""

    model: Scorer
    name: str
    version: int
    epoch: int
    classes: tuple[str, ...]
    features: tuple[str, ...]
    rollout: Rollout | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """From where to where."""

    samples: str
    predictions: str
    observations: str
    partition: int
    shadow_predictions: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is written for a micro-batch.

    ``predictions`` has one value for each event, in order; ``observations`` the values of the frames.
    ``waited_ms`` is the time since each event's own log time. ``shadow`` has what the version said that did not answer,
    for the events in ``shadow_rows``; ``counts`` what each variant did; ``said`` what was answered, by the column.
    """

    predictions: list[bytes]
    observations: list[bytes]
    waited_ms: NDArray[np.int64]
    shadow: list[bytes] = field(default_factory=list)
    shadow_rows: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    counts: tuple[VariantScored, ...] = ()
    said: "Answers | None" = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Scores of events with whose they are: one version and variant for all, or an array of them."""

    scored: Scores
    version: int | NDArray[np.int32]
    variant: Any = CHAMPION

    @classmethod
    def of(cls, said: Said, rollout: Rollout) -> "Answers":
        """What the variants of a rollout said; version 0 where nothing was said."""
        versions = np.where(said.said, rollout.versions[said.part], 0).astype(np.int32)
        return cls(said.scored, versions, names_of(rollout, said))

    def by(self, row: int) -> tuple[int, str]:
        """Version and variant that answered an event."""
        version = self.version if isinstance(self.version, int) else int(self.version[row])
        return version, self.variant if isinstance(self.variant, str) else str(self.variant[row])

    def take(self, rows: NDArray[np.intp]) -> "Answers":
        """These rows only, of an array."""
        assert not isinstance(self.version, int), "one for all is not cut"
        scored = Scores(self.scored.values[rows], self.scored.scores[rows])
        return Answers(scored, self.version[rows], self.variant.take(pa.array(rows)))


def answer(samples: Samples, server: Server, where: Where, codec: Codec, *, from_offset: int, now_ms: int) -> Answer:
    """Score the samples and encode what came of it. ``from_offset`` is where the first frame begins."""
    events = samples.events()
    features = events.features(len(server.features))
    outcome = None if server.rollout is None else _tried(events, features, server, server.rollout)
    others = None
    if outcome is None or server.rollout is None:
        scored = (
            server.model.score(features) if len(events) else Scores(np.empty(0), np.empty((0, len(server.classes))))
        )
        answers = Answers(scored, server.version)
    else:
        answers = Answers.of(outcome.answers, server.rollout)
        others = None if outcome.others is None else Answers.of(outcome.others, server.rollout)
    batch = _predictions(events, answers, server, where, now_ms, codec)
    columns = observed_columns(samples, features, answers, server, others)
    counts = () if outcome is None else outcome.counts
    shadow_rows = np.empty(0, dtype=np.intp) if others is None else np.flatnonzero(others.version)
    return Answer(
        predictions=codec.encode_columns(where.predictions, batch),
        observations=[
            codec.encode(where.observations, observed)
            for observed in _observations(columns, server, where, from_offset, now_ms, counts)
        ],
        waited_ms=np.maximum(0, now_ms - as_numpy(events.columns.column("source_time_ms"))),
        shadow=_shadow(events, others, shadow_rows, server, where, now_ms, codec),
        shadow_rows=shadow_rows,
        counts=counts,
        said=answers,
    )


def _tried(events: Samples, features: NDArray[np.float64], server: Server, rollout: Rollout) -> Outcome:
    part = rollout.assigned(events.columns.column("entity"), events.columns.column("event_id"))
    return score_with(rollout, server.model, len(server.classes), features, part)


def _shadow(
    events: Samples, others: Answers | None, rows: NDArray[np.intp], server: Server, where: Where, now_ms: int,
    codec: Codec,
) -> list[bytes]:  # fmt: skip
    """What the version that did not answer says, under an id that always names the variant."""
    if others is None or not len(rows):
        return []
    topic = where.shadow_predictions
    if len(rows) < len(events):
        events, others = events.take(rows, "event_id", "entity", "time_ms"), others.take(rows)
    batch = _predictions(events, others, server, where, now_ms, codec, topic=topic, named=True)
    return codec.encode_columns(topic, batch)


def _predictions(
    events: Samples, answers: Answers, server: Server, where: Where, now_ms: int, codec: Codec, *,
    topic: str | None = None, named: bool = False,
) -> Any:  # fmt: skip
    """PredictionMade by the column. An id names the variant where it is not the champion, or always if ``named``."""
    rows, scored = len(events), answers.scored
    offsets = pa.array(events.offsets)
    labels = pa.nulls(rows, pa.utf8())
    if server.classes:
        known = (scored.values >= 0) & (scored.values < len(server.classes))  # else a model that should not be here
        places = pa.array(np.where(known, scored.values, 0).astype(np.int64), mask=~known)
        labels = pa.array(server.classes, pa.utf8()).take(places)
    width = scored.scores.shape[1]
    ends = np.arange(rows + 1, dtype=np.int32) * width
    columns: Mapping[str, Any] = {
        "prediction_id": _ids(f"{server.name}/{where.samples}/{where.partition}/", offsets, answers, named=named),
        "event_id": events.columns.column("event_id"),
        "entity": events.columns.column("entity"),
        "model": _same(server.name, pa.utf8(), rows),
        "version": _column(answers.version, pa.int32(), rows),
        "variant": _column(answers.variant, pa.utf8(), rows),
        "epoch": _same(server.epoch, pa.int64(), rows),
        "value": pa.array(scored.values, pa.float64()),
        "label": labels,
        "scores": pa.ListArray.from_arrays(pa.array(ends), pa.array(scored.scores.ravel(), pa.float64())),
        "event_time_ms": events.columns.column("time_ms"),
        "predicted_at_ms": _same(now_ms, pa.int64(), rows),
        "sample_partition": _same(where.partition, pa.int32(), rows),
        "sample_offset": offsets,
    }
    return codec.batch(topic or where.predictions, columns)


def _ids(place: str, offsets: Any, answers: Answers, *, named: bool) -> Any:
    texts = offsets.cast(pa.utf8())
    if isinstance(answers.variant, str):
        return pc.binary_join_element_wise(place, texts, "")
    ending = pc.binary_join_element_wise("/", answers.variant, "")
    if not named:
        ending = pc.if_else(pc.equal(answers.variant, CHAMPION), "", ending)
    return pc.binary_join_element_wise(place, texts, ending, "")


def observed_columns(
    samples: Samples, features: NDArray[np.float64], answers: Answers, server: Server, others: Answers | None = None
) -> dict[str, Any]:
    """The micro-batch as a frame's columns; cells that a label's row does not have are NaN."""
    rows, is_event = len(samples), samples.is_event

    def spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(values) == rows:
            return values
        column = np.full(rows, np.nan)
        column[is_event] = values
        return column

    def spread_versions(version: int | NDArray[np.int32]) -> NDArray[np.int32]:
        column = np.zeros(rows, dtype=np.int32)
        column[is_event] = version
        return column

    def said(by: Answers, prefix: str) -> dict[str, Any]:
        scores = by.scored.scores
        return {
            f"{prefix}version": spread_versions(by.version),
            f"{prefix}value": spread(by.scored.values),
            **{f"{prefix}score_{i}": spread(scores[:, i]) for i in range(scores.shape[1])},
        }

    columns: dict[str, Any] = {
        "offset": samples.offsets,
        "is_label": ~is_event,
        "event_id": samples.columns.column("event_id"),
        "time_ms": as_numpy(samples.columns.column("time_ms")),
        "label": as_numpy(pc.fill_null(samples.columns.column("label"), float("nan"))),
        **said(answers, ""),
    }
    columns |= {} if others is None else said(others, "other_")
    columns |= {name: spread(features[:, i]) for i, name in enumerate(server.features)}
    return columns


def _observations(
    columns: Mapping[str, Any], server: Server, where: Where, from_offset: int, now_ms: int,
    counts: tuple[VariantScored, ...],
) -> list[ObservationsRecorded]:  # fmt: skip
    """One frame, or as many as are needed for each to fit into a record. The counts are in the first one."""
    recorded: list[ObservationsRecorded] = []
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
                champion_version=server.version,
                rollout_id=None if server.rollout is None else server.rollout.id,
                variants=() if recorded else counts,
            )
        )
        from_offset = until_offset
    return recorded


def _column(value: object, kind: Any, rows: int) -> Any:
    """One value for all rows, or a value for each."""
    if isinstance(value, int | str):
        return _same(value, kind, rows)
    return pa.array(value, kind)


def _same(value: object, kind: Any, rows: int) -> Any:
    return pa.repeat(pa.scalar(value, kind), rows)
