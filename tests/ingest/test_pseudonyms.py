"""Pseudonyms at the door: the same by row and by column, and nothing personal in what is said about a record."""

import hashlib
import hmac
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.bus.deadletter import dead_letter
from millrace.bus.types import Record
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ContractError
from millrace.contracts.personal import Personal
from millrace.contracts.schemas import Schema
from millrace.stores.subject_keys import CHECK_EVERY_MS, SubjectKeys
from millrace.telemetry.log import get_logger
from services.ingest.admit import LONGEST_ID, check_expectations, check_size, identify
from services.ingest.pseudonyms import DIGITS, Pseudonyms, pseudonym, redact, safe_message
from tests.support import EPOCH_MS, EVENT, World, tiny_project

PERSONAL = Personal("who", ("city", "mail"))
SCHEMA = {
    **EVENT,
    "fields": [
        *[{**one, **({"personal": "subject"} if one["name"] == "who" else {})} for one in EVENT["fields"]],
        {"name": "mail", "type": "string", "personal": True},
        {"name": "city", "type": ["null", "string"], "personal": True},
    ],
}
ADA: dict[str, Any] = {
    "id": "e1", "who": "Ada Lovelace", "at": EPOCH_MS, "x": 1.0, "mail": "ada@example.org", "city": None,
}  # fmt: skip


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SubjectKeys]:
    """A key store on file."""
    store = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", b"p" * 32, "tiny")
    yield store
    store.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SubjectKeys]:
    """One for all examples of a property."""
    store = SubjectKeys(f"sqlite:///{tmp_path_factory.mktemp('keys') / 'keys.db'}", b"p" * 32, "tiny")
    yield store
    store.close()


def columns_of(rows: list[dict[str, Any]]) -> Any:
    """Decoded events as lanes have them."""
    columnar = Codec.columnar_of(Codec(None), Schema.of(SCHEMA))  # type: ignore[arg-type]  # asks nobody
    assert columnar is not None
    return columnar.batch({name: [row[name] for row in rows] for name in ADA})


def test_a_pseudonym_is_what_its_rule_says() -> None:
    """HMAC-SHA256 of field, NUL and value under the person's key, cut to 32 digits."""
    expected = hmac.new(b"k" * 32, b"mail\x00ada@example.org", hashlib.sha256).hexdigest()[:32]

    assert expected == pseudonym(b"k" * 32, "mail", "ada@example.org")
    assert expected != pseudonym(b"k" * 32, "who", "ada@example.org")
    assert expected != pseudonym(b"l" * 32, "mail", "ada@example.org")
    assert DIGITS == len(expected)


def test_only_personal_fields_change(keys: SubjectKeys) -> None:
    """What is missing stays missing; the same person is the same pseudonym again."""
    door = Pseudonyms(PERSONAL, keys)
    key = keys.keys_for(["Ada Lovelace"], 0)["Ada Lovelace"]

    hidden = door.record(ADA, 0)

    expected = {"who": pseudonym(key, "who", "Ada Lovelace"), "mail": pseudonym(key, "mail", "ada@example.org")}
    assert {**ADA, **expected} == hidden
    assert hidden == Pseudonyms(PERSONAL, keys).record(ADA, 0)


NAMES = st.sampled_from(["Ada", "Bob", "Åsa", "名", "a\x00b", " "])
ROWS = st.lists(
    st.builds(
        lambda who, mail, city, x: {**ADA, "who": who, "mail": mail, "city": city, "x": x},
        NAMES, st.sampled_from(["", "a@x"]) | st.text(max_size=3), st.none() | NAMES, st.none() | st.floats(-1, 1),
    ),
    max_size=30,
)  # fmt: skip


@given(rows=ROWS, cached_max=st.sampled_from([0, 3, 1000]))
@settings(max_examples=60, deadline=None)
def test_columns_say_what_rows_say(shared: SubjectKeys, rows: list[dict[str, Any]], cached_max: int) -> None:
    """For any persons and values, whatever is remembered, twice over."""
    door = Pseudonyms(PERSONAL, shared, cached_max=cached_max)
    batch = columns_of(rows)

    expected = [door.record(row, 0) for row in rows]

    assert expected == door.columns(batch, 0).to_pylist() == door.columns(batch, 0).to_pylist()
    assert batch.schema == door.columns(batch, 0).schema


