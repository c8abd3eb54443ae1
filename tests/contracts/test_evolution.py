"""Records of other versions of a schema by the column: what fastavro's resolution gives, or they are not taken."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from millrace.contracts.codec import Codec
from millrace.contracts.columnar import HEADER_BYTES
from millrace.contracts.errors import ContractError
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import Schema
from tests.contracts.avro_rows import ARRAY, exact, kinds, values, write

JsonSchema = dict[str, Any]
SYMBOLS = ["BUY", "SELL", "HOLD", "WAIT"]
CHAINS = [["int", "long", "float", "double"], ["string", "bytes"], ["bytes", "string"]]
DEFAULTS: dict[str, list[Any]] = {
    "boolean": [True, False],
    "int": [7, -(2**31)],
    "long": [-(2**63), 1],
    "float": [0, 0.5, 0.1],
    "double": [3, 0.1, -0.0],
    "string": ["", "ü"],
    "bytes": ["\u00ff"],
}


# ---- pairs of schemas --------------------------------------------------------------------------------------------


@st.composite
def enums(draw: st.DrawFn, name: str) -> JsonSchema:
    """An enum of some of the symbols, by this name or another, with or without a default."""
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
    kind = {"type": "enum", "name": draw(st.sampled_from([name, name, name, f"Old{name}"])), "symbols": symbols}
    if draw(st.booleans()):
        kind["default"] = draw(st.sampled_from(symbols))
    return kind | ({"aliases": [f"Old{name}"]} if draw(st.booleans()) else {})


@st.composite
def pairs(draw: st.DrawFn, place: int) -> tuple[Any, Any]:
    """The type of a field in two versions: often the same, often promoted, sometimes anything."""
    how = draw(st.sampled_from(["same", "promoted", "promoted", "enum", "enum", "array", "anything"]))
    if how == "same":
        kind = draw(kinds().filter(lambda each: "enum" not in str(each)))
        return kind, kind
    if how == "enum":
        one, two = draw(enums(f"E{place}")), draw(enums(f"E{place}"))
    elif how == "anything":
        return draw(st.tuples(*2 * [kinds().filter(lambda each: "enum" not in str(each))]))
    elif how == "array":
        one, two = ARRAY, draw(st.sampled_from([ARRAY, {"type": "array", "items": "float"}]))
    else:
        chain = draw(st.sampled_from(CHAINS))
        at = draw(st.integers(0, len(chain) - 1))
        one, two = chain[at], draw(st.sampled_from(chain[at:]))
    forms = [lambda kind: kind, lambda kind: ["null", kind], lambda kind: [kind, "null"]]
    return draw(st.sampled_from(forms))(one), draw(st.sampled_from(forms))(two)


def default_of(draw: st.DrawFn, kind: Any) -> Any:
    """A default that a schema may say; not each is one that a column can hold."""
    first = kind[0] if isinstance(kind, list) else kind
    if isinstance(first, dict):
        return draw(st.sampled_from(first["symbols"])) if first["type"] == "enum" else []
    return None if first == "null" else draw(st.sampled_from(DEFAULTS[first]))


@st.composite
def versions(draw: st.DrawFn) -> tuple[list[Schema], Schema]:
    """One to three writers' schemas and a reader's, all of one event."""
    count = draw(st.integers(1, 3))
    written: list[list[JsonSchema]] = [[] for _ in range(count)]
    read = []
    for place in range(draw(st.integers(1, 4))):
        name, old = f"f{place}", f"g{place}"
        kind, wanted = draw(pairs(place))
        field = {"name": name, "type": wanted}
        if draw(st.booleans()):
            field["default"] = default_of(draw, wanted)
        if draw(st.booleans()):
            field["aliases"] = [old]
        if draw(st.integers(0, 5)):
            read.append(field)
        for fields in written:
            if draw(st.integers(0, 5 if "default" in field else 30)):
                fields.append({"name": draw(st.sampled_from([name, name, name, old])), "type": kind})
    read = read or [{"name": "only", "type": "int", "default": 1}]
    written = [draw(st.permutations(fields)) or [{"name": "only", "type": "int"}] for fields in written]
    return [_schema(fields) for fields in written], _schema(read)


def _schema(fields: list[JsonSchema]) -> Schema:
    return Schema.of({"type": "record", "name": "Row", "fields": fields})


@st.composite
def batches(draw: st.DrawFn) -> tuple[list[Schema], Schema, list[tuple[int, Any]]]:
    """The schemas, and records, each with the place of its writer."""
    written, read = draw(versions())
    each = [
        st.tuples(
            st.just(place), st.fixed_dictionaries({f["name"]: values(f["type"]) for f in schema.parsed["fields"]})
        )
        for place, schema in enumerate(written)
    ]
    return written, read, draw(st.lists(st.one_of(each), min_size=1, max_size=8))


async def registered(*written: Schema) -> tuple[Codec, list[int]]:
    """A codec whose registry knows these, and their ids."""
    source = LocalSchemas()
    return Codec(source), [await source.register("rows-value", schema.raw) for schema in written]


def headed(schema_id: int, schema: Schema, record: Any) -> bytes:
    """The record as a value of this id."""
    return b"\0" + schema_id.to_bytes(4, "big") + write(schema, record)[HEADER_BYTES:]


async def both_ways(written: list[Schema], read: Schema, records: list[tuple[int, Any]]) -> tuple[Any, Any, Any]:
    """What reads the records by the column, the rows that it gives, and those of fastavro's resolution."""
    codec, ids = await registered(*written)
    data = [headed(ids[place], written[place], record) for place, record in records]
    columnar = await codec.columnar(data, read)
    batch = None if columnar is None else columnar.decode(data)
    try:
        expected = [_as_columns(await codec.decode_record(value, read), read) for value in data]
    except ContractError:
        expected = None
    return columnar, batch if batch is None else batch.to_pylist(), expected


