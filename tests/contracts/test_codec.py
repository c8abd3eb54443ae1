"""The wire format: what is written, what is read, and that nothing but a contract error comes out of bad bytes."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.contracts import schemas
from millrace.contracts.codec import HEADER_BYTES, Codec, schema_id_of
from millrace.contracts.errors import (
    ContractError,
    RegistryUnavailableError,
    UndecodableError,
    UnknownSchemaError,
)
from millrace.contracts.events import (
    AlertRaised,
    DataSnapshotTaken,
    Event,
    FeatureProfile,
    LabelObserved,
    OffsetRange,
    PredictionMade,
    SampleRecorded,
    TrainingRunChanged,
)
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import JsonSchema, Level, Schema

T = TypeVar("T")

SAMPLE = SampleRecorded(
    kind="EVENT",
    event_id="nsw-17",
    entity="NSW",
    time_ms=831427200000,
    feature_set="3f9a",
    features=(0.5, 0.25),
    event=b"\x00\x00\x00\x00\x01x",
    label=None,
    source_topic="electricity-events",
    source_partition=0,
    source_offset=17,
    source_time_ms=831427200005,
)
PREDICTION = PredictionMade(
    prediction_id="electricity/electricity-samples/0/17",
    event_id="nsw-17",
    entity="NSW",
    model="electricity",
    version=1,
    variant="champion",
    epoch=1,
    value=1.0,
    label="up",
    scores=(0.2, 0.8),
    event_time_ms=831427200000,
    predicted_at_ms=831427200009,
    sample_partition=0,
    sample_offset=17,
)
SNAPSHOT = DataSnapshotTaken(
    snapshot_id="electricity/0/5000",
    stream="electricity",
    feature_set="3f9a",
    ranges=(OffsetRange(topic="electricity-samples", partition=0, from_offset=0, until_offset=9),),
    table_version=None,
    rows=9,
    labelled_rows=8,
    from_time_ms=1,
    until_time_ms=2,
    profile=(FeatureProfile(name="price", mean=0.1, std=0.1, min=0.0, max=1.0, missing_share=0.0),),
    taken_at_ms=3,
)
GOOD: tuple[Event, ...] = (SAMPLE, PREDICTION, SNAPSHOT)
EVENT = {
    "type": "record",
    "name": "Bid",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "price", "type": "double"},
        {"name": "count", "type": "int", "default": 0},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}
BID = {"id": "a", "price": 0.5, "count": 3, "at": 831427200000}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Drive a coroutine that never waits, without a loop: hypothesis examples are plain functions."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    raise AssertionError("it waited")


def prepared() -> Codec:
    """A codec that writes each event to a topic named like its schema, and bids to ``bids``."""
    codec = Codec(LocalSchemas())
    for name in schemas.names():
        run(codec.prepare_topic(name, schemas.load(name)))
    run(codec.prepare_topic("bids", EVENT))
    return codec


CODEC = prepared()
ENCODED = [CODEC.encode(event.schema_name, event) for event in GOOD]
BID_BYTES = CODEC.encode_record("bids", BID)


def test_wire_format() -> None:
    """Zero, four bytes of id, the body."""
    schema_id = schema_id_of(BID_BYTES)

    assert BID_BYTES.startswith(b"\x00" + schema_id.to_bytes(4, "big") + b"\x02a")
    assert schema_id == len(schemas.names()) + 1, "registered after all of these"


@pytest.mark.parametrize("event", GOOD)
def test_round_trip(event: Event) -> None:
    """Tuples, inner records, bytes and nulls come back as they were."""
    data = CODEC.encode(event.schema_name, event)

    assert event == run(CODEC.decode(type(event), data))
    assert event.model_dump(mode="json") == type(event).model_validate(run(CODEC.decode_record(data))).model_dump(
        mode="json"
    )


def test_missing_features_are_nan() -> None:
    """NaN survives the wire; it is how a missing feature is written."""
    data = CODEC.encode("sample-recorded", SAMPLE.model_copy(update={"features": (float("nan"), 1.0)}))
    features = run(CODEC.decode(SampleRecorded, data)).features

    assert str(features) == "(nan, 1.0)"


def test_default_maps_are_written() -> None:
    """A run that just began has no metrics: an empty map, each event its own."""
    fields = dict.fromkeys(("seed", "train_rows", "holdout_rows", "duration_s", "changed_at_ms"), 0)
    texts = dict.fromkeys(("run_id", "model", "caused_by", "feature_set", "code_hash"), "x")
    run_started = TrainingRunChanged(status="STARTED", trigger="DRIFT", ranges=(), **fields, **texts)
    other = TrainingRunChanged(status="STARTED", trigger="DRIFT", ranges=(), **fields, **texts)

    assert run_started == run(CODEC.decode(TrainingRunChanged, CODEC.encode("training-run-changed", run_started)))
    assert run_started.metrics is not other.metrics


def test_fast_records_equal_dumped_ones() -> None:
    """``to_record`` takes a short cut for flat events; it must not be seen."""
    for event in GOOD:
        assert event.model_dump() == event.to_record()

    SAMPLE.to_record()["entity"] = "changed"
    assert SAMPLE.entity == "NSW"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b'{"id": "a"}', "begins with byte 0x7b"),
        (b"\x00", "only 1 bytes"),
        (b"\x00\x00\x00\x00", "only 4 bytes"),
        (BID_BYTES[:HEADER_BYTES], "not a Bid"),
        (BID_BYTES[:-1], "not a Bid"),
        (BID_BYTES + b"\x00", "1 bytes follow the Bid"),
        (BID_BYTES[:HEADER_BYTES] + b"\x02\xff" + BID_BYTES[HEADER_BYTES + 2 :], "UnicodeDecodeError"),
        (BID_BYTES[:HEADER_BYTES] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "EOFError"),
    ],
)
def test_undecodable(data: bytes | None, words: str) -> None:
    """Each kind of damage is told apart, and the first bytes are shown."""
    with pytest.raises(UndecodableError, match=words):
        run(CODEC.decode_record(data))


def test_another_event_is_undecodable() -> None:
    """A well-formed record of another schema is not taken for one of ours."""
    with pytest.raises(UndecodableError, match="AlertRaised"):
        run(CODEC.decode(AlertRaised, ENCODED[0]))


def test_unknown_schema() -> None:
    """An id that the registry does not know is the record's fault."""
    with pytest.raises(UnknownSchemaError, match="99"):
        run(CODEC.decode_record(b"\x00\x00\x00\x00\x63" + b"\x02a"))


