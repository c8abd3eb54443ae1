"""What every schema under ``schemas/`` must satisfy, and that schemas, classes and topics are one closed tree."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from itertools import chain
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from fastavro import json_reader

from millrace.contracts import schemas
from millrace.contracts.codec import Codec
from millrace.contracts.compatibility import explain_change, level_of
from millrace.contracts.events import EVENTS, Event, Value
from millrace.contracts.registry_client import LocalSchemas
from millrace.contracts.schemas import JsonSchema
from millrace.contracts.topics import DEAD_LETTERS, TABLE, TopicRow
from millrace.contracts.topics import EVENTS as EVENTS_TOPIC

NAMES = schemas.names()
CLASSES: dict[str, type[Event]] = {event.schema_name: event for event in EVENTS}
ROWS: dict[str, TopicRow] = {row.schema: row for row in TABLE if row.schema is not None}
EXAMPLES = [(name, file) for name in NAMES for file in schemas.examples(name)]
SERVICES = {"ingest", "trainer", "registry", "serving", "monitor"}

# A released version is never edited. To change an event add the next version; see schemas/README.md.
FROZEN: dict[str, str] = {
    "alert-handled/v1": "4c43d6746d80e686a87b8d6fdb94669098872265e90d031547cc2c997254cf2c",
    "alert-raised/v1": "e0ed73d19efccc8ec9198b761930bae310153c73b164345055b24a8cb6172cae",
    "alert-raised/v2": "9654492fafce4ddcb6f06e954be65fc0e688fffb630b17bcfde1bcd023a472f8",
    "audit-recorded/v1": "811d2d21dcc024609da80e09b110628fc7673d881e4c1a73ac80ad3be19b5692",
    "audit-recorded/v2": "994def8f8cc2205839da332c6ba813aa84442bfac7b5daa2432b7be3c601edc4",
    "data-quality-judged/v1": "b94b5cf930bba8d0bec0ffa2f2588008c282249a59402a34a9b9e2ae267dc656",
    "data-snapshot-taken/v1": "3072fce3c5522f966e1771685bd919344901f30950ad998c695abcee0dfa0914",
    "data-snapshot-taken/v2": "f57a18e222a49a1d9485c8e1edb74421f936091d96555cbaafa2bf3dec5841b3",
    "deployment-decided/v1": "0b26491777399c0ecc6bd7b084912ce08833f0dad5cf3a18bfd2824430366e86",
    "deployment-decided/v2": "d72c33655c342f522b446512f76e3d4bf512329f7763eb3d9758b14e64f1f8ac",
    "drift-detected/v1": "774a71cdea64fad10f77d1dbf3508e8c91b66ab104088f86efc063f705f7c8db",
    "drift-detected/v2": "7c6142a7c657066cd0e26eec0e582eeb086bb2345dac9adc7992edd8608192b8",
    "expectations-learned/v1": "fffd4c59a61eb8baec8707f47f98eef672964a0e5d2247ed4112dcc78e479fe3",
    "feature-state-saved/v1": "d5bfc050b31b50c467bad4bf98239e38edc9dc4e0ed6e96c82aa58fb2c96fe81",
    "label-observed/v1": "130aa54d969aee035f1179ef610c5966e780f67a3634791003095c242c2187d5",
    "manage-model/v1": "e59f3062976c0ffd44627afc84b2e2f1b130682070f8785c0f1dde751db4ec4f",
    "model-metrics-measured/v1": "cb94a148181b2f5224b27ff21be300d66df26bab37bd15620c00d219b5f67a5f",
    "model-metrics-measured/v2": "99500b3e9337a01a056fa8b19451d34d5ec79669a6b4e28652be49c07af59db3",
    "model-version-changed/v1": "d5f2cbd7b20fcfb00e08a1e4ae5555e13d44b01a714f7a32054d1900d785cc96",
    "model-version-changed/v2": "85fee477f75f34765f03f11fabc3928d379271910bff979728966fa7321915a4",
    "monitor-state-saved/v1": "bdf06d17173bf252032eab2e10f88910b23d69aa73f5d61e1e11c026eeb6d48a",
    "observations-recorded/v1": "deb8839ace148b2a6ac2b2ae543e638c594b61112373fc8182279983b6b4723c",
    "observations-recorded/v2": "912c627f3182fdca73df956475544fe47db489b317cd0d313a19bcf12dd9fc93",
    "observations-recorded/v3": "1e87358857161d59379e7a6741069d49bc83b5df4efed2f4bd4660ff753226e9",
    "prediction-made/v1": "f3a92157bdaa726fa05b9696008694e42812a10bdf753f34bb3e43bd0fde1e53",
    "retrain-model/v1": "17f5cd5c4d3ffcf41ca60493c327a33068b2b26dc45d694d5683a9ae364a6731",
    "retrain-model/v2": "24195f5f1ce2ca4afd2321b646dc8a384de569d2feaa654b2ff3e8e3e1141c83",
    "retrain-model/v3": "1353e364bccd272f5cc47f803c73d190c79bf8ee330cb422431048c854328d44",
    "rollout-measured/v1": "f6a951710baa9f638235580445e94aea2c06f655f0e416bb7659a377d168434f",
    "rollout-measured/v2": "1dab70b4c8e8d3814619b30ca982c0931465087e55a55aed00736399dcb459c3",
    "sample-recorded/v1": "f395458707d358e6ef9f777aa77e374fee1104a1621fac897332a939645a43b1",
    "sample-recorded/v2": "6c91e310c951fd564a13c0a33529b1b5fa489fe62e605d48266110525aaea512",
    "serving-status-reported/v1": "b1ebe4f3b988a34851761e7661539964786f85af224406e7d1051782be41ca16",
    "training-profile-recorded/v1": "a27a169a3a99a0c322cda38c16b04ea4beeb29170a02c2b9d8c8c4ad7b562be1",
    "training-run-changed/v1": "0756cc7de2a4784734cefc198656522791410e7f41a1ff5f850ad4ad6a978ad2",
    "training-run-changed/v2": "17056871d0dd9130ee70cbe98801e694349209abc05df1cf296c83bde6001782",
    "training-run-changed/v3": "71f6f44e4887d1d4bbcdaa16bbc088685050166d4d85a4ca7b85db06e34f55bd",
}

UNIT_BY_ENDING = {
    "_at_ms": "ms since 1970-01-01T00:00:00Z",
    "time_ms": "ms since 1970-01-01T00:00:00Z",
    "since_ms": "ms since 1970-01-01T00:00:00Z",
    "_s": "s",
    "rows": "rows",
    "offset": "offset",
    "_bytes": "bytes",
    "share": "0..1",
}
# Numbers that count nothing and measure nothing: they only tell one thing from another.
NAMING_NUMBERS = ("version", "partition", "epoch", "seed")
NUMERIC = {"int", "long", "float", "double"}


def fields_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every field of a schema, those of inner records too."""
    if isinstance(schema, list):
        yield from chain.from_iterable(fields_of(part) for part in schema)
    elif isinstance(schema, dict):
        for field in schema.get("fields", []):
            yield field
            yield from fields_of(field["type"])
        for part in ("items", "values"):
            yield from fields_of(schema.get(part))


