"""Which fields are personal, and which marks are refused."""

from typing import Any

import pytest

from millrace.contracts.personal import Personal, personal_of
from millrace.contracts.schemas import Schema
from tests.support import EVENT


def schema(**marks: Any) -> dict[str, Any]:
    """The tests' event, with a mail address and a city that may be missing, and these marks."""
    fields = [*EVENT["fields"], {"name": "mail", "type": "string"}, {"name": "city", "type": ["null", "string"]}]
    return {
        **EVENT,
        "fields": [{**one, **({"personal": marks[one["name"]]} if one["name"] in marks else {})} for one in fields],
    }


def find(raw: dict[str, Any], **used: Any) -> Personal | None:
    """The personal fields, with the roles of the tests' project."""
    return personal_of(raw, **{"id": "id", "entity": "who", "time": "at", **used})


@pytest.mark.parametrize("marks", [{}, {"mail": False}])
def test_without_marks_nothing_is_personal(marks: dict[str, Any]) -> None:
    """False is no mark."""
    assert find(schema(**marks)) is None


def test_marks_are_found() -> None:
    """The subject first, the others sorted."""
    found = find(schema(who="subject", mail=True, city=True))

    assert Personal("who", ("city", "mail")) == found
    assert ("who", "city", "mail") == found.fields


def test_a_mark_changes_nothing_on_the_wire() -> None:
    """Marking a field later is compatible: the canonical form of the schema stays."""
    assert Schema.of(schema()).canonical == Schema.of(schema(who="subject", mail=True)).canonical


@pytest.mark.parametrize(
    ("marks", "used", "words"),
    [
        ({"mail": True}, {}, r"none of \['mail'\] does; mark the entity field 'who'"),
        ({"who": "subject", "mail": "subject"}, {}, r"\['mail', 'who'\] do"),
        ({"mail": "subject"}, {}, "'mail' is marked \"subject\", but event.entity is 'who'"),
        ({"who": "yes"}, {}, "'who' has \"personal\": 'yes'; use true, or"),
        ({"who": 1}, {}, "'who' has \"personal\": 1"),
        ({"who": "subject", "x": True}, {}, r"'x' is of type \['null', 'double'\]"),
        ({"who": "subject", "id": True}, {}, "event.id 'id' may not be personal"),
        ({"who": "subject", "at": True}, {}, "'at' is of type"),
        ({"who": "subject", "mail": True}, {"time": "mail"}, "event.time 'mail' may not be personal"),
        ({"who": "subject", "mail": True}, {"numeric": ["x", "mail"]}, r"\['mail'\] may not be personal: numbers"),
        ({"who": "subject", "city": True}, {"categories": ["city"]}, r"\['city'\] may not be personal: its texts"),
    ],
)
def test_what_cannot_be_replaced_is_refused(marks: dict[str, Any], used: dict[str, Any], words: str) -> None:
    """The message names the field, what was seen, and the way out."""
    with pytest.raises(ValueError, match=words):
        find(schema(**marks), **used)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "string", "personal": True},
        ["null", {"type": "string", "personal": True}],
        {"type": "array", "items": {"type": "string", "personal": True}},
        {"type": "record", "name": "Home", "fields": [{"name": "street", "type": "string", "personal": True}]},
    ],
)
def test_a_mark_inside_a_type_is_refused(kind: Any) -> None:
    """Nobody would look for it there, and the value would stay in the clear."""
    raw = schema(who="subject")
    raw["fields"].append({"name": "home", "type": kind})

    with pytest.raises(ValueError, match="'home': \"personal\" stands inside"):
        find(raw)


@pytest.mark.parametrize("kind", [{"type": "string", "logicalType": "uuid"}, "bytes", ["null", "string", "long"]])
def test_only_plain_text_is_personal(kind: Any) -> None:
    """A pseudonym is no UUID, and no number."""
    raw = schema(who="subject")
    raw["fields"].append({"name": "more", "type": kind, "personal": True})

    with pytest.raises(ValueError, match="personal field 'more' is of type"):
        find(raw)
