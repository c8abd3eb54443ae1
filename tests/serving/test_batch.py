"""One micro-batch from Avro to Avro: what an independent reader finds in predictions and observations."""

import contextlib
import dataclasses
import itertools
import math
import warnings
from typing import Any

import numpy as np
import pytest
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ArtifactError
from millrace.contracts.frames import decode_frame
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import newest
from services.serving.batch import FRAME_BYTES, Answers, Server, Where, answer, observed_columns
from services.serving.samples import Samples
from services.serving.score import Model, Scores
from tests.contracts.avro_rows import exact, proven, read, write
from tests.onnx_models import classifier, regressor
from tests.support import EPOCH_MS

WHERE = Where("tiny-samples", "tiny-predictions", "tiny-observations", 3)
FEATURES = ("x", "x_change", "last")
NOW_MS = EPOCH_MS + 10_000
SAMPLE = newest("sample-recorded")
NAN = math.nan


@pytest.fixture
async def codec() -> Codec:
    """A codec that writes predictions and observations."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic(WHERE.predictions, schemas.load("prediction-made"))
    await codec.prepare_topic(WHERE.observations, schemas.load("observations-recorded"))
    return codec


def server(*, regression: bool = False) -> Server:
    """Version 4, in force with epoch 7."""
    classes = () if regression else ("no", "yes")
    content = regressor() if regression else classifier()
    return Server(Model(content, width=3, classes=len(classes)), "tiny", 4, 7, classes, FEATURES)


def event(number: int, *features: float, **changes: Any) -> dict[str, Any]:
    """An event's sample."""
    return {
        "kind": "EVENT", "event_id": f"e{number}", "entity": "wü", "time_ms": EPOCH_MS + number, "feature_set": "ours",
        "features": list(features), "event": b"\xff", "label": None, "source_topic": "tiny-events",
        "source_partition": 3, "source_offset": number, "source_time_ms": EPOCH_MS + number, **changes,
    }  # fmt: skip


def label(number: int, value: float) -> dict[str, Any]:
    """The sample of that event's label."""
    changes = {"kind": "LABEL", "feature_set": "", "event": None, "label": value, "time_ms": EPOCH_MS + 50}
    return event(number, **changes)


def samples(*rows: dict[str, Any], first: int = 100) -> Samples:
    """These samples, as they are read from every second offset (markers stand between)."""
    columns = proven(SAMPLE).decode([write(SAMPLE, row) for row in rows])
    return Samples(columns, [first + 2 * place for place in range(len(rows))])


def answered(codec: Codec, batch: Samples, by: Server) -> tuple[list[Any], list[Any]]:
    """Predictions and observations, as fastavro reads them."""
    found = answer(batch, by, WHERE, codec, from_offset=99, now_ms=NOW_MS)
    return (
        [read(newest("prediction-made"), value) for value in found.predictions],
        [read(newest("observations-recorded"), value) for value in found.observations],
    )


def prediction(number: int, offset: int, value: float, label: str | None, scores: list[float]) -> dict[str, Any]:
    """What is to be read for the event of this number."""
    return {
        "prediction_id": f"tiny/tiny-samples/3/{offset}", "event_id": f"e{number}", "entity": "wü", "model": "tiny",
        "version": 4, "variant": "champion", "epoch": 7, "value": value, "label": label, "scores": scores,
        "event_time_ms": EPOCH_MS + number, "predicted_at_ms": NOW_MS, "sample_partition": 3, "sample_offset": offset,
    }  # fmt: skip


async def test_each_event_has_its_prediction(codec):
    """Class, its name and the scores of all classes; labels have none."""
    rows = [event(0, 2.0, 0.0, 0.0), label(0, 1.0), event(1, -2.0, NAN, 1.0), event(2, 2.0, 0.0, 0.0)]
    features = np.array([row["features"] for row in rows if row["kind"] == "EVENT"])
    scores = server().model.score(features).scores.tolist()
    predictions, _ = answered(codec, samples(*rows), server())

    assert [exact(one) for one in predictions] == [
        exact(prediction(0, 100, 1.0, "yes", scores[0])),
        exact(prediction(1, 104, 0.0, "no", scores[1])),
        exact(prediction(2, 106, 1.0, "yes", scores[2])),
    ]


async def test_a_regression_has_neither_class_nor_scores(codec):
    """The number is all there is."""
    predictions, _ = answered(codec, samples(event(0, 1.0, 2.0, 3.0)), server(regression=True))
    value = float(server(regression=True).model.score(np.array([[1.0, 2.0, 3.0]])).values[0])

    assert [exact(prediction(0, 100, value, None, []))] == [exact(one) for one in predictions]


async def test_the_frame_holds_events_and_labels_in_their_order(codec):
    """What an event's row has not, or a label's, is NaN; offsets are those in the samples log."""
    rows = [label(9, 0.0), event(0, 2.0, NAN, 1.0), label(0, 1.0), event(1, -2.0, 0.5, 0.0)]
    predictions, observations = answered(codec, samples(*rows), server())
    (observed,) = observations
    frame = {name: list(column) for name, column in decode_frame(observed.pop("frame")).items()}
    scores = [one["scores"] for one in predictions]

    assert observed == {
        "model": "tiny", "partition": 3, "from_offset": 99, "until_offset": 107, "epoch": 7, "rows": 4,
        "recorded_at_ms": NOW_MS, "champion_version": 4, "rollout_id": None, "variants": [],
    }  # fmt: skip
    assert repr(frame) == repr({
        "offset": list(np.array([100, 102, 104, 106])),
        "is_label": list(np.array([True, False, True, False])),
        "event_id": ["e9", "e0", "e0", "e1"],
        "time_ms": list(np.array([EPOCH_MS + 50, EPOCH_MS, EPOCH_MS + 50, EPOCH_MS + 1])),
        "version": list(np.array([0, 4, 0, 4], dtype=np.int32)),
        "value": list(np.array([NAN, 1.0, NAN, 0.0])),
        "label": list(np.array([0.0, NAN, 1.0, NAN])),
        "score_0": list(np.array([NAN, scores[0][0], NAN, scores[1][0]])),
        "score_1": list(np.array([NAN, scores[0][1], NAN, scores[1][1]])),
        "x": list(np.array([NAN, 2.0, NAN, -2.0])),
        "x_change": list(np.array([NAN, NAN, NAN, 0.5])),
        "last": list(np.array([NAN, 1.0, NAN, 0.0])),
    })  # fmt: skip