@pytest.mark.parametrize("subject", [None, ""])
def test_an_event_about_nobody_is_refused(keys: SubjectKeys, subject: str | None) -> None:
    """There is no key for nobody, and the other fields must not stay in the clear."""
    with pytest.raises(ContractError, match="'who' is missing") as caught:
        Pseudonyms(PERSONAL, keys).record({**ADA, "who": subject}, 0)

    assert "missing-field" == caught.value.reason


def test_skipped_rows_are_empty_and_make_no_keys(keys: SubjectKeys) -> None:
    """Neither a suspect nor an unnamed row shows anything; the others are as ever."""
    door = Pseudonyms(PERSONAL, keys)
    rows = [{**ADA, "city": "Ulm"}, {**ADA, "who": "Bob", "city": "Ulm"}, {**ADA, "who": "", "city": "Ulm"}]

    found = door.columns(columns_of(rows), 0, skip=[1]).to_pylist()

    assert door.record(rows[0], 0) == found[0]
    assert [("", "", None)] * 2 == [(row["who"], row["mail"], row["city"]) for row in found[1:]]
    assert [] == keys.lives("Bob") == keys.lives("")


def test_after_an_erasure_nothing_links_and_nothing_is_remembered(tmp_path: Path, keys: SubjectKeys) -> None:
    """Another process has destroyed the key: a batch soon after has new pseudonyms, and the old ones are forgotten."""
    door = Pseudonyms(PERSONAL, keys)
    batch = columns_of([ADA])
    (before,) = door.columns(batch, 0).to_pylist()
    other = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", b"p" * 32, "tiny")

    other.destroy("Ada Lovelace", 1, 1)
    (after,) = door.columns(batch, CHECK_EVERY_MS).to_pylist()

    assert not {before["who"], before["mail"]} & {after["who"], after["mail"]}
    assert [after["who"]] == list(door._made["who"].values())
    other.close()


async def test_events_are_written_again_with_the_same_schema(tmp_path: Path, keys: SubjectKeys) -> None:
    """By the column and one by one the bytes are the same, readable with the event's schema, of the same schema id."""
    world = await private_world(tmp_path)
    codec, topic, door = Codec(world.schemas), "tiny-events", Pseudonyms(PERSONAL, keys)
    await codec.prepare(world.project, topics.EVENTS)
    rows = [ADA, {**ADA, "city": "Ulm", "x": None}]
    values = [codec.encode_record(topic, row) for row in rows]
    columnar = await codec.columnar(values, Schema.of(SCHEMA))
    assert columnar is not None

    written = codec.encode_columns(topic, door.columns(columnar.decode(values), 0))

    assert [codec.encode_record(topic, door.record(row, 0)) for row in rows] == written
    assert [door.record(row, 0) for row in rows] == [await codec.decode_record(value) for value in written]
    assert {value[:5] for value in values} == {value[:5] for value in written}


async def private_world(folder: Path) -> World:
    """A memory log whose stream has personal fields."""
    project = tiny_project(folder / "project")
    (folder / "project" / "event.avsc").write_text(json.dumps(SCHEMA))
    return await World.create(project.model_copy(update={"event_schema": SCHEMA}))


def test_values_are_redacted_for_people() -> None:
    """Personal ones are hidden; that one is missing may be seen."""
    hidden = redact(ADA, PERSONAL)

    assert {**ADA, "who": "(personal)", "mail": "(personal)"} == hidden
    assert ADA == redact(ADA, None)


@pytest.mark.parametrize(
    ("message", "values", "said"),
    [
        ("field 'mail' is 'ada@example.org'", ADA, "field 'mail' is '(personal)'"),
        ("field 'city' is \"O'Hara\\n\"", {**ADA, "city": "O'Hara\n"}, "field 'city' is \"(personal)\""),
        ("field 'city' is 'x', a value", {**ADA, "city": "x"}, "field 'city' is '(personal)', a value"),
        ("field 'at' is 5", {**ADA, "city": "a"}, "field 'at' is 5"),
        ("nothing was read", None, "nothing was read"),
    ],
)
def test_messages_lose_personal_values(message: str, values: Mapping[str, Any] | None, said: str) -> None:
    """Also where they were quoted, and a short one only where it stands alone."""
    assert said == safe_message(ContractError("unknown-category", message), PERSONAL, values)
    assert message == safe_message(ContractError("unknown-category", message), None, values)