def records_of(schema: Any) -> Iterator[dict[str, Any]]:
    """Every record in a schema, itself first."""
    if isinstance(schema, list):
        yield from chain.from_iterable(records_of(part) for part in schema)
    elif isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
            yield from chain.from_iterable(records_of(field["type"]) for field in schema["fields"])
        for part in ("items", "values"):
            yield from records_of(schema.get(part))


def shape_of_schema(kind: Any, named: dict[str, Any] | None = None) -> Any:
    """An Avro type in the common form of both worlds. ``named`` has the records met so far, by name."""
    named = {} if named is None else named
    if isinstance(kind, list):
        return frozenset(shape_of_schema(branch, named) for branch in kind)
    name = kind["type"] if isinstance(kind, dict) else kind
    if name in named:
        return named[name]
    plain = {"int": "integer", "long": "integer", "float": "real", "double": "real"}
    inner: dict[str, Callable[[], Any]] = {
        "enum": lambda: frozenset(kind["symbols"]),
        "array": lambda: shape_of_schema(kind["items"], named),
        "map": lambda: shape_of_schema(kind["values"], named),
    }
    if name == "record":
        fields = tuple((field["name"], shape_of_schema(field["type"], named)) for field in kind["fields"])
        named[kind["name"]] = ("record", kind["name"], fields)
        return named[kind["name"]]
    return (name, inner[name]()) if name in inner else plain.get(name, name)


