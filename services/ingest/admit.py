"""Which records are let in: the contract's fields and the declared expectations, judged one record at a time. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from millrace.contracts.errors import ContractError
from millrace.contracts.project import Project


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an event is about, and when it happened."""

    event_id: str
    entity: str
    time_ms: int


def identify(project: Project, values: Mapping[str, object]) -> Identity:
    """The event's id, entity and time.

    Raises:
        ContractError: one of them is missing or empty (``missing-field``), or the time is no number (``bad-time``).
    """
    fields = project.event
    event_id, entity, time = (values.get(name) for name in (fields.id, fields.entity, fields.time))
    for name, value in ((fields.id, event_id), (fields.entity, entity), (fields.time, time)):
        if value is None or value == "":
            raise ContractError("missing-field", f"field {name!r} is missing; every event needs it")
    if not isinstance(time, int | float) or not math.isfinite(time):
        raise ContractError("bad-time", f"field {fields.time!r} is {time!r}, a number of time units is needed")
    return Identity(str(event_id), str(entity), round(time * project.time_to_ms))


def check_expectations(project: Project, values: Mapping[str, object]) -> None:
    """Hold the event's values to the expectations of model.yaml.

    Raises:
        ContractError: the first expectation that is not met, as ``missing-field`` or ``out-of-range``, with the value.
    """
    for rule in project.expectations:
        value = values.get(rule.field)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            if rule.required:
                raise ContractError("missing-field", f"field {rule.field!r} is missing; model.yaml requires it")
            continue
        assert isinstance(value, int | float), "the project admits expectations on numeric fields only"
        if (rule.min is not None and value < rule.min) or (rule.max is not None and value > rule.max):
            low = "-inf" if rule.min is None else rule.min
            high = "inf" if rule.max is None else rule.max
            raise ContractError("out-of-range", f"field {rule.field!r} is {value}, expected {low} to {high}")
