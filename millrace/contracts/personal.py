"""Which fields of an event are personal, as event.avsc marks them. Pure.

A field with ``"personal": "subject"`` names the person that the event is about: it is the entity field, because
features, order and erasure go by entity. One with ``"personal": true`` tells something about that person. Ingest
replaces both by pseudonyms before it writes a sample; how is said in ``services/ingest/pseudonyms.py``. What cannot be
replaced without breaking something else is refused here, before anything runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MARK = "personal"
SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class Personal:
    """The personal fields of an event: ``subject`` names the person, ``others`` are about that person, sorted."""

    subject: str
    others: tuple[str, ...] = ()

    @property
    def fields(self) -> tuple[str, ...]:
        """All of them, the subject first."""
        return (self.subject, *self.others)


def personal_of(
    event_schema: Mapping[str, Any],
    *,
    id: str,  # noqa: A002  # the name that model.yaml gives it
    entity: str,
    time: str,
    numeric: Iterable[str] = (),
    categories: Iterable[str] = (),
) -> Personal | None:
    """The personal fields that the schema marks, or None if it marks none.

    ``numeric`` are the fields that numbers are computed from (features, expectations), ``categories`` those that
    features encode or expectations list as texts.

    Raises:
        ValueError: a mark is unknown or stands inside a field; no field or several name the person, or one that is not
            the entity; a personal field is no string, or is the event's id or time, or something is computed from it.

    >>> fields = [{"name": "who", "type": "string", "personal": "subject"}, {"name": "id", "type": "string"}]
    >>> personal_of({"fields": fields}, id="id", entity="who", time="at")
    Personal(subject='who', others=())
    """
    fields = list(event_schema.get("fields", ()))
    for field in fields:
        _refuse_inner_mark(str(field["name"]), field["type"])
    marks = {str(field["name"]): field[MARK] for field in fields if field.get(MARK, False) is not False}
    if not marks:
        return None
    subjects = [name for name, mark in marks.items() if _is_subject(name, mark)]
    if len(subjects) != 1:
        seen = f"{sorted(subjects)} do" if subjects else f"none of {sorted(marks)} does"
        raise ValueError(
            f"exactly one personal field must name the person, {seen}; mark the entity field {entity!r} with "
            '"personal": "subject"'
        )
    if subjects[0] != entity:
        raise ValueError(
            f'personal field {subjects[0]!r} is marked "subject", but event.entity is {entity!r}: features, order and '
            "erasure go by entity, so the entity has to be the person; mark that field, or name this one as entity"
        )
    types = {str(field["name"]): field["type"] for field in fields}
    for name in marks:
        _refuse_type(name, types[name])
    _refuse_roles(marks, {"event.id": id, "event.time": time})
    _refuse_use(marks, numeric, "numbers are computed from it")
    _refuse_use(marks, categories, "its texts are told apart as categories")
    return Personal(subjects[0], tuple(sorted(marks.keys() - set(subjects))))


def _is_subject(name: str, mark: object) -> bool:
    if mark is True:
        return False
    if mark != SUBJECT:
        raise ValueError(f'field {name!r} has "personal": {mark!r}; use true, or "subject" for the one that names them')
    return True


def _refuse_inner_mark(name: str, kind: Any) -> None:
    """A mark where nobody looks for it would leave the value in the clear, so it is an error."""
    if isinstance(kind, list):
        for branch in kind:
            _refuse_inner_mark(name, branch)
    elif isinstance(kind, Mapping):
        if kind.get(MARK, False) is not False:
            raise ValueError(f'field {name!r}: "personal" stands inside the field\'s type; put it beside its "name"')
        for inner in ("type", "items", "values", "fields"):
            _refuse_inner_mark(name, kind.get(inner))


def _refuse_type(name: str, kind: Any) -> None:
    branches = kind if isinstance(kind, list) else [kind]
    plain = [branch for branch in branches if branch != "null"]
    if plain != ["string"]:
        raise ValueError(f"personal field {name!r} is of type {kind!r}; only string, or null and string, can be one")


def _refuse_roles(marks: Mapping[str, object], roles: Mapping[str, str]) -> None:
    for role, name in roles.items():
        if name in marks:
            raise ValueError(
                f"{role} {name!r} may not be personal: it stands in labels, predictions and dead letters as it came; "
                "give the event one that tells nothing about the person"
            )


def _refuse_use(marks: Mapping[str, object], used: Iterable[str], why: str) -> None:
    names = sorted(set(used) & marks.keys())
    if names:
        raise ValueError(f"{names} may not be personal: {why}; ingest only hands on pseudonyms of personal fields")