def shape_of_class(annotation: Any) -> Any:
    """A Python annotation in the common form of both worlds."""
    plain = {str: "string", bytes: "bytes", bool: "boolean", int: "integer", float: "real", type(None): "null"}
    if isinstance(annotation, type) and issubclass(annotation, Value):
        fields = tuple((name, shape_of_class(field.annotation)) for name, field in annotation.model_fields.items())
        return ("record", annotation.__name__, fields)
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return frozenset(shape_of_class(part) for part in parts)
    if origin is Literal:
        return ("enum", frozenset(parts))
    if origin is tuple:
        assert parts[1] is Ellipsis, "Avro has no tuples of fixed length"
        return ("array", shape_of_class(parts[0]))
    if origin is Mapping:
        assert parts[0] is str, "Avro's maps have string keys"
        return ("map", shape_of_class(parts[1]))
    return plain[annotation]


def is_numeric(kind: Any) -> bool:
    """Whether values of this type, or of any branch or item of it, are numbers."""
    if isinstance(kind, list):
        return any(is_numeric(branch) for branch in kind)
    if isinstance(kind, dict):
        return is_numeric(kind["items"]) if kind["type"] == "array" else is_numeric(kind["type"])
    return kind in NUMERIC


def read_example(name: str, file: str) -> dict[str, Any]:
    """The example as fastavro's JSON decoder gives it; ``json_reader`` wants one record a line."""
    line = json.dumps(json.loads(schemas.examples(name)[file]))
    record: Any = next(json_reader(StringIO(line), schemas.newest(name).parsed))
    assert isinstance(record, dict)
    return record


def test_the_tree_is_closed() -> None:
    """Each schema has one class and a topic, each class and each topic one schema, and nothing is left over."""
    assert len(EVENTS) == len(CLASSES) == len(NAMES) >= 14
    assert set(NAMES) == set(CLASSES) == set(ROWS)
    assert [row for row in TABLE if row.schema is None] == [EVENTS_TOPIC, DEAD_LETTERS]
    assert len(ROWS) + 2 + 1 == len(TABLE)  # shadow-predictions are predictions too
    assert len(TABLE) == len({(row.scope, row.suffix) for row in TABLE})


def test_every_value_is_used_by_an_event() -> None:
    """No class for a part of an event is left behind when the event no longer has that part."""
    used = {record["name"] for name in NAMES for record in records_of(schemas.load(name))}
    declared = {cls.__name__ for cls in Value.__subclasses__() if cls is not Event}

    assert declared <= used
    assert len(declared) >= 5


def test_every_topic_has_writers_and_readers() -> None:
    """A topic that nobody writes or nobody reads would be dead; every service takes part."""
    for row in TABLE:
        assert row.writers, row.suffix
        assert row.readers, row.suffix
        assert row.what, row.suffix

    assert {writer for row in TABLE for writer in row.writers} >= SERVICES
    assert {reader for row in TABLE for reader in row.readers} >= SERVICES


@pytest.mark.parametrize("name", NAMES)
def test_names_and_versions(name: str) -> None:
    """The folder is the record's name in lower case with hyphens; versions count from 1 without a gap."""
    versions = schemas.versions(name)
    raw = schemas.load(name)

    assert versions == tuple(range(1, len(versions) + 1))
    assert re.sub(r"(?<!^)(?=[A-Z])", "-", raw["name"]).lower() == name
    assert raw["namespace"] == "millrace"
    assert CLASSES[name].__name__ == raw["name"]


