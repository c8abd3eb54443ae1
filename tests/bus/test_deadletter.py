"""Dead letters: what is kept of a refused record, and the record that is sent back for one."""

import pytest

from millrace.bus.deadletter import (
    PREFIX,
    REASON,
    REPLAYED_FROM,
    REPLAYS,
    TRUNCATED,
    Origin,
    dead_letter,
    origin_of,
    own_headers,
    place_of,
    replay_of,
    replays,
    was_replayed,
    why,
)  # fmt: skip
from millrace.bus.types import RECORD_BYTES_MAX, Headers, OutRecord, Record

OWN: Headers = (("traceparent", b"00-1"), ("odd", b"\xff"), ("odd", b"again"))


def event(value: bytes | None = b"value", headers: Headers = OWN) -> Record:
    """A record of the events topic."""
    return Record("tiny-events", 1, 42, 1_000, b"key", value, headers)


def refuse(record: Record) -> OutRecord:
    """Its dead letter."""
    return dead_letter(
        "tiny-dead-letters", record, stage="TRANSFORMATION", reason="bad-time", message="seen", error_class="E"
    )


def written(out: OutRecord, offset: int = 7) -> Record:
    """As it is read again."""
    assert out.partition is not None
    return Record(out.topic, out.partition, offset, 2_000, out.key, out.value, out.headers)


def sent_back(letter: Record, source: Record | None = None) -> OutRecord:
    """The record for a letter of ours."""
    origin = origin_of(letter)
    assert origin is not None
    return replay_of(letter, origin, source)


def test_the_headers_are_those_that_tools_know() -> None:
    """A public interface: names, order and what comes first."""
    names = [name.removeprefix(PREFIX) for name, _ in refuse(event()).headers[len(OWN) :]]

    assert OWN == refuse(event()).headers[: len(OWN)]
    assert [
        "topic", "partition", "offset", "connector.name", "stage", "class.name", "exception.class.name",
        "exception.message", REASON,
    ] == names  # fmt: skip


@pytest.mark.parametrize("value", [b"value", b"", None])
@pytest.mark.parametrize("headers", [OWN, (), ((PREFIX + "topic", b"a connector's own"), (REASON, b"theirs"))])
def test_what_is_sent_back_is_what_came(value: bytes | None, headers: Headers) -> None:
    """Key, value, partition and headers, also those of another system's dead letter."""
    letter = written(refuse(event(value, headers)))

    out = sent_back(letter)

    assert headers == own_headers(letter)
    assert ("tiny-events", b"key", value, 1) == out[:4]
    assert (*headers, (REPLAYED_FROM, b"tiny-dead-letters/1/7"), (REPLAYS, b"1")) == out.headers


def test_a_record_that_is_refused_again_counts_its_replays() -> None:
    """Its new letter has the old one's place, and what is sent back for it names the newest only."""
    again = written(refuse(written(sent_back(written(refuse(event()))), 50)), 9)

    out = sent_back(again)

    assert (1, True, b"tiny-dead-letters/1/7") == (replays(again), was_replayed(again), again.header(REPLAYED_FROM))
    assert (*OWN, (REPLAYED_FROM, b"tiny-dead-letters/1/9"), (REPLAYS, b"2")) == out.headers


def test_of_a_record_that_is_too_large_the_origin_is_kept() -> None:
    """The letter is cut and says how long the value was; sent back is the record itself."""
    value = b"x" * (RECORD_BYTES_MAX - 100)
    record = event(value, (*OWN, (REPLAYED_FROM, b"tiny-dead-letters/1/3"), (REPLAYS, b"4")))
    letter = written(refuse(record))

    out = sent_back(letter, record)

    assert Origin("tiny-events", 1, 42, len(value)) == origin_of(letter)
    assert (4, True) == (replays(letter), was_replayed(letter))
    assert (b"key", value) == (out.key, out.value)
    assert (*OWN, (REPLAYED_FROM, b"tiny-dead-letters/1/7"), (REPLAYS, b"5")) == out.headers


def test_a_header_of_the_record_does_not_cut_its_letter() -> None:
    """Only what we added says that the value is a part."""
    letter = written(refuse(event(headers=((TRUNCATED, b"9"),))))

    assert Origin("tiny-events", 1, 42, None) == origin_of(letter)


@pytest.mark.parametrize(
    "headers", [(), ((PREFIX + "topic", b"t"),), ((PREFIX + "topic", b"t"), (PREFIX + "partition", b"x"))]
)
def test_a_letter_that_nobody_of_ours_wrote_has_no_origin(headers: Headers) -> None:
    """Whatever stands in the topic can be listed."""
    letter = Record("tiny-dead-letters", 0, 3, 0, None, None, headers)

    assert origin_of(letter) is None
    assert "tiny-dead-letters/0/3" == place_of(letter)
    assert "" == why(letter)["reason"]


@pytest.mark.parametrize(("told", "expected"), [(b"3", 3), (b"", 0), (b"-1", 0), (b"many", 0)])
def test_a_count_that_is_none_is_zero(told: bytes, expected: int) -> None:
    """Headers come from anybody."""
    assert expected == replays(event(headers=((REPLAYS, told),)))
