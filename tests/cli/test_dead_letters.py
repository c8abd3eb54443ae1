"""``millrace dead-letters``: what is listed, counted and shown."""

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from millrace.bus.deadletter import dead_letter
from millrace.bus.kafka import KafkaTransport
from millrace.bus.transport import Transport
from millrace.bus.types import OutRecord, Record
from millrace.cli.dead_letters import command
from millrace.cli.dead_letters.survey import Survey, show_survey, survey
from millrace.cli.dead_letters.when import parse_place, parse_when
from millrace.cli.prepare import command as prepare
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.contracts.errors import BusError
from millrace.operating.detail import detail
from millrace.operating.letters import Choice, letter_at
from tests.conftest import Broker
from tests.support import EPOCH_MS, World, tiny_project

GARBAGE = b"\xff not avro"


def refused(stream: str, offset: int, reason: str, value: bytes | None, partition: int = 0) -> OutRecord:
    """A record of the events topic, refused."""
    headers = (("traceparent", b"00-1"), ("odd", b"\xff"))
    record = Record(f"{stream}-events", partition, offset, EPOCH_MS, b"w", value, headers)
    topic, message = f"{stream}-dead-letters", f"why {offset}"
    return dead_letter(topic, record, stage="VALUE_CONVERTER", reason=reason, message=message, error_class="E")


async def send(transport: Transport, *letters: OutRecord) -> None:
    """Write dead letters as ingest does."""
    producer = await transport.producer("test.dead-letters")
    await producer.commit(letters)
    await producer.close()


async def world_with(folder: Path, *letters: tuple[int, str], partitions: int = 1) -> World:
    """A memory log in which records were refused: (offset, reason), each in a partition in turn."""
    world = await World.create(tiny_project(folder, partitions=partitions))
    for number, (offset, reason) in enumerate(letters):
        await send(world.transport(), refused("tiny", offset, reason, GARBAGE, number % partitions))
    return world


async def ask(world: World, choice: Choice = Choice(), limit: int = 10) -> Survey:  # noqa: B008 - frozen
    """What the list command finds."""
    return await survey(world.transport(), Codec(world.schemas), world.project, choice, limit)


async def test_letters_are_listed_and_counted(tmp_path: Path) -> None:
    """Each with where it lies, where it came from, why; and all of them by reason, most frequent first."""
    world = await world_with(tmp_path, (3, "bad-time"), (5, "undecodable"), (9, "undecodable"))

    found = await ask(world)

    assert {"undecodable": 2, "bad-time": 1} == found.counts
    assert ["undecodable", "bad-time"] == list(found.counts)
    assert [("tiny-events/0/3", "bad-time", "why 3")] == [
        (letter.origin, letter.reason, letter.message) for letter in found.letters[:1]
    ]


@pytest.mark.parametrize(
    ("reason", "limit", "shown", "counted"),
    [
        (None, 2, ["why 5", "why 9"], 3),
        ("undecodable", 10, ["why 5", "why 9"], 2),
        ("undecodable", 1, ["why 9"], 2),
        ("no-such-reason", 10, [], 0),
    ],
)
async def test_a_list_can_be_narrowed(
    tmp_path: Path, reason: str | None, limit: int, shown: list[str], counted: int
) -> None:
    """The newest are shown, all that match are counted."""
    world = await world_with(tmp_path, (3, "bad-time"), (5, "undecodable"), (9, "undecodable"))

    found = await ask(world, Choice(reason), limit)

    assert shown == [letter.message for letter in found.letters]
    assert counted == sum(found.counts.values())


async def test_a_list_can_be_narrowed_by_time(tmp_path: Path) -> None:
    """The times are those of refusal; --until is exclusive."""
    world = await World.create(tiny_project(tmp_path))
    for offset in range(4):
        await send(world.transport(), refused("tiny", offset, "undecodable", GARBAGE))
        await asyncio.sleep(0.003)  # the log's clock is the loop's: each letter gets a millisecond of its own
    times = [record.timestamp_ms for record in await world.records(topics.DEAD_LETTERS)]

    found = await ask(world, Choice(since_ms=times[1], until_ms=times[3]))

    assert 4 == len(set(times))
    assert ["why 1", "why 2"] == [letter.message for letter in found.letters]
    assert {"undecodable": 2} == found.counts


