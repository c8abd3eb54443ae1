"""Which records are let in: the contract's fields, and what is expected of them, judged one record at a time. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from millrace.contracts.errors import ContractError
from millrace.contracts.expectations import Fresh
from millrace.contracts.project import Project
from millrace.expectations.judge import breaches, shown
from millrace.expectations.learned import LearnedRules

EARLIEST_MS = -62_135_596_800_000  # year 1, and
LATEST_MS = 253_402_300_799_999  # year 9999: what the dates of most languages can hold
LONGEST_ID = 1_000  # characters; ids stand in samples, predictions and frames again


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an event is about, and when it happened."""

    event_id: str
    entity: str
    time_ms: int


def identify(project: Project, values: Mapping[str, object]) -> Identity:
    """The event's id, entity and time.

    Raises:
        ContractError: one of them is missing or empty (``missing-field``), an id is too long (``bad-id``), or the time
            is no number, or none of the years 1 to 9999 (``bad-time``).
    """
    fields = project.event
    event_id, entity, time = (values.get(name) for name in (fields.id, fields.entity, fields.time))
    for name, value in ((fields.id, event_id), (fields.entity, entity), (fields.time, time)):
        if value is None or value == "":
            raise ContractError("missing-field", f"field {name!r} is missing; every event needs it")
    for name, value in ((fields.id, str(event_id)), (fields.entity, str(entity))):
        if len(value) > LONGEST_ID:
            raise ContractError("bad-id", f"field {name!r} has {len(value)} characters, at most {LONGEST_ID} are taken")
    if not isinstance(time, int | float) or not math.isfinite(time):
        raise ContractError("bad-time", f"field {fields.time!r} is {time!r}, a number of time units is needed")
    time_ms = round(time if project.time_to_ms == 1 else time * project.time_to_ms)
    if not EARLIEST_MS <= time_ms <= LATEST_MS:
        raise ContractError("bad-time", f"field {fields.time!r} is {time!r}, that is not in the years 1 to 9999")
    return Identity(str(event_id), str(entity), time_ms)


def check_size(size_bytes: int, largest_bytes: int) -> None:
    """Refuse an event that does not fit into a sample. Raises ``ContractError`` (``too-large``)."""
    if size_bytes > largest_bytes:
        raise ContractError("too-large", f"the event has {size_bytes} bytes, at most {largest_bytes} fit into a sample")


def check_expectations(
    project: Project,
    values: Mapping[str, object],
    *,
    received_ms: int | None = None,
    learned: LearnedRules | None = None,
) -> tuple[str, ...]:
    """Hold the event to the expectations of model.yaml, and to those learned for the model that serves.

    ``values`` are those of an event that ``identify`` took. ``received_ms`` is when the broker got it; where that is
    not known (None, or negative as in Kafka) freshness is not judged. Rules that look at earlier rows are not judged
    here.

    Returns:
        The flags that the sample must carry, such as ``unseen-category:day``: one for each rule with ``action: flag``
        that is broken.

    Raises:
        ContractError: the first rule with ``action: reject`` that is broken, with the value seen. The value of a field
            that the schema marks as personal is not shown.
    """
    personal = project.personal_fields
    for field in project.feature_fields:
        value = values.get(field)
        if isinstance(value, float) and math.isinf(value):
            seen = shown(field, value, personal)
            raise ContractError("out-of-range", f"field {field!r} is {seen}, a finite number is needed")
    age_ms = None
    if received_ms is not None and received_ms >= 0 and any(isinstance(rule, Fresh) for rule in project.expectations):
        age_ms = received_ms - identify(project, values).time_ms
    found = breaches(project.expectations, values, personal=personal, age_ms=age_ms)
    if learned is not None:
        found = chain(found, learned.breaches(values, personal=personal))
    flags = []
    for breach in found:
        if breach.on == "reject":
            raise ContractError(breach.slug, breach.message)
        flags.append(breach.flag)
    return tuple(dict.fromkeys(flags))
