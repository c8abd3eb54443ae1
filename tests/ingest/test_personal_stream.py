"""A stream with personal fields through the whole of ingest: what is written, what is said, and after an erasure."""

import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from millrace.bus.deadletter import own_headers, why
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import ProjectError
from millrace.contracts.events import FieldExpectation
from millrace.contracts.project import load_project
from millrace.stores.subject_keys import CHECK_EVERY_MS, SubjectKeys
from services.ingest.pseudonyms import pseudonym
from services.ingest.shell import IngestService
from tests.ingest.test_expected import deploy, learned, say
from tests.ingest.test_pseudonyms import ADA, BAD, SCHEMA, SECRETS
from tests.support import EPOCH_MS, MINUTE_MS, World, running, tiny_project, until

NAME = "Ada Lovelace"


@pytest.fixture
def keys(tmp_path: Path) -> Iterator[SubjectKeys]:
    """The key store that ingest is given."""
    store = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", b"p" * 32, "tiny")
    yield store
    store.close()


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """The tiny project with persons in it."""
    tiny_project(tmp_path / "project")
    (tmp_path / "project" / "event.avsc").write_text(json.dumps(SCHEMA))
    return await World.create(load_project(tmp_path / "project"))


@contextlib.asynccontextmanager
async def ingest(world: World, keys: SubjectKeys) -> AsyncIterator[IngestService]:
    """A running ingest."""
    context = world.context("ingest")
    service = IngestService(context, max_records=50, trace_share=0.0, subject_keys=keys)
    async with running(context, service):
        yield service


async def send(world: World, *changes: dict[str, Any]) -> None:
    """Ada's events, each changed."""
    events = [await world.event(**{**ADA, **change}) for change in changes]
    await world.send(topics.EVENTS, *events)