@pytest.mark.parametrize("name", NAMES)
def test_class_and_schema_agree(name: str) -> None:
    """Field names and order, types, nullability and enum symbols are the same in both, through inner records."""
    assert shape_of_class(CLASSES[name]) == shape_of_schema(schemas.load(name))


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_documented(name: str) -> None:
    """Every record and field says what it means, in a sentence; the class says it too."""
    raw = schemas.load(name)
    docs = [part.get("doc", "") for part in chain(records_of(raw), fields_of(raw))]

    assert all(doc.endswith(".") and len(doc) > 5 for doc in docs), docs
    assert len(docs) >= 4
    assert CLASSES[name].__doc__


@pytest.mark.parametrize("name", NAMES)
def test_every_measure_has_its_unit(name: str) -> None:
    """A number has a unit, the one its name ends with, unless it only tells one thing from another."""
    numbers = [field for field in fields_of(schemas.load(name)) if is_numeric(field["type"])]
    for field in numbers:
        ending = next((unit for end, unit in UNIT_BY_ENDING.items() if field["name"].endswith(end)), None)
        if field["name"].endswith(NAMING_NUMBERS):
            assert "unit" not in field, field
        else:
            assert field.get("unit"), f"{name}: {field['name']} measures something; say in what unit"
            assert ending in {None, field["unit"]}, field

    assert numbers


@pytest.mark.parametrize("name", NAMES)
def test_times_are_declared_and_nullable_fields_have_defaults(name: str) -> None:
    """Milliseconds since 1970 are timestamp-millis for every other reader; what may be null is null by default."""
    for field in fields_of(schemas.load(name)):
        is_time = "timestamp-millis" in json.dumps(field["type"])
        nullable = isinstance(field["type"], list) and "null" in field["type"]

        assert is_time == field.get("unit", "").startswith("ms since 1970"), field
        assert not nullable or (field["type"][0] == "null" and field["default"] is None), field


def test_every_schema_has_examples() -> None:
    """At least one good and two bad records each, and no file that is neither."""
    for name in NAMES:
        files = list(schemas.examples(name))
        assert sum(file.startswith("ok-") for file in files) >= 1, name
        assert sum(file.startswith("bad-") for file in files) >= 2, name
        assert all(file.startswith(("ok-", "bad-")) for file in files), name

    assert len(EXAMPLES) >= 3 * len(NAMES)


@pytest.mark.parametrize(("name", "file"), [case for case in EXAMPLES if case[1].startswith("ok-")])
async def test_good_examples_survive_the_wire(name: str, file: str) -> None:
    """A good example becomes an event, the event bytes, and the bytes the same event."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic(name, schemas.load(name))
    record = read_example(name, file)
    event = CLASSES[name].model_validate(record)
    data = codec.encode(name, event)

    assert event == await codec.decode(CLASSES[name], data)
    assert data == codec.encode_record(name, record)
    assert event.model_dump() == event.to_record()


@pytest.mark.parametrize(("name", "file"), [case for case in EXAMPLES if case[1].startswith("bad-")])
async def test_bad_examples_are_refused(name: str, file: str) -> None:
    """A bad example cannot be read or written, and differs from a good one in one field only: the one it is about."""
    codec = Codec(LocalSchemas())
    await codec.prepare_topic(name, schemas.load(name))
    bad, missing = json.loads(schemas.examples(name)[file]), object()
    good = [json.loads(text) for other, text in schemas.examples(name).items() if other.startswith("ok-")]
    differences = [{key for key in ok | bad if ok.get(key, missing) != bad.get(key, missing)} for ok in good]

    assert min(len(keys) for keys in differences) == 1
    with pytest.raises(Exception):  # noqa: B017, PT011 - the JSON decoder has no error of its own
        codec.encode_record(name, read_example(name, file))


def test_released_versions_are_frozen() -> None:
    """Nobody edits a version that records in the log were written with."""
    seen = {
        f"{name}/v{version}": hashlib.sha256(schemas.text(name, version).encode()).hexdigest()
        for name in NAMES
        for version in schemas.versions(name)
    }

    assert seen == FROZEN, "add a new version instead of editing one; freeze a new one by adding its SHA-256 here"
    assert len(seen) >= len(NAMES)


def broken_rules(name: str, new: JsonSchema, olds: list[JsonSchema]) -> list[str]:
    """What a new version would break, at the level of the event's topic."""
    return [reason for old in olds for reason in explain_change(new, old, level_of(ROWS[name]))]


