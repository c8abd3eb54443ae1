"""Bytes that are no records, or unusual ones: by the column nothing is read that fastavro would refuse."""

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts.columnar import HEADER_BYTES
from tests.contracts.avro_rows import (
    ARRAY,
    ENUM,
    EVERY_KIND,
    HEADER,
    any_value,
    batches,
    claims,
    read,
    schema_of,
    write,
)

ROOT = Path(__file__).parents[2]


# ---- bad records -------------------------------------------------------------------------------------------------

NASTY = [
    b"\xff",
    b"\x01",
    b"\x02",
    b"\x80",
    b"\0",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xff" * 9 + b"\x01",
    b"\xfe" + b"\xff" * 8 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xfe\xff\xff\xff\x0f",
    b"\xff" * 12,
    b"\x80" * 11 + b"\0",
    b"\x80\x80\x80\x80\x80\x80\x80\x80\x10",
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x20",
    b"\x81\x80\x80\x80\x80\x80\x80\x80\x80\x01",
]


def damaged(random: Random, value: bytes) -> bytes:
    """The value after one thing that may happen to it."""
    body, place = value[HEADER_BYTES:], random.randrange(len(value) - HEADER_BYTES + 1)
    nasty, before, after = random.choice(NASTY), body[:place], body[place + 1 :]
    flipped = bytes(byte ^ (1 << random.randrange(8)) for byte in body[place : place + 1])
    outcomes = [
        random.randbytes(random.randrange(20)), before, body + nasty, body + body, before + flipped + after,
        before + nasty + after, before + nasty + body[place:], nasty * random.randrange(1, 4), before + after,
    ]  # fmt: skip
    return value[:HEADER_BYTES] + random.choice(outcomes)


@given(batches(), st.randoms(use_true_random=False))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_damage_is_never_taken_for_a_record(drawn, random):
    """If fastavro refuses one record there is no batch; if there is a batch, it is what fastavro reads."""
    schema, records = drawn
    good = [write(schema, record) for record in records]
    victim = random.randrange(len(good))
    claims(schema, [*good[:victim], damaged(random, good[victim]), *good[victim + 1 :]])


def hammer(seed: int, rounds: int) -> tuple[int, int]:
    """The same without hypothesis, for speed. How many batches were read, and how many refused."""
    random = Random(seed)
    read_count = 0
    for _ in range(rounds):
        schema = schema_of(*random.choices(EVERY_KIND, k=random.randrange(1, 4)))
        record = {field["name"]: any_value(random, field["type"]) for field in schema.parsed["fields"]}
        value = write(schema, record)
        for _ in range(20):
            read_count += claims(schema, [value, damaged(random, value)])
    return read_count, rounds * 20 - read_count


def test_a_process_survives_the_nastiest_bytes():
    """Nothing in a record makes the reader abort or take memory without bound: tried where it would be seen."""
    script = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))\n"
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.contracts.test_columnar_damage import hammer\n"
        "print(*hammer(seed=7, rounds=500))"
    )
    child = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )

    assert (0, "") == (child.returncode, child.stderr)
    taken, refused = map(int, child.stdout.split())
    assert taken > 300
    assert refused > 3_000


BROKEN = {"lone byte": b"\x02\xff", "overlong": b"\x04\xc0\x80", "surrogate": b"\x06\xed\xa0\x80", "cut": b"\x02\xc3"}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        pytest.param("string", b"", b"", id="string"),
        pytest.param(["null", "string"], b"\x02", b"", id="nullable"),
        pytest.param(["string", "null"], b"\0", b"", id="nullable, null last"),
        pytest.param(["int", "null", "string"], b"\x04", b"", id="union"),
        pytest.param({"type": "array", "items": "string"}, b"\x02", b"\0", id="array"),
    ],
)
def test_strings_that_are_not_utf8_are_not_read(kind, before, after, text):
    """Wherever a string may stand: fastavro refuses the record, so there is no batch."""
    schema = schema_of(kind, "long")
    value = HEADER + before + text + after + b"\x02"

    assert read(schema, value) is None
    assert not claims(schema, [value])
    assert not claims(schema_of(kind, "bytes"), [HEADER + before + text + after + b"\x02a"])


@pytest.mark.parametrize(
    ("kind", "body", "is_correct"),
    [
        pytest.param(ENUM, b"\x06", False, id="enum index too high"),
        pytest.param(ENUM, b"\xfe\xff\xff\xff\x0f", False, id="enum index far too high"),
        pytest.param("string", b"\x01", False, id="negative length"),
        pytest.param("bytes", b"\x03", False, id="negative length of bytes"),
        pytest.param("string", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", False, id="length of 2^63 - 1"),
        pytest.param(ARRAY, b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", False, id="2^63 - 1 items"),
        pytest.param(["null", "long"], b"\x04", False, id="branch too high"),
        pytest.param(["null", "int", "string"], b"\x06", False, id="branch too high of several"),
        pytest.param("long", b"\xff" * 11, False, id="endless number"),
        pytest.param("long", b"", False, id="nothing"),
        pytest.param({"type": "array", "items": "long"}, b"\x02\x02\x04\x04\x06\0", True, id="two blocks"),
        pytest.param({"type": "array", "items": "long"}, b"\x03\x04\x02\x04\0", True, id="block with its size"),
        pytest.param("long", b"\x82\0", True, id="number with a byte too many"),
    ],
)
def test_unusual_bytes_are_left_to_fastavro(kind, body, is_correct):
    """Wrong ones, and correct ones that the usual writer does not write: both are read record by record."""
    schema = schema_of(kind)
    value = HEADER + body

    assert is_correct == (read(schema, value) is not None)
    assert not claims(schema, [value])
    assert not claims(schema, [write(schema, {"f0": any_value(Random(1), schema.parsed["fields"][0]["type"])}), value])


@pytest.mark.parametrize("rest", [b"\0", b"\x02a", HEADER])
def test_what_follows_a_record_is_seen(rest):
    """The library does not mind; we do."""
    schema = schema_of("string", "long")

    assert not claims(schema, [write(schema, {"f0": "a", "f1": 1}) + rest])