async def test_samples_have_pseudonyms_and_are_what_they_would_be_without(world: World, keys: SubjectKeys) -> None:
    """Entity, key and the event within; features and labels of the person go on as for any entity."""
    await send(world, {"id": "a", "x": 1.0, "city": "Ulm"}, {"id": "b", "x": 3.5, "at": EPOCH_MS + MINUTE_MS})
    await world.send(topics.LABELS, await world.label("a", "yes", EPOCH_MS + MINUTE_MS // 2, who=NAME))
    async with ingest(world, keys):
        records = await until(lambda: world.records(topics.SAMPLES), 3)
    samples = await world.values(topics.SAMPLES)
    key = keys.lives(NAME)[0].key
    assert key is not None
    hidden = pseudonym(key, "who", NAME)

    assert {hidden.encode()} == {record.key for record in records}
    assert {hidden} == {sample["entity"] for sample in samples}
    assert ["EVENT", "LABEL", "EVENT"] == [sample["kind"] for sample in samples]
    assert [3.5, 2.5, 1.0] == samples[2]["features"]
    codec = Codec(world.schemas)
    first, last = [await codec.decode_record(sample["event"]) for sample in samples if sample["event"]]
    assert {**ADA, "id": "a", "who": hidden, "mail": pseudonym(key, "mail", ADA["mail"]),
            "city": pseudonym(key, "city", "Ulm")} == first  # fmt: skip
    assert (hidden, first["mail"], None, 3.5) == (last["who"], last["mail"], last["city"], last["x"])


async def test_a_restart_goes_on_under_the_same_pseudonyms(world: World, keys: SubjectKeys) -> None:
    """What was learned of the person before is known after."""
    await send(world, {"id": "a", "x": 1.0})
    async with ingest(world, keys):
        await until(lambda: world.records(topics.SAMPLES), 1)
    await send(world, {"id": "b", "x": 3.5, "at": EPOCH_MS + MINUTE_MS})
    async with ingest(world, keys):
        await until(lambda: world.records(topics.SAMPLES), 2)

    one, two = await world.values(topics.SAMPLES)
    assert one["entity"] == two["entity"]
    assert 2.5 == two["features"][1]


async def test_after_an_erasure_the_person_is_somebody_else(tmp_path: Path, world: World, keys: SubjectKeys) -> None:
    """Another process destroys the key while ingest runs: soon the pseudonym is new, without any history."""
    other = SubjectKeys(f"sqlite:///{tmp_path / 'keys.db'}", b"p" * 32, "tiny")
    async with ingest(world, keys):
        await send(world, {"id": "a", "x": 1.0})
        await until(lambda: world.records(topics.SAMPLES), 1)
        other.destroy(NAME, 1, EPOCH_MS)
        due_ms = world.clock.now_ms() + CHECK_EVERY_MS
        await until(lambda: _once(world.clock.now_ms() >= due_ms), 1)
        await send(world, {"id": "b", "x": 3.5, "at": EPOCH_MS + MINUTE_MS})
        await until(lambda: world.records(topics.SAMPLES), 2)
    one, two = await world.values(topics.SAMPLES)

    assert one["entity"] != two["entity"]
    assert two["features"][1] != two["features"][1]  # NaN: there is no earlier row
    other.close()


async def _once(happened: bool) -> list[None]:  # noqa: FBT001  # for ``until``
    return [None] if happened else []


async def test_a_store_that_does_not_answer_stops_nothing_for_ever(
    tmp_path: Path, world: World, keys: SubjectKeys
) -> None:
    """Nothing is written meanwhile, in the clear least of all; it goes on when the store is back."""
    (tmp_path / "keys.db").mkdir()
    await send(world, {"id": "a"})
    with structlog.testing.capture_logs() as lines:
        async with ingest(world, keys):
            await until(lambda: _once(any("cannot be opened" in str(line) for line in lines)), 1)
            before = await world.records(topics.SAMPLES)
            (tmp_path / "keys.db").rmdir()
            await until(lambda: world.records(topics.SAMPLES), 1)

    assert [] == before
    assert [] == [secret for secret in SECRETS if secret in json.dumps(lines, default=str)]


async def test_nothing_personal_is_said_about_any_refusal(
    world: World, keys: SubjectKeys, caplog: pytest.LogCaptureFixture
) -> None:
    """Every kind of bad record, alone and in a batch: no log line and no header that ingest adds holds a value."""
    codec = Codec(world.schemas)
    await codec.prepare(world.project, topics.EVENTS)
    secret = {**ADA, "city": "Ulm"}
    good = codec.encode_record("tiny-events", secret)
    changes = [{"id": f"bad {n}", **change} for n, (slug, change) in enumerate(BAD.items()) if slug != "too-large"]
    bad = [codec.encode_record("tiny-events", {**secret, **change}) for change in changes]
    text = good.index(NAME.encode())
    garbage = [NAME.encode(), good[:-2], good + b"Ulm", good[: text + 4] + b"\xff" + good[text + 5 :],
               b"\0\0\0\0\x63" + good[5:]]  # fmt: skip
    with structlog.testing.capture_logs() as lines, caplog.at_level(logging.DEBUG):
        async with ingest(world, keys):
            await world.send(topics.EVENTS, *[(NAME, value) for value in [*bad, good, good]])
            await until(lambda: world.records(topics.SAMPLES), 1)
            await world.send(topics.EVENTS, *[(NAME, value) for value in garbage])
            await world.send(
                topics.LABELS, (NAME, NAME.encode()), await world.label("e1", NAME, EPOCH_MS + 1, who=NAME),
                await world.label("nothing", 1.0, EPOCH_MS, who=NAME),
            )  # fmt: skip
            letters = await until(lambda: world.records(topics.DEAD_LETTERS), len(bad) + 1 + len(garbage) + 3)

    expected = {
        "bad-time", "out-of-range", "missing-field", "bad-id", "undecodable", "unknown-schema", "duplicate-event",
        "bad-label", "label-without-event",
    }  # fmt: skip
    assert expected == {why(letter)["reason"] for letter in letters}
    said = [content.decode() for letter in letters for _, content in letter.headers[len(own_headers(letter)) :]]
    said += [json.dumps(line, default=str) for line in lines] + [caplog.text]
    assert any("dead letters" in one for one in said)
    assert [] == [(secret, one) for one in said for secret in SECRETS if secret in one]
    assert {NAME.encode()} == {letter.key for letter in letters}
    assert {*bad, good, *garbage} <= {letter.value for letter in letters}


async def test_without_a_key_store_it_does_not_start(world: World) -> None:
    """Better no ingest than one that writes persons in the clear."""
    with pytest.raises(ProjectError, match="a key store is needed"):
        IngestService(world.context(), max_records=50, trace_share=0.0)


async def test_what_was_learned_before_a_field_became_personal_gives_nothing_away(
    world: World, keys: SubjectKeys, capsys: pytest.CaptureFixture[str]
) -> None:
    """A champion still knows the categories; windows are told without any value, and so is the log."""
    city = FieldExpectation(
        name="city", kind="TEXT", missing_share=0.0, min=None, max=None, mean=None, std=None, quantiles=(),
        categories=("Rom", "Bonn"), category_shares=(0.5, 0.5),
    )  # fmt: skip
    await say(world, topics.EXPECTATIONS, learned().model_copy(update={"fields": (city,)}))
    await deploy(world)
    rules = world.project.data.quality.window_rows
    events = [{"id": f"e{n}", "city": "Secretville" if n % 2 else None, "at": EPOCH_MS + n} for n in range(rules + 20)]
    await send(world, *events)
    async with ingest(world, keys):
        judged = await world.until(topics.DATA_QUALITY, 1)
    told = [str(value) for row in (topics.DATA_QUALITY, topics.ALERTS) for value in await world.values(row)]

    assert ["missing-share"] == [one["check"] for one in judged]
    assert [] == [text for text in [*told, *capsys.readouterr().out.splitlines()] if "Secretville" in text]