def _as_columns(row: dict[str, Any], read: Schema) -> dict[str, Any]:
    """The row in the reader's order; a default of 0 in a field of doubles as 0.0: fastavro leaves it as it is."""
    kinds = {field["name"]: field["type"] for field in read.parsed["fields"]}
    return {
        name: float(row[name]) if type(row[name]) is int and not _whole(kind) else row[name]
        for name, kind in kinds.items()
    }


def _whole(kind: Any) -> bool:
    branches = set(kind) if isinstance(kind, list) else {str(kind)}
    return not {"float", "double"} & branches or bool({"int", "long"} & branches)


# ---- the property ------------------------------------------------------------------------------------------------


@given(batches())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_read_by_the_column_is_what_fastavro_resolves(drawn):
    """Any writers, any reader, any records, mixed: the same rows bit for bit, or none."""
    columnar, rows, expected = asyncio.run(both_ways(*drawn))
    event("by the column" if rows is not None else "refused" if expected is None else f"one by one: {columnar is None}")

    assert rows is None or exact(expected) == exact(rows)


# ---- by the column, or not ---------------------------------------------------------------------------------------


def of(kind: Any, **more: Any) -> JsonSchema:
    """A field ``x`` of this type."""
    return {"name": "x", "type": kind, **more}


ID = {"name": "id", "type": "string"}
AB = {"type": "enum", "name": "Side", "symbols": ["A", "B"]}
ABC = {**AB, "symbols": ["C", "A", "B"]}
MAP = {"type": "map", "values": "int"}

BY_THE_COLUMN = [
    pytest.param(of("int"), of("long"), 2**31 - 1, 2**31 - 1, id="int to long"),
    pytest.param(of("int"), of("float"), 2**24, 2.0**24, id="int to float"),
    pytest.param(of("long"), of("double"), 2**53 + 1, 2.0**53, id="long to double, to the nearest"),
    pytest.param(of("float"), of("double"), 0.5, 0.5, id="float to double"),
    pytest.param(of("int"), of(["null", "double"]), 3, 3.0, id="to nullable and wider"),
    pytest.param(of(["null", "int"]), of(["long", "null"]), None, None, id="null in another place"),
    pytest.param(of(["null", "int"]), of("int"), 3, 3, id="nullable, but never null"),
    pytest.param(of("string"), of("bytes"), "ü", "ü".encode(), id="text to bytes"),
    pytest.param(of("bytes"), of("string"), "ü".encode(), "ü", id="bytes that are text"),
    pytest.param(of({"type": "string", "avro.java.string": "String"}), of("string"), "ü", "ü", id="as Java says text"),
    pytest.param(of(AB), of(ABC), "B", "B", id="more symbols"),
    pytest.param(of(ABC), of({**AB, "default": "A"}), "C", "A", id="a symbol becomes the default"),
    pytest.param(of(ABC), of(["null", AB]), "B", "B", id="fewer symbols, but none of those"),
    pytest.param(None, of("double", default=0), None, 0.0, id="filled with a number"),
    pytest.param(None, of(["null", "string"], default=None), None, None, id="filled with null"),
    pytest.param(None, of(ARRAY, default=[]), None, [], id="filled with an empty array"),
    pytest.param({**of("int"), "name": "old"}, of("int", aliases=["old"]), 3, 3, id="alias"),
    pytest.param(of(["double", "string"]), of(["double", "string"]), "s", "s", id="the same union"),
]


@pytest.mark.parametrize(("written", "read", "value", "expected"), BY_THE_COLUMN)
async def test_these_changes_go_by_the_column(written, read, value, expected):
    """Each beside a field that moved and one that the reader does not know."""
    writer = _schema([*([written] if written else []), {"name": "unknown", "type": "int"}, ID])
    record = {"unknown": 1, "id": "a"} | ({written["name"]: value} if written else {})
    columnar, rows, resolved = await both_ways([writer], _schema([ID, read]), [(0, record)])

    assert [{"id": "a", "x": expected}] == rows == resolved
    assert columnar.arrow.names == ["id", "x"]


