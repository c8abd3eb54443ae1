"""Avro schemas of the types that go by the column, records of them, and fastavro as the oracle."""

import struct
from collections.abc import Sequence
from io import BytesIO
from random import Random
from typing import Any

import pyarrow as pa
from fastavro import schemaless_reader, schemaless_writer
from hypothesis import strategies as st

from millrace.contracts.columnar import HEADER_BYTES, PRIMITIVES, Columnar
from millrace.contracts.schemas import Schema

HEADER = b"\0\0\0\0\x07"
ENUM = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL", "HOLD"]}
ARRAY = {"type": "array", "items": "double"}
IN_ARRAYS_AND_UNIONS = sorted(PRIMITIVES - {"bytes"})
ODD_FLOATS = [float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, 1.7976931348623157e308]
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "boolean": st.booleans(),
    "int": st.integers(-(2**31), 2**31 - 1) | st.sampled_from([-(2**31), 2**31 - 1, 0, -1]),
    "long": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, 2**31, -1]),
    "float": st.floats(width=32),
    "double": st.floats() | st.sampled_from(ODD_FLOATS),
    "string": st.text(max_size=12) | st.sampled_from(["", "\0", "ü", "日本", "\U0001f40e", "x" * 200]),
    "bytes": st.binary(max_size=12) | st.sampled_from([b"", b"\xff\xfe", "ü".encode()[:1]]),
}


def schema_of(*kinds: Any) -> Schema:
    """A record with a field of each of these types, ``f0`` first. Each enum gets a name of its own."""
    fields = [{"name": f"f{place}", "type": _renamed(kind, place)} for place, kind in enumerate(kinds)]
    return Schema.of({"type": "record", "name": "Row", "fields": fields})


def _renamed(kind: Any, place: int) -> Any:
    if isinstance(kind, list):
        return [_renamed(branch, place) for branch in kind]
    return {**kind, "name": f"Side{place}"} if isinstance(kind, dict) and kind["type"] == "enum" else kind


def arrays() -> st.SearchStrategy[Any]:
    """Types of arrays."""
    return st.builds(lambda items: {"type": "array", "items": items}, st.sampled_from(IN_ARRAYS_AND_UNIONS))


def kinds() -> st.SearchStrategy[Any]:
    """Every type that is proven here."""
    alone = st.sampled_from([*sorted(PRIMITIVES), ENUM]) | arrays()
    nullable = st.builds(lambda kind, first: ["null", kind] if first else [kind, "null"], alone, st.booleans())
    several = st.lists(st.sampled_from(IN_ARRAYS_AND_UNIONS), min_size=2, unique=True)
    unions = st.tuples(several, st.booleans(), st.randoms(use_true_random=False)).map(_shuffled_union)
    return alone | nullable | unions


def _shuffled_union(drawn: tuple[list[str], bool, Random]) -> list[str]:
    branches, nullable, random = drawn
    union = [*branches, "null"] if nullable else branches
    random.shuffle(union)
    return union


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as fastavro writes them; with the branch, where the value alone does not tell it."""
    if isinstance(kind, list):
        branches = [st.none() if branch == "null" else _branch(branch) for branch in kind]
        return st.one_of(branches)
    if isinstance(kind, dict):
        return (
            st.sampled_from(kind["symbols"]) if kind["type"] == "enum" else st.lists(values(kind["items"]), max_size=4)
        )
    return VALUES[kind]


def _branch(kind: Any) -> st.SearchStrategy[Any]:
    return values(kind) if isinstance(kind, dict) else values(kind).map(lambda value: (kind, value))


@st.composite
def batches(draw: st.DrawFn, *, most: int = 8) -> tuple[Schema, list[dict[str, Any]]]:
    """A schema, and records of it."""
    schema = schema_of(*draw(st.lists(kinds(), min_size=1, max_size=5)))
    record = st.fixed_dictionaries({field["name"]: values(field["type"]) for field in schema.parsed["fields"]})
    return schema, draw(st.lists(record, min_size=1, max_size=most))


def write(schema: Schema, record: Any) -> bytes:
    """The record by fastavro, with a header."""
    out = BytesIO()
    schemaless_writer(out, schema.parsed, record)
    return HEADER + out.getvalue()


def read(schema: Schema, value: bytes) -> dict[str, Any] | None:
    """The record by fastavro, as ``Codec.decode_record`` reads it; None if it is refused."""
    stream = BytesIO(value)
    stream.seek(HEADER_BYTES)
    try:
        record: Any = schemaless_reader(stream, schema.parsed, None)
    except Exception:  # noqa: BLE001  # as in the codec: fastavro names no base class
        return None
    return record if stream.tell() == len(value) else None


def exact(value: Any) -> Any:
    """The value so that ``==`` compares types and bits: NaN equals NaN, 0.0 is not -0.0, True is not 1."""
    if isinstance(value, dict):
        return {name: exact(part) for name, part in value.items()}
    if isinstance(value, list):
        return [exact(part) for part in value]
    return (type(value), struct.pack(">d", value) if isinstance(value, float) else value)


def proven(schema: Schema) -> Columnar:
    """The schema for columns."""
    columnar = Columnar.of(schema)
    assert columnar is not None, schema.canonical
    return columnar


def claims(schema: Schema, written: Sequence[bytes]) -> bool:
    """Hold ``decode`` to what fastavro says of each record; whether it gave a batch."""
    expected = [read(schema, value) for value in written]
    batch = proven(schema).decode(written)
    if batch is None:
        return False
    assert exact(expected) == exact(batch.to_pylist()), "fastavro refuses one, or reads something else"
    assert list(written) == proven(schema).encode(batch, HEADER)
    return True


@st.composite
def plain_batches(draw: st.DrawFn) -> tuple[Schema, list[dict[str, Any]]]:
    """The same without unions of several types: Arrow makes none out of a list."""
    schema, records = draw(batches().filter(lambda drawn: not any(_several(arrow) for arrow in proven(drawn[0]).arrow)))
    return schema, [{name: _plain(value) for name, value in record.items()} for record in records]


def _several(field: Any) -> bool:
    return bool(pa.types.is_union(field.type))


def _plain(value: Any) -> Any:
    return value[1] if isinstance(value, tuple) else value


UNION = ["null", "string", "double", "int"]
EVERY_KIND = [
    *sorted(PRIMITIVES),
    ENUM,
    ["null", ENUM],
    UNION,
    *(["null", kind] for kind in sorted(PRIMITIVES)),
    *({"type": "array", "items": items} for items in IN_ARRAYS_AND_UNIONS),
    ["null", ARRAY],
]
SOME = {
    "boolean": True,
    "int": -300,
    "long": 2**40,
    "float": 0.5,
    "double": -0.0,
    "string": "ü1",
    "bytes": b"\xff\0",
    "null": None,
    "enum": "SELL",
}


def any_value(random: Random, kind: Any) -> Any:
    """A value of a type, for tests that do without hypothesis."""
    kind = random.choice(kind) if isinstance(kind, list) else kind
    if isinstance(kind, dict) and kind["type"] == "array":
        return [SOME[kind["items"]]] * random.randrange(4)
    return SOME[kind if isinstance(kind, str) else kind["type"]]
