"""``millrace dead-letters replay``: what is sent back, what is not, and that nothing is sent back twice."""

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from millrace.bus.deadletter import REPLAYED_FROM, REPLAYS
from millrace.bus.kafka import KafkaTransport
from millrace.bus.types import RECORD_BYTES_MAX, OutRecord, Record, TopicPartition
from millrace.cli.dead_letters import command
from millrace.cli.dead_letters.survey import survey
from millrace.cli.prepare import command as prepare
from millrace.contracts import topics
from millrace.contracts.codec import Codec
from millrace.operating.detail import detail
from millrace.operating.letters import REPLAYED, Choice, NotThereError, Place, letter_at, replayed_before
from tests.cli.letters import HEADERS, events, figures, letter_of, refused, replay, world_with
from tests.conftest import Broker
from tests.support import EPOCH_MS, World, tiny_project


async def test_records_go_back_to_where_they_came_from(tmp_path: Path) -> None:
    """Topic, partition, key, value and headers, with the place of the letter behind them."""
    world = await world_with(tmp_path, refused(3), refused(4, "label-without-event", "tiny-labels", 1), partitions=2)

    report = await replay(world).go()

    [event] = await world.records(topics.EVENTS, 0)
    [label] = await world.records(topics.LABELS, 1)
    assert (2, 0, 0, 0) == figures(report)
    assert Counter({"bad-time": 1, "label-without-event": 1}) == report.reasons
    assert (b"w", b"3") == (event.key, event.value)
    assert (*HEADERS, (REPLAYED_FROM, b"tiny-dead-letters/0/0"), (REPLAYS, b"1")) == event.headers
    assert (b"4", b"tiny-dead-letters/1/0") == (label.value, label.header(REPLAYED_FROM))


async def test_the_audit_log_says_who_did_it(tmp_path: Path) -> None:
    """One event for the run, one for each letter with an id that is always the same."""
    world = await world_with(tmp_path, refused(3))

    await replay(world, Choice(reason="bad-time")).go()

    begun, sent = await world.values(topics.AUDIT_EVENTS)
    assert ("ada", "replay-dead-letters", "tiny", "asked for: reason bad-time") == tuple(
        begun[name] for name in ("actor", "action", "subject", "reason")
    )
    assert {
        "audit_id": "audit/replay-dead-letter/tiny-dead-letters/0/0",
        "actor": "ada",
        "action": REPLAYED,
        "subject": "tiny-dead-letters/0/0",
        "reason": "bad-time, sent back to tiny-events/0",
        "caused_by": begun["audit_id"],
        "recorded_at_ms": EPOCH_MS,
        "model": None,
        "version": None,
        "epoch": None,
        "outcome": "ACCEPTED",
        "space": None,
    } == sent


@pytest.mark.parametrize(
    ("choice", "sent", "repeats"),
    [
        (Choice(), [b"3"], 2),
        (Choice(reason="duplicate-event"), [b"4"], 0),
        (Choice(places=(Place(0, 2),)), [b"4"], 0),
        (Choice(reason="bad-time"), [b"3"], 0),
        (Choice(topic="tiny-labels"), [], 1),
        (Choice(since_ms=0, until_ms=1), [], 0),
    ],
)
async def test_repeats_are_sent_only_if_asked_for(
    tmp_path: Path, choice: Choice, sent: list[bytes], repeats: int
) -> None:
    """Their first copy was admitted; a second would be too, once the id is forgotten."""
    duplicates = refused(4, "duplicate-event"), refused(5, "duplicate-label", "tiny-labels")
    world = await world_with(tmp_path, refused(3), *duplicates)

    report = await replay(world, choice).go()

    assert sent == await events(world)
    assert repeats == report.repeats


async def test_letters_that_cannot_be_sent_back_say_why(tmp_path: Path) -> None:
    """What came from a computed topic, what no service of ours refused, what has no partition; the others go."""
    foreign = OutRecord("tiny-dead-letters", b"w", b"x", 0)
    astray = refused(1, partition=7)._replace(partition=0)
    world = await world_with(tmp_path, refused(1, topic="tiny-samples"), foreign, astray, refused(3))

    report = await replay(world).go()

    assert ["0/0", "0/2", "0/4"] == [one.place for one in report.impossible]
    assert "it came from tiny-samples, which is computed from" in report.impossible[0].why
    assert "no service of ours refused it" in report.impossible[1].why
    assert "it came from partition 7 of tiny-events, which has 1" in report.impossible[2].why
    assert [b"3"] == await events(world)


