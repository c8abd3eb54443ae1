"""What a model project says about its data beyond the fields: lateness, entities, dead letters, quality, the lake."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from millrace.contracts.sections import Section

OnBreach = Literal["reject", "flag"]
"""What becomes of a record that breaks a rule: ``reject`` sends it to the dead letters with the reason, ``flag`` lets
it pass as a sample that names the rule. A flagged sample is scored, and is never trained on."""

OnBreachOrOff = Annotated[OnBreach | Literal["off"], BeforeValidator(lambda value: "off" if value is False else value)]
"""The same, or ``off``, which YAML reads as false."""


class Late(Section):
    """What becomes of an event that is older than the newest one of its entity (event time).

    Up to ``allowed_s`` behind it is simply out of order. Beyond that ``policy`` decides: ``accept`` takes it as it
    comes, ``flag`` and ``reject`` as for any expectation, under the reason ``late-event``. However it is decided,
    features never look ahead: those over a span of time see rows up to the event's own time only, those over rows
    see the rows that came before it in the samples log.
    """

    policy: Literal["accept", "flag", "reject"] = "accept"
    allowed_s: float = Field(0.0, ge=0)


class Entities(Section):
    """How long an entity is remembered. ``expire_after_s`` is event time of the partition; None is for ever."""

    expire_after_s: float | None = Field(None, gt=0)


class DeadLetterLimit(Section):
    """Ingest stops when it had to refuse more than ``share`` of the newest ``window_rows`` of a topic's partition.

    A deploy gone bad upstream would otherwise empty a whole stream into the dead letters. ``share`` of 1 never stops.
    """

    share: float = Field(0.9, gt=0, le=1)
    window_rows: int = Field(2_000, ge=10)


class Learned(Section):
    """What ingest does with the expectations that were learned from the training rows of the version that serves.

    Each rule is ``reject``, ``flag`` or ``off``. ``range_margin`` widens the learned range on both sides by
    ``range_margin * width * (width / (q99 - q01)) ** 2``: one width for a field that fills its range evenly, more where
    its tails are heavy.

    - ``missing``: a field that never was missing in training is missing.
    - ``range``: a number lies outside the widened range. Not learned of a field whose middle 90 % are one value, nor
      of a counter or a clock.
    - ``category``: a text that training never saw, where what training saw looks complete.
    """

    missing: OnBreachOrOff = "reject"
    range: OnBreachOrOff = "reject"
    category: OnBreachOrOff = "flag"
    range_margin: float = Field(1.0, ge=0)
    rows_min: int = Field(500, ge=1)


class DataQuality(Section):
    """How whole windows of arriving events are judged. A verdict is an event, an alert, and a veto on training.

    Every ``window_rows`` events of a partition are compared with what the serving version was trained on.
    ``false_alarms`` is the chance that a single comparison of a window that is like training raises an alarm.
    ``veto`` keeps the samples of an alarming window out of training.
    """

    window_rows: int = Field(500, ge=50)
    false_alarms: float = Field(1e-6, gt=0, lt=0.1)
    veto: bool = True


class Lake(Section):
    """The table of the stream's samples. ``partition_by`` is the event time's day, month or year.

    A commit is made after ``commit_rows`` rows or ``commit_s`` seconds, whichever is first; small files are compacted
    after ``compact_every`` commits.
    """

    partition_by: Literal["day", "month", "year"] = "day"
    commit_rows: int = Field(50_000, ge=1)
    commit_s: float = Field(5.0, gt=0)
    compact_every: int = Field(20, ge=2)


class DataPolicy(Section):
    """Everything that a project may say under ``data:``.

    ``state_every_rows`` is how many samples of a partition lie between two savings of its feature state.
    """

    late: Late = Late()
    entities: Entities = Entities()
    dead_letters: DeadLetterLimit = DeadLetterLimit()
    learned: Learned = Learned()
    quality: DataQuality = DataQuality()
    lake: Lake = Lake()
    state_every_rows: int = Field(50_000, ge=100)