SECRETS = ("Ada Lovelace", "Lovelace", "ada@example.org", "example.org", "Ulm", "Ada")
BAD: dict[str, dict[str, Any]] = {
    "bad-time": {"at": EPOCH_MS * 1_000_000},
    "out-of-range": {"x": 11.0},
    "missing-field": {"x": None},
    "missing id": {"id": ""},
    "bad-id": {"who": "Ada Lovelace" * LONGEST_ID},
    "too-large": {"mail": "ada@example.org" * 100},
    "nobody": {"who": ""},
}


async def refusals(world: World) -> list[tuple[Record, str, str]]:
    """Each kind of record that ingest refuses, with reason and message as a lane is to make them."""
    codec, topic = Codec(world.schemas), "tiny-events"
    await codec.prepare(world.project, topics.EVENTS)
    good = codec.encode_record(topic, {**ADA, "city": "Ulm"})
    values = [codec.encode_record(topic, {**ADA, "city": "Ulm", **change}) for change in BAD.values()]
    text = good.index(b"Ada Lovelace")
    values += [
        b"Ada Lovelace, ada@example.org",  # no Avro at all
        good[:-2],  # cut short
        good + b"Ulm",  # something follows
        good[: text + 4] + b"\xff" + good[text + 5 :],  # no UTF-8: the decoder's error quotes the bytes
        b"\0\0\0\0\x63" + good[5:],  # a schema that nobody knows
    ]
    found = []
    for offset, value in enumerate(values):
        record = Record("tiny-events", 0, offset, EPOCH_MS, b"Ada Lovelace", value)
        decoded: dict[str, Any] | None = None
        try:
            decoded = await codec.decode_record(value, Schema.of(world.project.event_schema))
            identify(world.project, decoded)
            check_size(len(value), 1_000)
            check_expectations(world.project, decoded)
        except ContractError as error:
            found.append((record, error.reason, safe_message(error, PERSONAL, decoded)))
    try:
        world.project.label.to_number("Ada Lovelace")
    except ValueError as error:
        bad_label = ContractError("bad-label", str(error))
        record = Record("tiny-labels", 0, 0, EPOCH_MS, b"Ada Lovelace", b"")
        found.append((record, "bad-label", safe_message(bad_label, PERSONAL)))
    assert len(values) + 1 == len(found)
    return found


async def test_no_refusal_says_anything_personal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a log line nor in a header that ingest adds; the original key and value stay, to be replayed."""
    world = await private_world(tmp_path)
    said: list[str] = []

    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        for record, reason, message in await refusals(world):
            get_logger("test").warning("dead letters", reason=reason, message=message)
            letter = dead_letter(
                "tiny-dead-letters", record, stage="TRANSFORMATION", reason=reason, message=message, error_class="E"
            )
            said += [content.decode() for _, content in letter.headers]
            assert (record.key, record.value) == (letter.key, letter.value)

    said += [json.dumps(line, default=str) for line in lines] + [caplog.text]
    reasons = {str(line["reason"]) for line in lines}
    expected = {"bad-time", "out-of-range", "missing-field", "bad-id", "too-large", "undecodable", "unknown-schema"}
    assert expected | {"bad-label"} == reasons
    assert [] == [(secret, one) for one in said for secret in SECRETS if secret in one]


async def test_the_same_refusals_would_have_said_it(tmp_path: Path) -> None:
    """Without the helper they do: the test above looks at messages that hold something to be hidden."""
    world = await private_world(tmp_path)
    codec = Codec(world.schemas)

    with pytest.raises(ContractError, match="Ada Lovelace"):
        await codec.decode_record(b"Ada Lovelace, ada@example.org", Schema.of(SCHEMA))


def test_a_store_that_fails_names_nobody(tmp_path: Path) -> None:
    """The error that stops ingest meanwhile is logged, too."""
    (tmp_path / "keys.db").mkdir()
    store = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", b"p" * 32, "tiny")

    with pytest.raises(Exception, match=r"keys\.db cannot be opened") as caught:
        Pseudonyms(PERSONAL, store).columns(columns_of([ADA]), 0)

    assert [] == [secret for secret in SECRETS if secret in str(caught.value)]
    assert pa.utf8() == columns_of([ADA]).schema.field("who").type
