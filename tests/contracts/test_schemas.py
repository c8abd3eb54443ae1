"""Finding, loading and parsing schemas."""

import pytest

from millrace.contracts import schemas
from millrace.contracts.errors import ProjectError
from millrace.contracts.schemas import Schema, row_schema, without_logical_types
from millrace.contracts.topics import DEAD_LETTERS


def test_newest_is_the_highest_version() -> None:
    """Without a version, the newest is meant."""
    for name in schemas.names():
        assert schemas.load(name, schemas.versions(name)[-1]) == schemas.load(name)


def test_a_loaded_schema_is_the_callers_own() -> None:
    """Changing what was loaded changes nothing for the next caller."""
    schemas.load("label-observed")["fields"].clear()

    assert len(schemas.load("label-observed")["fields"]) == 3


def test_times_are_plain_integers() -> None:
    """No logical type is left where Python reads; the raw schema keeps it for other readers."""
    newest = schemas.newest("prediction-made")

    assert "logicalType" not in str(newest.parsed)
    assert "timestamp-millis" in str(newest.raw)


def test_decimals_and_defaults_are_left_alone() -> None:
    """A decimal means nothing without its scale, and a default is data even if it looks like a schema."""
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    field = {"name": "logicalType", "type": {"type": "map", "values": "string"}, "default": {"logicalType": "kept"}}

    assert decimal == without_logical_types(decimal)
    assert field == without_logical_types(field)


def test_canonical_form_ignores_words() -> None:
    """Two schemas with the same bytes on the wire are equal in canonical form, whatever their docs say."""
    raw = {"type": "record", "name": "A", "fields": [{"name": "t", "type": {"type": "long"}}]}
    told = {**raw, "doc": "Told.", "fields": [{"name": "t", "type": "long", "doc": "Told."}]}

    assert Schema.of(raw).canonical == Schema.of(told).canonical
    assert Schema.of(raw).name == "A"


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"type": "string"},
        {"type": ["null", "string"]},
        {"type": "record", "name": "A"},
        {"type": "record", "name": "A", "fields": [{"name": "x", "type": "strnig"}]},
        {"type": "record", "name": "A", "fields": [{"name": "x"}]},
        {"type": "record", "name": "A", "fields": 7},
        {"type": "enum", "name": "A", "symbols": ["B"]},
    ],
)
def test_what_is_no_record_is_refused(raw: dict[str, object]) -> None:
    """A wrong schema is its owner's to mend, so it is a project error, never something of the library's."""
    with pytest.raises(ProjectError):
        Schema.of(raw)


NOTHING = {"type": "record", "name": "N", "fields": [{"name": "n", "type": "null"}]}


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "array", "items": "null"},
        {"type": "array", "items": NOTHING},
        {"type": "map", "values": {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}},
        [
            "null",
            {"type": "array", "items": {"type": "record", "name": "O", "fields": [{"name": "n", "type": NOTHING}]}},
        ],
    ],
)
def test_arrays_of_nothing_are_refused(kind: object) -> None:
    """Ten bytes could claim 2^60 items that take no bytes, and reading them would fill the memory."""
    with pytest.raises(ProjectError, match="take no bytes"):
        Schema.of({"type": "record", "name": "A", "fields": [{"name": "x", "type": kind}]})


def test_arrays_of_something_are_accepted() -> None:
    """A record of itself behind a union takes at least the byte that says so."""
    tree = {"type": "array", "items": "A"}
    wrapped = {"type": "array", "items": {"type": "record", "name": "B", "fields": [{"name": "y", "type": "int"}]}}
    fields = [{"name": "x", "type": tree}, {"name": "z", "type": ["null", wrapped]}]

    assert Schema.of({"type": "record", "name": "A", "fields": fields}).name == "A"


def test_dead_letters_have_no_schema() -> None:
    """Asking for it is a mistake in our code, not in the project."""
    with pytest.raises(ValueError, match="dead-letters"):
        row_schema(DEAD_LETTERS, None)  # type: ignore[arg-type]