async def test_of_a_letter_that_was_cut_the_whole_record_is_fetched(tmp_path: Path) -> None:
    """From the topic it came from, while it is there; afterwards the report says that it is not."""
    world = await World.create(tiny_project(tmp_path))
    value = b"x" * (RECORD_BYTES_MAX - 100)
    producer = await world.transport().producer("test")
    await producer.commit([OutRecord("tiny-events", b"w", value, 0, (("own", b"1"),)), refused(9)])
    [record] = await world.records(topics.EVENTS)
    await producer.commit([letter_of(record)] * 2)

    report = await replay(world, Choice(places=(Place(0, 2),))).go()
    world.log.delete_before(TopicPartition("tiny-events", 0), 1)
    later = await replay(world, Choice(places=(Place(0, 3),)), now_ms=EPOCH_MS + 1).go()

    [again] = await world.records(topics.EVENTS)
    assert ((1, 0, 0, 0), (0, 0, 0, 1)) == (figures(report), figures(later))
    assert (b"w", value, b"1") == (again.key, again.value, again.header("own"))
    assert "the whole record is no longer at tiny-events/0/0" in later.impossible[0].why


async def test_another_record_in_its_place_is_not_sent(tmp_path: Path) -> None:
    """A topic that was made anew has other records at the same offsets."""
    world = await World.create(tiny_project(tmp_path))
    producer = await world.transport().producer("test")
    cut = letter_of(Record("tiny-events", 0, 0, EPOCH_MS, b"w", b"x" * RECORD_BYTES_MAX))
    await producer.commit([OutRecord("tiny-events", b"w", b"another", 0), cut])

    report = await replay(world).go()

    assert "what is there is another one, of 7 bytes" in report.impossible[0].why


async def test_a_record_that_is_refused_again_is_a_new_letter(tmp_path: Path) -> None:
    """List marks what was sent back, show counts the replays, and the new letter can be sent back too."""
    world = await world_with(tmp_path, refused(3))
    await replay(world).go()
    [event] = await world.records(topics.EVENTS)
    producer = await world.transport().producer("test")
    await producer.commit([letter_of(event, "out-of-range")])
    codec = Codec(world.schemas)

    listed = await survey(world.transport(), codec, world.project, Choice(), 10)
    again = await letter_at(world.transport(), "tiny-dead-letters", 0, 2)
    before = await replayed_before(world.transport(), codec, world.project)
    shown = await detail(again, codec, before)
    report = await replay(world, now_ms=EPOCH_MS + 1).go()

    assert [("2020-09-13T12:26:40.000+00:00", 0), (None, 1)] == [(one.replayed, one.replays) for one in listed.letters]
    assert (1, "tiny-dead-letters/0/0", None) == (shown["replays"], shown["replayed_from"], shown["replayed"])
    assert (1, 1, 0, 0) == figures(report)
    assert [b"1", b"2"] == [record.header(REPLAYS) for record in await world.records(topics.EVENTS)]


async def test_a_place_without_a_letter_ends_the_run(tmp_path: Path) -> None:
    """Before anything is sent."""
    world = await world_with(tmp_path, refused(3))

    with pytest.raises(NotThereError, match="no record at offset 99"):
        await replay(world, Choice(places=(Place(0, 0), Place(0, 99)))).go()

    assert [] == await events(world)


@pytest.mark.broker
def test_the_command_sends_back_on_a_real_broker(tmp_path: Path, broker: Broker) -> None:
    """It asks first; nobody there is no consent; a second run finds nothing to do."""
    tiny_project(tmp_path, stream="again", model="again")
    at = ["--bootstrap", broker.bootstrap_servers, "--schema-registry", broker.schema_registry_url]
    runner = CliRunner()
    runner.invoke(prepare, [str(tmp_path), *at], catch_exceptions=False)
    asyncio.run(_lose(broker))

    def ask(*words: str, answer: str | None = None) -> Any:
        return runner.invoke(command, ["replay", str(tmp_path), *words, *at], input=answer, catch_exceptions=False)

    dry = json.loads(ask("--dry-run", "--json").stdout)
    nobody = ask()
    agreed = ask("--reason", "bad-time", "--since", "1h", answer="y\n")
    second = json.loads(ask("--yes", "--json").stdout)
    third = json.loads(ask("--yes", "--json").stdout)
    listed = json.loads(runner.invoke(command, ["list", str(tmp_path), *at, "--json"], catch_exceptions=False).stdout)

    assert (True, 2, {"bad-time": 1, "undecodable": 1}) == (dry["dry_run"], dry["replayed"], dry["reasons"])
    assert (1, True) == (nobody.exit_code, "would replay 2" in nobody.output)
    assert "replayed 1, skipped 0 as replayed before, left out 0 repeats, 0 not possible" in agreed.stdout
    assert [(1, 1), (0, 2)] == [(one["replayed"], one["skipped"]) for one in (second, third)]
    assert [True, True] == [one["replayed"] is not None for one in listed["letters"]]


async def _lose(broker: Broker) -> None:
    transport = KafkaTransport(broker.bootstrap_servers, "test")
    producer = await transport.producer("test.dead-letters.again")
    await producer.commit([refused(1, topic="again-events"), refused(2, "undecodable", "again-events")])
    await transport.close()