def test_versions_evolve_both_ways() -> None:
    """Each version can follow all before it; units and kinds of time never change under a name."""
    pairs = 0
    for name in NAMES:
        versions = schemas.versions(name)
        loaded = [schemas.load(name, version) for version in versions]
        for count, new in enumerate(loaded):
            assert broken_rules(name, new, loaded[:count]) == [], f"{name}/v{versions[count]}"
            assert units_changed(new, loaded[:count]) == [], f"{name}/v{versions[count]}"
            pairs += count

    assert pairs == sum(n * (n - 1) // 2 for n in (len(schemas.versions(name)) for name in NAMES))


def units_changed(new: JsonSchema, olds: list[JsonSchema]) -> list[str]:
    """Fields of the record whose unit or kind of time is not what it was; Avro itself does not mind."""
    return [
        field["name"]
        for old in olds
        for before in old["fields"]
        for field in new["fields"]
        if field["name"] == before["name"]
        and (field.get("unit"), "timestamp-millis" in str(field))
        != (before.get("unit"), "timestamp-millis" in str(before))
    ]


def planted(change: Callable[[dict[str, Any]], None], name: str) -> JsonSchema:
    """A v2 that does this to the first field of v1."""
    schema = schemas.load(name)
    change(schema)
    return schema


def _remove(schema: dict[str, Any]) -> None:
    schema["fields"].pop(0)


def _rename(schema: dict[str, Any]) -> None:
    schema["fields"][0]["name"] += "_new"


def _retype(schema: dict[str, Any]) -> None:
    schema["fields"][0]["type"] = "boolean"


def _require(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "extra", "type": "string", "doc": "New."})


def _offer(schema: dict[str, Any]) -> None:
    schema["fields"].append({"name": "extra", "type": "string", "doc": "New.", "default": ""})


def _explain(schema: dict[str, Any]) -> None:
    schema["fields"][0]["doc"] = "Better words."


FORBIDDEN = (_rename, _retype, _require)
ALLOWED = (_offer, _explain)


def test_planted_incompatible_versions_are_caught() -> None:
    """Shown failing: a rename, a new type and a new demand are caught in every schema; harmless changes are not."""
    caught = [
        name
        for name in NAMES
        for change in FORBIDDEN
        if broken_rules(name, planted(change, name), [schemas.load(name)])
    ]
    passed = [
        name
        for name in NAMES
        for change in ALLOWED
        if not broken_rules(name, planted(change, name), [schemas.load(name)])
    ]
    removed = [name for name in NAMES if broken_rules(name, planted(_remove, name), [schemas.load(name)])]

    assert len(caught) == len(FORBIDDEN) * len(NAMES)
    assert len(passed) == len(ALLOWED) * len(NAMES)
    assert [name for name in NAMES if not ROWS[name].is_input] == removed, "only upstream may stop sending a field"


def test_planted_change_of_unit_is_caught() -> None:
    """Shown failing: seconds under the name of milliseconds read well and mean nonsense."""
    new = schemas.load("prediction-made")
    next(field for field in new["fields"] if field["name"] == "predicted_at_ms")["unit"] = (
        "s since 1970-01-01T00:00:00Z"
    )

    assert units_changed(new, [schemas.load("prediction-made")]) == ["predicted_at_ms"]
