"""Records by the column: what pyruhvro reads and writes for us is what fastavro does, or it is not taken."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.columnar import HEADER_BYTES, Columnar
from millrace.contracts.errors import RegistryUnavailableError
from millrace.contracts.project import load_project
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import Schema, newest
from tests.contracts.avro_rows import ARRAY, ENUM, HEADER, batches, claims, plain_batches, proven, schema_of, write

ROOT = Path(__file__).parents[2]


# ---- good records ------------------------------------------------------------------------------------------------


@given(batches())
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
def test_every_good_batch_is_read_and_written_as_by_fastavro(drawn):
    """Record for record and bit for bit; and written again, byte for byte."""
    schema, records = drawn

    assert claims(schema, [write(schema, record) for record in records])


@given(plain_batches())
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
def test_columns_are_written_as_by_fastavro(drawn):
    """From plain lists by field name, as a service has them."""
    schema, records = drawn
    columnar = proven(schema)
    batch = columnar.batch({name: [record[name] for record in records] for name in schema.field_names})

    assert [write(schema, record) for record in records] == columnar.encode(batch, HEADER)


@given(batches(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_part_of_a_batch_is_written_as_such(drawn, data):
    """Rows cut out of a batch, or taken from it in another order, are those rows."""
    schema, records = drawn
    columnar, written = proven(schema), [write(schema, record) for record in records]
    batch = columnar.decode(written)
    start = data.draw(st.integers(0, len(written)))
    rows = data.draw(st.lists(st.integers(0, len(written) - 1)))

    assert [written[row] for row in rows] == columnar.encode(batch.take(pa.array(rows, pa.int64())), HEADER)
    assert written[start:] == columnar.encode(batch.slice(start), HEADER)


def test_thousands_of_records_are_one_batch():
    """As many as a fetch may bring, with all kinds of types at once."""
    schema = schema_of("string", "bytes", "long", ["null", "bytes"], ARRAY, ["null", "int", "string"], ENUM)
    written = [
        write(schema, {"f0": f"{n}", "f1": bytes([n % 256]) * (n % 5), "f2": n, "f3": None if n % 3 else b"x",
                       "f4": [n / 3] * (n % 4), "f5": [None, n, "q"][n % 3], "f6": ENUM["symbols"][n % 3]})
        for n in range(20_000)
    ]  # fmt: skip

    assert claims(schema, written)


@pytest.mark.parametrize(
    ("kind", "column"),
    [
        pytest.param("int", [2**31], id="too large an int"),
        pytest.param("int", [0.5], id="half in an int"),
        pytest.param("string", [1], id="int in a string"),
        pytest.param("string", ["\ud800"], id="half a surrogate pair"),
        pytest.param("string", [None], id="null"),
        pytest.param(ARRAY, [[1.0, None]], id="null in an array"),
        pytest.param(ENUM, ["NEITHER"], id="no such symbol"),
        pytest.param("long", pa.array(["a"]), id="another type"),
        pytest.param("long", [1, 2], id="too long"),
    ],
)
def test_what_the_schema_cannot_say_is_not_written(kind, column):
    """A ValueError, never another value instead."""
    columnar = proven(schema_of(kind, "int"))

    with pytest.raises(ValueError, match=r"."):
        columnar.encode(columnar.batch({"f0": column, "f1": [1]}), HEADER)


def test_columns_of_another_schema_are_not_written():
    """Neither others nor fewer."""
    ours, other = proven(schema_of("int", "string")), proven(schema_of("int"))

    with pytest.raises(ValueError, match="are not those of"):
        ours.encode(other.batch({"f0": [1]}), HEADER)
    with pytest.raises(ValueError, match="do not make a batch"):
        ours.batch({"f0": [1]})


def test_nothing_is_written_as_nothing():
    """No rows, no values; and nothing to read is no records."""
    columnar = proven(schema_of("int"))

    assert [] == columnar.encode(columnar.batch({"f0": []}), HEADER)
    assert columnar.decode([]).num_rows == 0


# ---- which schemas -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sample-recorded", "prediction-made", "label-observed"])
def test_what_services_read_and_write_goes_by_the_column(name):
    """They rely on it, for speed and for writing at all."""
    assert proven(newest(name)).arrow.names == newest(name).field_names


def test_the_example_goes_by_the_column():
    """Events of the kind that most users have."""
    project = load_project(ROOT / "examples" / "electricity")

    assert set(project.feature_fields) < set(proven(Schema.of(project.event_schema)).arrow.names)


DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
INNER = {"type": "record", "name": "Inner", "fields": [{"name": "a", "type": "int"}]}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("null", id="null"),
        pytest.param(["null"], id="null or nothing"),
        pytest.param(INNER, id="record"),
        pytest.param(["null", INNER], id="nullable record"),
        pytest.param(["null", "Row"], id="itself"),
        pytest.param({"type": "map", "values": "int"}, id="map"),
        pytest.param({"type": "fixed", "name": "Four", "size": 4}, id="fixed"),
        pytest.param({"type": "array", "items": "bytes"}, id="array of bytes"),
        pytest.param({"type": "array", "items": INNER}, id="array of records"),
        pytest.param({"type": "array", "items": ["null", "int"]}, id="array of nullables"),
        pytest.param({"type": "array", "items": ARRAY}, id="array of arrays"),
        pytest.param({"type": "array", "items": ENUM}, id="array of enums"),
        pytest.param(["null", ENUM, "int"], id="enum among others"),
        pytest.param(["int", ARRAY], id="array among others"),
        pytest.param(["bytes", "int"], id="bytes among others"),
        pytest.param(["bytes", "null", "string"], id="bytes and string"),
        pytest.param(DECIMAL, id="decimal"),
        pytest.param(["null", DECIMAL], id="nullable decimal"),
    ],
)
def test_other_types_are_not_taken(kind):
    """One such field is enough."""
    assert Columnar.of(schema_of("int", kind)) is None


# ---- the codec ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def codec() -> Codec:
    """A codec with labels and samples, whose ids are 1 and 2."""
    codec = Codec(LocalSchemas())
    for name in ("label-observed", "sample-recorded"):
        await codec.prepare_topic(name, schemas.load(name))
    return codec


def label(schema_id: int) -> bytes:
    """A label, said to be of this schema."""
    columns = {"event_id": "a", "label": 1.0, "label_time_ms": 5}
    record = {name: columns.get(name) for name in newest("label-observed").field_names}
    return b"\0" + schema_id.to_bytes(4, "big") + write(newest("label-observed"), record)[HEADER_BYTES:]


async def test_values_of_the_readers_schema_are_read_by_the_column(codec):
    """All of one id, which the registry knows for the schema that is expected."""
    columnar = await codec.columnar([label(1), label(1)], newest("label-observed"))

    assert columnar is codec.columnar_of(newest("label-observed"))
    assert columnar.decode([label(1), label(1)]).column("event_id").to_pylist() == ["a", "a"]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param([], id="nothing"),
        pytest.param([label(99)], id="unknown id"),
        pytest.param([label(1), label(99)], id="unknown id beside a good one"),
        pytest.param([label(2)], id="another schema"),
        pytest.param([label(1), label(2)], id="another schema beside a good one"),
        pytest.param([None], id="tombstone"),
        pytest.param([label(1), None], id="tombstone beside a good one"),
        pytest.param([b""], id="empty"),
        pytest.param([label(1), b"\0\0\0"], id="header cut short"),
        pytest.param([b"\0\0\0\0"], id="only headers cut short"),
        pytest.param([b"\x01" + label(1)[1:]], id="wrong magic"),
    ],
)
async def test_values_of_other_or_unknown_schemas_are_read_one_by_one(codec, written):
    """Who is at fault, if anyone, is said then. For other versions of the same schema see test_evolution.py."""
    assert await codec.columnar(written, newest("label-observed")) is None


async def test_a_registry_that_is_away_decides_nothing(codec):
    """The same records will be asked for again."""

    class Away(LocalSchemas):
        async def schema_by_id(self, schema_id: int) -> schemas.JsonSchema:
            raise RegistryUnavailableError("away")

    with pytest.raises(RegistryUnavailableError, match="away"):
        await Codec(Away()).columnar([label(1)], newest("label-observed"))
