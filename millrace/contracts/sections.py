"""The sections of model.yaml that stand by themselves. What holds between them is in ``project.py``."""

import math
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class Section(BaseModel):
    """A frozen part of model.yaml; a key that it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class EventFields(Section):
    """Which fields of the event are its id, its entity and its time."""

    schema_file: str = Field("event.avsc", alias="schema")
    id: str
    entity: str
    time: str


class Label(Section):
    """The truth that arrives later.

    ``delay_s`` is how long after its event a label normally becomes known (event time). ``wait_ms`` is how long ingest
    holds a later event of the same entity back for a label that is due but has not arrived (wall time).
    """

    task: Literal["classification", "regression"] = "classification"
    classes: tuple[str, ...] = ()
    delay_s: float = Field(ge=0)
    wait_ms: int = Field(1000, ge=0, le=600_000)

    @field_validator("classes", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        if isinstance(value, list) and any(isinstance(one, bool) for one in value):
            msg = f'YAML reads no and yes as truth values, got {value}; write them in quotes: ["no", "yes"]'
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _classes_fit_the_task(self) -> "Label":
        if self.task == "classification" and len(self.classes) < 2:
            msg = f"classification needs at least two classes, got {list(self.classes)}; write classes: ['no', 'yes']"
            raise ValueError(msg)
        if self.task == "regression" and self.classes:
            msg = f"regression has no classes, got {list(self.classes)}; remove them"
            raise ValueError(msg)
        return self

    def to_number(self, label: float | str) -> float:
        """The label as a number: a class's name or index becomes its index. ValueError if it is none of them."""
        if self.task == "regression":
            number = float(label)
            if not math.isfinite(number):
                msg = f"label {label!r} is no finite number"
                raise ValueError(msg)
            return number
        if isinstance(label, str) and label in self.classes:
            return float(self.classes.index(label))
        index = float(label) if not isinstance(label, str) else float("nan")
        if index in range(len(self.classes)):
            return index
        msg = f"label {label!r} is neither one of {list(self.classes)} nor an index of them"
        raise ValueError(msg)


class Dedupe(Section):
    """How many of the newest event ids of a partition are remembered, to recognise duplicates and join labels."""

    events: int = Field(200_000, ge=1_000)


class Dataset(Section):
    """A file with history, for ``millrace publish`` and ``millrace demo``: one row is one event, then its label.

    Columns named like fields of the event are taken as they are. What the file lacks is made: an id from ``id_prefix``
    and the row's number, one ``entity`` for all rows, and a time from ``start`` and ``every_s``. A label follows its
    event by ``label.delay_s``.
    """

    file: str
    label_column: str
    id_prefix: str = "row-"
    entity: str | None = None
    start: datetime | None = None
    every_s: float | None = Field(None, gt=0)
