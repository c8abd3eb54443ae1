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


class Adwin(Section):
    """Parameters of river's ADWIN; see ``services/monitor/detect/adwin.py``."""

    delta: float = Field(gt=0, lt=1)
    clock: int = Field(32, ge=1)
    min_window_length: int = Field(5, ge=1)
    grace_period: int = Field(10, ge=1)


class Persisting(Section):
    """The rule for an error that stays high after an alarm: it raises another one, once cool-down and warm-up are over.

    ``margin`` is how far above its level before the drift the error may stay, in the unit of the error (a share for
    classification). ``limit`` is how often the rule may speak after one drift. ``new_version`` says whether it also
    judges a version that was deployed since.
    """

    margin: float = Field(0.03, ge=0)
    limit: int = Field(3, ge=0)
    new_version: bool = True


class Monitors(Section):
    """What the monitor watches, and how often it may ask for a retrain.

    ``cool_down_rows`` labelled rows must pass between two alarms of one subject; ``warm_up_rows`` after a new version
    began to serve. ``persisting`` of null turns that rule off. ``open_s`` is how long a request that nobody answers
    keeps others back (wall time).
    """

    error: Adwin = Adwin(delta=0.002)
    features: Adwin = Adwin(delta=1e-6)
    cool_down_rows: int = Field(1000, ge=0)
    warm_up_rows: int = Field(200, ge=0)
    persisting: Persisting | None = Persisting()
    open_s: float = Field(86_400, gt=0)
    metrics_window_rows: int = Field(500, ge=10)


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