ONE_BY_ONE = [
    pytest.param(of("long"), of("int"), 3, id="narrowed"),
    pytest.param(of("int"), of("float"), 2**24 + 1, id="a number that a float cannot hold"),
    pytest.param(of(["null", "int"]), of("int"), None, id="null where there may be none"),
    pytest.param(of("bytes"), of("string"), b"\xff", id="bytes that are no text"),
    pytest.param(of(ABC), of(AB), "C", id="a symbol that the reader lacks"),
    pytest.param(of(AB), of({**AB, "name": "Other"}), "A", id="an enum of another name"),
    pytest.param(of("string"), of(AB), "A", id="text to enum"),
    pytest.param(of(MAP), of(MAP), {}, id="a map"),
    pytest.param(of("int"), of(["double", "string"]), 3, id="one type to several"),
    pytest.param(of(["double", "int"]), of(["double", "int"]), ("int", 3), id="a union whose ints become doubles"),
    pytest.param(None, of("int"), None, id="no default"),
    pytest.param(None, of("float", default=0.1), None, id="a default that a float cannot hold"),
    pytest.param(None, of("bytes", default="a"), None, id="a default of bytes"),
]


@pytest.mark.parametrize(("written", "read", "value"), ONE_BY_ONE)
async def test_these_do_not(written, read, value):
    """Whether they can be read at all is said record by record."""
    writer = _schema([*([written] if written else []), {"name": "unknown", "type": "int"}, ID])
    record = {"unknown": 1, "id": "a"} | ({written["name"]: value} if written else {})
    _, rows, _ = await both_ways([writer], _schema([ID, read]), [(0, record)])

    assert rows is None


async def test_versions_in_turn_are_one_batch_in_their_order():
    """Three versions over thousands of records, the reader's own among them."""
    read = _schema([ID, of(["null", "double"], default=None)])
    written = [read, _schema([of("int"), ID]), _schema([ID])]
    records = [(n % 3, {"id": f"e{n}", **({} if n % 3 == 2 else {"x": n})}) for n in range(5_000)]
    _, rows, resolved = await both_ways(written, read, records)

    assert rows == resolved
    assert [f"e{n}" for n in range(5_000)] == [row["id"] for row in rows]


async def test_one_bad_record_leaves_all_of_them_to_be_read_one_by_one():
    """Of whichever version it is."""
    read, other = _schema([ID, of("long")]), _schema([of("int"), ID])
    codec, (first, second) = await registered(read, other)
    good = [headed(first, read, {"id": "a", "x": 1}), headed(second, other, {"id": "b", "x": 2})]
    columnar = await codec.columnar(good, read)

    assert [1, 2] == columnar.decode(good).column("x").to_pylist()
    for bad in (good[0][:-1], good[1] + b"\0", b"\0\0\0\0\x63" + good[0][5:], None, b"\0"):
        assert columnar.decode([*good, bad]) is None


async def test_other_defaults_of_the_reader_are_other_columns():
    """They are not part of what makes two schemas equal on the wire."""
    written = _schema([ID])
    codec, (schema_id,) = await registered(written)
    data = [headed(schema_id, written, {"id": "a"})]
    found = [
        (await codec.columnar(data, _schema([ID, of("int", default=number)]))).decode(data).column("x").to_pylist()
        for number in (1, 2)
    ]

    assert [[1], [2]] == found


async def test_a_writers_schema_is_known_once_a_record_had_it():
    """As it was registered, with units and times; nobody is asked."""
    raw = {"type": "record", "name": "Row", "fields": [{**ID, "doc": "Who.", "unit": "none"}]}
    codec, (schema_id,) = await registered(Schema.of(raw))

    assert codec.writer_schema(schema_id) is None
    await codec.columnar([headed(schema_id, Schema.of(raw), {"id": "a"})], Schema.of(raw))
    assert codec.writer_schema(schema_id) == raw


@pytest.mark.parametrize("fields", [[of("int"), of("int") | {"name": "old"}], [of("int") | {"name": "old"}, of("int")]])
async def test_a_field_by_its_name_and_by_its_alias_too_is_not_taken(fields):
    """Which of the two is meant depends on their order, so it is left to fastavro."""
    read = _schema([of("int", aliases=["old"]), {**ID, "default": ""}])
    _, rows, _ = await both_ways([_schema(fields)], read, [(0, {"x": 1, "old": 2})])

    assert rows is None


async def test_a_record_of_another_name_is_not_taken():
    """Avro resolves records by name: by the last part of it, or by an alias of the reader's."""
    written = {"type": "record", "name": "there.Line", "fields": [ID]}
    read = {"type": "record", "name": "here.Row", "fields": [ID, of("int", default=1)]}
    found = [
        await both_ways([Schema.of(written)], Schema.of({**read, **more}), [(0, {"id": "a"})])
        for more in ({}, {"aliases": ["Line"]}, {"name": "here.Line"})
    ]

    assert [None, [{"id": "a", "x": 1}], [{"id": "a", "x": 1}]] == [rows for _, rows, _ in found]