@pytest.mark.parametrize("regression", [False, True])
async def test_labels_alone_are_observed(codec, regression):
    """No prediction, and a frame with the columns of all others."""
    predictions, (observed,) = answered(codec, samples(label(0, 1.0), label(1, 0.0)), server(regression=regression))
    _, (full,) = answered(codec, samples(event(0, 1.0, 1.0, 1.0)), server(regression=regression))
    frame = decode_frame(observed["frame"])

    assert [] == predictions
    assert (["e0", "e1"], [1.0, 0.0]) == (frame["event_id"], list(frame["label"]))
    assert list(decode_frame(full["frame"])) == list(frame)


async def test_a_large_batch_is_observed_in_several_frames(codec):
    """Each fits into a record; they follow one another without a gap, and together they are the batch."""
    rows = [label(n, 1.0) if n % 3 == 0 else event(n, n / 7, NAN, 0.0) for n in range(3000)]
    rows = [{**row, "event_id": f"{n:0700}"} for n, row in enumerate(rows)]
    predictions, observations = answered(codec, samples(*rows), server())
    frames = [decode_frame(one["frame"]) for one in observations]
    joined = {name: list(itertools.chain(*(frame[name] for frame in frames))) for name in frames[0]}

    assert len(frames) > 2
    assert max(len(one["frame"]) for one in observations) <= FRAME_BYTES
    assert [one["rows"] for one in observations] == [len(frame["offset"]) for frame in frames]
    assert [99, *(one["until_offset"] for one in observations[:-1])] == [one["from_offset"] for one in observations]
    assert [int(frame["offset"][-1]) + 1 for frame in frames] == [one["until_offset"] for one in observations]
    assert [row["event_id"] for row in rows] == joined["event_id"]
    assert exact([row["features"][0] if row["features"] else NAN for row in rows]) == exact(
        [float(cell) for cell in joined["x"]]
    )
    assert [row["event_id"] for row in rows if row["kind"] == "EVENT"] == [one["event_id"] for one in predictions]


async def test_waiting_is_never_negative(codec):
    """Clocks of two machines differ; an event from the future has waited for nothing."""
    batch = samples(event(0, 1.0, 1.0, 1.0), label(0, 1.0), event(1, 1.0, 1.0, 1.0, source_time_ms=NOW_MS + 5))
    found = answer(batch, server(), WHERE, codec, from_offset=0, now_ms=NOW_MS)

    assert [10_000, 0] == found.waited_ms.tolist()


async def test_a_model_that_numbers_its_classes_otherwise_stops_nothing(codec):
    """Classes 1 and 2 instead of 0 and 1: refused when it is loaded, or answered somehow; no error at each batch."""
    rows = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    trained = LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, 2, 1))
    with warnings.catch_warnings(action="ignore"):  # as in onnx_models
        content = to_onnx(trained, rows[:1], options={"zipmap": False}, target_opset={"": 17, "ai.onnx.ml": 3})
    with contextlib.suppress(ArtifactError):
        model = Model(content.SerializeToString(), width=3, classes=2)
        by = dataclasses.replace(server(), model=model)
        assert 1 == len(answered(codec, samples(event(0, 2.0, 0.0, 0.0)), by)[0])


def test_rows_that_cannot_be_scored_are_named():
    """By feature set and by number of features; a label is neither."""
    batch = samples(
        label(0, 1.0), event(1, 1.0, feature_set="old"), event(2, 1.0, 2.0, 3.0), event(3, 1.0, 2.0), event(4)
    )

    assert [1] == batch.foreign("ours")
    assert [1, 3, 4] == batch.misshapen(3)


def test_a_part_of_the_samples_is_those_rows():
    """Columns and offsets go together."""
    batch = samples(event(0, 1.0, 2.0, 3.0), label(0, 1.0), event(1, 4.0, 5.0, 6.0), event(2, 7.0, 8.0, 9.0))

    assert [102, 106] == batch.take([1, 3]).offsets.tolist()
    assert [[7.0, 8.0, 9.0]] == batch.take([1, 3]).features(3).tolist()
    assert [100, 104, 106] == batch.events().offsets.tolist()
    assert [[4.0, 5.0, 6.0], [7.0, 8.0, 9.0]] == batch.events().features(3)[1:].tolist()
    assert 0 == len(batch.take([]))


def test_a_frame_of_events_only_is_not_copied_about():
    """The usual micro-batch has no label: the columns are the arrays that were scored."""
    batch = samples(event(0, 1.0, 2.0, 3.0), event(1, 4.0, 5.0, 6.0))
    scored = Scores(np.array([0.0, 1.0]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    columns = observed_columns(batch, batch.features(3), Answers(scored, 4), server())

    assert columns["value"] is scored.values
    assert [4, 4] == columns["version"].tolist()
