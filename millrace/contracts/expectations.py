"""What a model owner expects of the data: the rules that model.yaml lists under ``expectations:``.

A rule without a ``kind`` is a range. Each says what becomes of a record that breaks it (``action: reject`` or
``flag``), under which short name it does so (``slug``: the reason of the dead letter, the first half of the flag), and
which fields it looks at (``needs``). How a rule is judged stands in ``millrace/expectations`` for those that look at
one record, and in ``services/ingest/sequence.py`` for those that remember earlier ones.
"""

import math
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from millrace.contracts.check_expression import Check, FieldKind
from millrace.contracts.data_policy import OnBreach

MISSING = "missing-field"
AHEAD = "future-event"
FieldName = Annotated[str, Field(min_length=1)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
NUMBER_TYPES = frozenset({"int", "long", "float", "double", "boolean"})
TEXT_TYPES = frozenset({"string", "enum"})


class Rule(BaseModel):
    """What all rules have. ``subject`` is what a flag names behind the slug; empty where the slug says it all."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True)

    slug: ClassVar[str]
    on: OnBreach = Field("reject", alias="action")  # in YAML a key called on is read as true

    @model_validator(mode="before")
    @classmethod
    def _on_is_no_key(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and True in value:
            raise ValueError(f"YAML reads on as true; write action: {value[True]} instead of on: {value[True]}")
        return value

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """The fields of the event that the rule looks at, and what each must be."""
        return {}

    @property
    def subject(self) -> str:
        """What the rule is about, in a word."""
        return ",".join(self.needs)

    def flag(self, slug: str | None = None) -> str:
        """The name under which a sample carries that it broke this rule."""
        return ":".join(part for part in (slug or self.slug, self.subject) if part)


class Range(Rule):
    """A number from ``min`` to ``max``, both allowed. ``required``: null and NaN break it too (``missing-field``).

    >>> rule = Range(field="price", min=0, max=1, on="flag")
    >>> rule.flag()
    'out-of-range:price'
    """

    slug = "out-of-range"
    kind: Literal["range"] = "range"
    field: FieldName
    min: float | None = None
    max: float | None = None
    required: bool = True

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> "Range":
        for name, bound in (("min", self.min), ("max", self.max)):
            if bound is not None and math.isnan(bound):
                raise ValueError(f"{name} is nan, which nothing is compared with; write a number or leave {name} out")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}, so no value would pass; exchange them")
        return self

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """A number."""
        return {self.field: "number"}


def _no_truth_values(value: Any) -> Any:
    """YAML reads no, off and yes as truth values; a float would swallow them as 0 and 1."""
    if isinstance(value, bool):
        raise ValueError(f"{value} is a truth value in YAML; quote a text ('no'), write 1 or 0 for a boolean field")  # noqa: TRY004
    return value


class Values(Rule):
    """One of the values that are ``allowed``: all of them texts, or all of them numbers."""

    slug = "not-allowed"
    kind: Literal["values"]
    field: FieldName
    allowed: tuple[Annotated[str | float, BeforeValidator(_no_truth_values)], ...] = Field(min_length=1)
    required: bool = True

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Values":
        texts = [isinstance(value, str) for value in self.allowed]
        if any(texts) and not all(texts):
            raise ValueError(f"allowed mixes texts and numbers, {list(self.allowed)}; write all of them in quotes")
        nans = [value for value in self.allowed if isinstance(value, float) and math.isnan(value)]
        if nans:
            raise ValueError("allowed has nan, which equals nothing; write required: false if the field may be missing")
        return self

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """A text or a number, as the values are."""
        return {self.field: "text" if isinstance(self.allowed[0], str) else "number"}


class Compare(Rule):
    """A rule over several fields, see ``check_expression.py``. A record that lacks one of them is not judged."""

    slug = "rule-broken"
    kind: Literal["compare"]
    check: str

    @model_validator(mode="after")
    def _can_be_read(self) -> "Compare":
        self.parsed  # noqa: B018  # refused here, not at the first event
        return self

    @cached_property
    def parsed(self) -> Check:
        """The rule, ready to be judged."""
        return Check.parse(self.check)

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """All fields that the rule names."""
        return self.parsed.fields

    @property
    def subject(self) -> str:
        """The rule itself: two may be about the same fields."""
        return self.check


class Fresh(Rule):
    """The event's time against the time at which the broker got the event.

    At most ``within_s`` older (``stale-event``), and at most ``ahead_s`` newer (``future-event``).
    """

    slug = "stale-event"
    kind: Literal["fresh"]
    within_s: Seconds | None = None
    ahead_s: Seconds | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Fresh":
        if self.within_s is None and self.ahead_s is None:
            raise ValueError(
                "fresh has neither within_s nor ahead_s, so it says nothing; write for example within_s: 60"
            )
        return self


class Jump(Rule):
    """``most`` is the largest change, up or down, from the entity's previous admitted row to this one."""

    slug = "jump"
    kind: Literal["jump"]
    field: FieldName
    most: float = Field(ge=0, allow_inf_nan=False)

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """A number."""
        return {self.field: "number"}


class Monotone(Rule):
    """An entity's event time never goes back by more than ``slack_s``."""

    slug = "time-went-back"
    kind: Literal["monotone"]
    slack_s: Seconds = 0.0


class Unique(Rule):
    """The combination of these fields does not come again among the newest ``dedupe.events`` of the partition."""

    slug = "not-unique"
    kind: Literal["unique"]
    fields: tuple[FieldName, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> "Unique":
        if len(set(self.fields)) < len(self.fields):
            raise ValueError(f"fields names one of {list(self.fields)} twice; write each once")
        return self

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """Of any type."""
        return dict.fromkeys(self.fields, "any")


class NullShare(Rule):
    """At most this share of the events of a window may lack the field; windows are those of ``data.quality``.

    No single record breaks it, so none is refused or flagged: a window that does is judged an alarm, and vetoed.
    """

    slug = "null-share"
    kind: Literal["null_share"]
    field: FieldName
    most: float = Field(ge=0, lt=1)

    @property
    def needs(self) -> Mapping[str, FieldKind]:
        """Of any type."""
        return {self.field: "any"}

    @model_validator(mode="after")
    def _has_no_action(self) -> "NullShare":
        if self.on != "reject":
            raise ValueError(f"null_share judges whole windows, so action: {self.on} means nothing; leave it out")
        return self


def _kind(value: Any) -> str:
    """The kind of a rule; today's form, without one, is a range."""
    if isinstance(value, Mapping):
        return str(value.get("kind", "range"))
    return str(getattr(value, "kind", "range"))


Expectation = Annotated[
    Annotated[Range, Tag("range")]
    | Annotated[Values, Tag("values")]
    | Annotated[Compare, Tag("compare")]
    | Annotated[Fresh, Tag("fresh")]
    | Annotated[Jump, Tag("jump")]
    | Annotated[Monotone, Tag("monotone")]
    | Annotated[Unique, Tag("unique")]
    | Annotated[NullShare, Tag("null_share")],
    Discriminator(_kind),
]
"""One rule of model.yaml, told apart by ``kind``."""


def plain_types(event_schema: Mapping[str, Any]) -> dict[str, str]:
    """The Avro type of each field that has one besides null."""
    plain = {}
    for field in event_schema["fields"]:
        kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
        present = [kind for kind in kinds if kind != "null"]
        if len(present) == 1:
            plain[field["name"]] = str(present[0]["type"] if isinstance(present[0], dict) else present[0])
    return plain


def check_fields(rules: Iterable[Rule], types: Mapping[str, str], schema_file: str) -> None:
    """Hold the fields that rules name to the event's schema; ``types`` has the Avro type of each field.

    Raises:
        ValueError: a field is not in the schema, or of another type than the rule needs.
    """
    fitting = {"number": NUMBER_TYPES, "text": TEXT_TYPES}
    for rule in rules:
        for name, need in rule.needs.items():
            where = f"expectations: {rule.flag()}"
            if name not in types:
                raise ValueError(f"{where} names the field {name!r}, which {schema_file} lacks; it has {sorted(types)}")
            if need != "any" and types[name] not in fitting[need]:
                raise ValueError(f"{where} needs a {need}, but {name!r} is {types[name]!r} in {schema_file}")
