"""What is written to the samples log, field by field, as an independent reader sees it."""

import math

import numpy as np
import pytest

from millrace.bus.types import Record
from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import newest
from services.ingest.core import EventArrived, Joined, LabelArrived
from services.ingest.samples import Run
from tests.contracts.avro_rows import exact, read
from tests.support import EPOCH_MS

SAMPLES = "tiny-samples"
EVENT = b"\0\0\0\0\x01\xff\xfe raw bytes"


def record(topic: str, offset: int, value: bytes = b"") -> Record:
    """A record as it was received."""
    return Record(topic, 3, offset, EPOCH_MS + 1000 + offset, b"key", value, ())


def arrived(number: int, *values: float, entity: str = "w") -> EventArrived:
    """An event from offset ``number``."""
    origin = record("tiny-events", number, EVENT + bytes([number]))
    return EventArrived(origin, 0.0, f"e{number}", entity, EPOCH_MS + number, np.array([values], dtype=np.float64), 0)


def joined(number: int, label: float, entity: str = "w") -> Joined:
    """The label of that event, from offset ``number`` of its own topic."""
    return Joined(LabelArrived(record("tiny-labels", number), 0.0, f"e{number}", EPOCH_MS + 50 + number, label), entity)


@pytest.fixture
async def codec() -> Codec:
    """A codec that writes samples."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic(SAMPLES, schemas.load("sample-recorded"))
    return codec


def written(codec: Codec, run: Run, features: list[list[float]], width: int) -> list[object]:
    """The run's samples as fastavro reads them, for comparison bit by bit."""
    columns = run.columns(np.array(features, dtype=np.float64).reshape(-1, width), "set-1")
    encoded = codec.encode_columns(SAMPLES, codec.batch(SAMPLES, columns))
    return [exact(read(newest("sample-recorded"), value)) for value in encoded]


def event_sample(number: int, features: list[float], entity: str = "w", flags: str | None = None) -> object:
    """What is to be read for an event."""
    return exact({
        "kind": "EVENT", "event_id": f"e{number}", "entity": entity, "time_ms": EPOCH_MS + number,
        "feature_set": "set-1", "features": features, "event": EVENT + bytes([number]), "label": None,
        "source_topic": "tiny-events", "source_partition": 3, "source_offset": number,
        "source_time_ms": EPOCH_MS + 1000 + number, "flags": flags,
    })  # fmt: skip


def label_sample(number: int, label: float, entity: str = "w") -> object:
    """What is to be read for a label."""
    return exact({
        "kind": "LABEL", "event_id": f"e{number}", "entity": entity, "time_ms": EPOCH_MS + 50 + number,
        "feature_set": "", "features": [], "event": None, "label": label,
        "source_topic": "tiny-labels", "source_partition": 3, "source_offset": number,
        "source_time_ms": EPOCH_MS + 1000 + number, "flags": None,
    })  # fmt: skip


async def test_events_and_labels_stand_in_their_order(codec):
    """Each with its own fields; the features of the events stand with the events."""
    run = Run([joined(0, 1.0), arrived(1), arrived(2, entity="ü"), joined(1, 0.0), arrived(3), joined(2, -0.0, "ü")])
    features = [[1.0, math.nan], [2.0, -0.0], [3.0, math.inf]]

    assert written(codec, run, features, 2) == [
        label_sample(0, 1.0),
        event_sample(1, features[0]),
        event_sample(2, features[1], "ü"),
        label_sample(1, 0.0),
        event_sample(3, features[2]),
        label_sample(2, -0.0, "ü"),
    ]


@pytest.mark.parametrize("width", [1, 600])
async def test_a_run_of_events_only(codec, width):
    """Few features or many."""
    features = [[number / 3 + column for column in range(width)] for number in range(7)]
    run = Run([arrived(number) for number in range(7)])

    assert written(codec, run, features, width) == [event_sample(n, row) for n, row in enumerate(features)]


async def test_a_run_of_labels_only(codec):
    """No event, so no features."""
    run = Run([joined(0, 1.0), joined(1, 0.25)])

    assert written(codec, run, [], 2) == [label_sample(0, 1.0), label_sample(1, 0.25)]


def test_rows_are_what_features_need():
    """Values of the events, labels of the labels, times and entities of all."""
    rows = Run([arrived(1, 1.0, math.nan), joined(0, 1.0, "v"), arrived(2, 3.0, 4.0)]).rows(2)

    assert [False, True, False] == rows.is_label.tolist()
    assert ["w", "v", "w"] == list(rows.entity)
    assert [EPOCH_MS + 1, EPOCH_MS + 50, EPOCH_MS + 2] == rows.time_ms.tolist()
    assert exact([[1.0, math.nan], [3.0, 4.0]]) == exact(rows.values.tolist())
    assert [1.0] == rows.labels.tolist()


@pytest.mark.parametrize("width", [0, 2])
def test_rows_have_the_shape_that_was_asked_for(width):
    """Also without events, and for a project whose features look at labels only."""
    assert (0, width) == Run([joined(0, 1.0)]).rows(width).values.shape
    assert (2, width) == Run([arrived(n, *[0.0] * width) for n in range(2)]).rows(width).values.shape


def test_arrivals_stand_for_the_records_that_they_came_from():
    """Labels too: traces go on from there."""
    run = Run([arrived(1), joined(0, 1.0)])

    assert [("tiny-events", 1), ("tiny-labels", 0)] == [(one.origin.topic, one.origin.offset) for one in run.arrivals]


def test_rows_of_events_that_were_read_together_are_found():
    """Each by its own row, though some of them were refused, and others stand in between."""
    first, second = np.arange(8.0).reshape(4, 2), np.arange(100.0, 106.0).reshape(3, 2)
    places = [(first, 0), (first, 3), (second, 1), (first, 1), (second, 0), (second, 2)]
    events = [arrived(n)._replace(values=block, row=row) for n, (block, row) in enumerate(places)]
    rows = Run([*events[:2], joined(0, 1.0), *events[2:]]).rows(2)

    assert [block[row].tolist() for block, row in places] == rows.values.tolist()


async def test_flags_and_what_is_recorded_in_the_place_of_the_event(codec):
    """A sample names the expectations that its event breaks, and holds what hides a person."""
    flagged = arrived(1)._replace(flags=("jump:x", "late-event"))
    hidden = arrived(1)._replace(recorded=EVENT + bytes([1]), origin=record("tiny-events", 1, b"clear"))
    run = Run([flagged, joined(1, 0.0), hidden])

    assert written(codec, run, [[1.0], [2.0]], 1) == [
        event_sample(1, [1.0], flags="jump:x,late-event"),
        label_sample(1, 0.0),
        event_sample(1, [2.0]),
    ]
    assert {"jump:x": 1, "late-event": 1} == run.flags