class OneSchema:
    """A source that knows one schema, or is down; counts the questions."""

    def __init__(self, schema: JsonSchema | None) -> None:
        self.schema = schema
        self.asked = 0

    async def register(self, subject: str, schema: JsonSchema) -> int:
        """Never needed here."""
        raise NotImplementedError

    async def schema_by_id(self, schema_id: int) -> JsonSchema:
        """The one schema whatever the id."""
        self.asked += 1
        if self.schema is None:
            raise RegistryUnavailableError("down")
        return self.schema

    async def set_compatibility(self, subject: str, level: Level) -> None:
        """Never needed here."""
        raise NotImplementedError


def test_a_silent_registry_is_nobodys_fault() -> None:
    """It passes through as retryable, and the same call succeeds later."""
    source = OneSchema(None)
    codec = Codec(source)
    with pytest.raises(RegistryUnavailableError):
        run(codec.decode_record(BID_BYTES))
    source.schema = EVENT

    assert run(codec.decode_record(BID_BYTES)) == BID


def test_an_id_is_asked_for_once() -> None:
    """Ids never change their meaning, so the second record waits for nothing."""
    source = OneSchema(EVENT)
    codec = Codec(source)
    for _ in range(3):
        run(codec.decode_record(BID_BYTES))

    assert source.asked == 1


@pytest.mark.parametrize("schema", [{"type": "string"}, {"type": "protobuf"}, {"syntax": "proto3"}])
def test_a_schema_that_is_no_event_is_the_records_fault(schema: JsonSchema) -> None:
    """Somebody wrote JSON or Protobuf to the topic, or a bare string."""
    with pytest.raises(UndecodableError, match="is no event's"):
        run(Codec(OneSchema(schema)).decode_record(BID_BYTES))