async def test_a_list_can_be_narrowed_by_origin(tmp_path: Path) -> None:
    """Events and labels lie in one dead-letter topic."""
    world = await world_with(tmp_path, (3, "bad-time"))

    assert 1 == len((await ask(world, Choice(topic="tiny-events"))).letters)
    assert 0 == len((await ask(world, Choice(topic="tiny-labels"))).letters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", EPOCH_MS - 90_000),
        ("30m", EPOCH_MS - 30 * 60_000),
        ("1.5h", EPOCH_MS - 90 * 60_000),
        ("7d", EPOCH_MS - 7 * 24 * 3_600_000),
        ("2020-09-13T12:26:40", EPOCH_MS),
        ("2020-09-13T12:26:40Z", EPOCH_MS),
        ("2020-09-13T14:26:40+02:00", EPOCH_MS),
        ("2020-09-13", EPOCH_MS - (12 * 3600 + 26 * 60 + 40) * 1000),
    ],
)
def test_times_are_given_as_people_say_them(text: str, expected: int) -> None:
    """How long ago, or ISO 8601, which is UTC unless it says otherwise."""
    assert expected == parse_when(text, EPOCH_MS)


@pytest.mark.parametrize("text", ["yesterday", "2 h", "h", "-2h", "2020-13-01", ""])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    """The message shows the forms."""
    with pytest.raises(click.BadParameter, match="30m, 2h, 7d ago"):
        parse_when(text, EPOCH_MS)


async def test_all_partitions_are_read(tmp_path: Path) -> None:
    """Letters of several partitions come in the order of their times."""
    world = await world_with(tmp_path, *((offset, "undecodable") for offset in range(5)), partitions=2)

    found = await ask(world, limit=3)

    assert {"undecodable": 5} == found.counts
    assert {"why 3", "why 4"} <= {letter.message for letter in found.letters}
    assert {"0", "1"} == {letter.place.partition("/")[0] for letter in found.letters}


async def test_a_letter_shows_its_bytes_as_they_came(tmp_path: Path) -> None:
    """Value as hex, headers as text where they are text, and why it cannot be decoded."""
    world = await world_with(tmp_path, (3, "undecodable"))
    record = await letter_at(world.transport(), "tiny-dead-letters", 0, 0)

    found = await detail(record, Codec(world.schemas), {})

    assert GARBAGE.hex() == found["value_hex"]
    assert [["traceparent", "00-1"], ["odd", "0xff"]] == found["headers"][:2]
    assert ("undecodable", "why 3", "w", None) == (found["reason"], found["message"], found["key"], found["decoded"])
    assert "0xff" in found["undecodable"]


async def test_a_letter_that_can_be_decoded_is(tmp_path: Path) -> None:
    """A value out of range is a valid event all the same."""
    world = await World.create(tiny_project(tmp_path))
    _, value = await world.event(id="far", x=99.0)
    await send(world.transport(), refused("tiny", 7, "out-of-range", value))

    found = await detail(await letter_at(world.transport(), "tiny-dead-letters", 0, 0), Codec(world.schemas), {})

    assert {"id": "far", "who": "w", "at": EPOCH_MS, "x": 99.0} == found["decoded"]
    assert found["undecodable"] is None


@pytest.mark.parametrize("offset", [1, 2, 99])  # a transaction's marker, the end, far past it
async def test_a_place_without_a_letter_is_named(tmp_path: Path, offset: int) -> None:
    """The answer comes at once and tells which offsets there are."""
    world = await world_with(tmp_path, (3, "undecodable"))

    with pytest.raises(BusError, match=f"no record at offset {offset}; its offsets are 0 to 1"):
        await letter_at(world.transport(), "tiny-dead-letters", 0, offset)


async def test_a_message_is_shown_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets in what somebody sent are no mark-up for the terminal."""
    world = await world_with(tmp_path, (3, "[red]"))

    show_survey(await ask(world, limit=1))

    assert 2 == capsys.readouterr().out.count("[red]")


@pytest.mark.parametrize("place", ["7", "a/b", "0/", "/3", "0/-1", "0/1/2"])
def test_a_place_that_is_none_is_refused(place: str) -> None:
    """The message shows the form."""
    with pytest.raises(click.BadParameter, match="such as 0/17"):
        parse_place(place)


@pytest.mark.broker
def test_the_commands_read_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """List and show, for people and for programs."""
    tiny_project(tmp_path, stream="lost", model="lost")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    runner.invoke(prepare, [str(tmp_path), *at], catch_exceptions=False)
    asyncio.run(_lose(broker))

    def ask(*words: str) -> Any:
        return runner.invoke(command, [*words, *at], catch_exceptions=False).output

    listed = json.loads(ask("list", str(tmp_path), "--json"))
    shown = json.loads(ask("show", str(tmp_path), listed["letters"][1]["place"], "--json"))

    assert {"undecodable": 1, "bad-time": 1} == listed["counts"]
    assert ("bad-time", GARBAGE.hex(), "w") == (shown["reason"], shown["value_hex"], shown["key"])
    assert "in all, the newest 1 are shown" in ask("list", str(tmp_path), "--reason", "bad-time")
    assert "not decodable" in ask("show", str(tmp_path), listed["letters"][0]["place"])


async def _lose(broker: Broker) -> None:
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    await send(transport, refused("lost", 1, "undecodable", GARBAGE), refused("lost", 2, "bad-time", GARBAGE))
    await transport.close()