def test_old_records_are_read_as_the_newest_schema() -> None:
    """A field added later gets its default; one dropped later is left out; an int widens."""
    fields = [
        {"name": "id", "type": "string"},
        {"name": "count", "type": "double"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ]
    newer = Schema.of({"type": "record", "name": "Bid", "fields": fields})

    assert run(CODEC.decode_record(BID_BYTES, newer)) == {"id": "a", "count": 3.0, "note": None}


def test_upstream_may_write_a_narrower_label() -> None:
    """A label producer that only knows numbers need not know our union."""
    raw = schemas.load("label-observed")
    raw["fields"][1]["type"] = "int"
    codec = Codec(LocalSchemas())
    run(codec.prepare_topic("labels", raw))
    data = codec.encode_record("labels", {"event_id": "a", "label": 1, "label_time_ms": 5})

    assert run(codec.decode(LabelObserved, data)) == LabelObserved(event_id="a", label=1.0, label_time_ms=5)


def test_encode_refuses_the_wrong_event() -> None:
    """A mistake in our own code, found before it is on the log."""
    with pytest.raises(TypeError, match="prediction-made takes PredictionMade, not SampleRecorded"):
        CODEC.encode("prediction-made", SAMPLE)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"price": "high"}, "price"),
        ({"count": 0.5}, "count"),
        ({"count": 2**31}, "count"),
        ({"at": 2**63}, "at"),
        ({"id": None}, "id"),
        ({"colour": "red"}, "colour"),
        ({"id": "\ud800"}, "surrogates"),
    ],
)
def test_encode_record_refuses_what_would_be_lost(change: dict[str, Any], word: str) -> None:
    """A fraction is not cut off, a number does not overflow, an unknown column is not forgotten; the field is named."""
    with pytest.raises(ContractError, match=word) as caught:
        CODEC.encode_record("bids", BID | change)

    assert caught.value.reason == "unencodable"


def test_encode_record_fills_defaults() -> None:
    """A column that the file lacks gets the schema's default; one without a default is missed."""
    data = CODEC.encode_record("bids", {key: BID[key] for key in ("id", "price", "at")})

    assert run(CODEC.decode_record(data)) == BID | {"count": 0}
    with pytest.raises(ContractError, match="price"):
        CODEC.encode_record("bids", {key: BID[key] for key in ("id", "at")})


async def test_many_readers_share_one_codec() -> None:
    """Lanes decode at the same time before anything is cached."""
    codec = Codec(OneSchema(EVENT))
    records = await asyncio.gather(*(codec.decode_record(BID_BYTES) for _ in range(20)))

    assert records == [BID] * 20


def never_raises_anything_else(data: bytes) -> None:
    """Decode as the record was written and as each class; only contract errors are let through."""
    for event in GOOD:
        with suppress(ContractError):
            assert isinstance(run(CODEC.decode(type(event), data)), type(event))
    with suppress(ContractError):
        assert isinstance(run(CODEC.decode_record(data)), dict)


@given(st.binary(max_size=200))
@example(b"\x00\x00\x00\x00\x01" + b"\xff" * 40)
def test_random_bytes(data: bytes) -> None:
    """Whatever the bytes, only contract errors come out."""
    never_raises_anything_else(data)


@given(st.integers(1, 15), st.binary(max_size=200))
@example(9, b"\x00" * 5 + b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_random_bodies(schema_id: int, body: bytes) -> None:
    """The same with a header that is right."""
    never_raises_anything_else(b"\x00" + schema_id.to_bytes(4, "big") + body)


@given(st.sampled_from(ENCODED), st.integers(0, 400))
def test_truncated_records_are_refused(data: bytes, length: int) -> None:
    """Avro has no redundancy, yet a record that ends early is never taken for a whole one."""
    cut = data[: length % len(data)]
    never_raises_anything_else(cut)

    with pytest.raises(ContractError):
        run(CODEC.decode_record(cut))


@given(st.sampled_from(ENCODED), st.lists(st.tuples(st.integers(5, 400), st.integers(0, 255)), min_size=1, max_size=4))
def test_mutated_records(data: bytes, changes: list[tuple[int, int]]) -> None:
    """A few bytes of a good record are changed; it may still be a record, or a contract error."""
    damaged = bytearray(data)
    for at, value in changes:
        damaged[HEADER_BYTES + at % (len(data) - HEADER_BYTES)] = value
    never_raises_anything_else(bytes(damaged))


@given(st.sampled_from(ENCODED), st.binary(min_size=1, max_size=8))
def test_trailing_bytes_are_refused(data: bytes, tail: bytes) -> None:
    """Fastavro stops reading at the end of the record and would not mind."""
    with pytest.raises(UndecodableError, match="bytes follow"):
        run(CODEC.decode_record(data + tail))


FINITE = st.floats(allow_nan=False)
MS = st.integers(-(2**63), 2**63 - 1)


@given(
    entity=st.text(),
    features=st.lists(FINITE),
    event=st.none() | st.binary(),
    label=st.none() | FINITE,
    time_ms=MS,
    kind=st.sampled_from(["EVENT", "LABEL"]),
)
def test_any_sample_survives(**fields: Any) -> None:
    """Every value that a sample can hold comes back the same."""
    sample = SampleRecorded.model_validate(SAMPLE.model_dump() | fields)

    assert sample == run(CODEC.decode(SampleRecorded, CODEC.encode("sample-recorded", sample)))
