"""What a feature is: the declarations that a model project writes under ``features:``.

Each feature is computed per entity, in samples order, from the entity's own rows up to and including the present one.
Label feedback uses the labels that were known by then, newest first. A value that does not exist yet is NaN.

**Windows.** ``rows: N`` are the newest N rows. ``span_s: S`` are, of the rows that came so far, those whose event time
lies in ``(t - S, t]``, where ``t`` is that of the present row: a late row does not see rows of a later time. Two limits
keep the memory of a span bounded, and are a part of its definition: of an entity no more than its newest
``SPAN_ROWS_MAX`` rows count, and of these only what is less than twice the span older than the entity's newest time
(so a row that is late by more than the span sees less than its whole window).

The examples are computed by ``features/online.py``, one entity, one row after the other.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Rows = Annotated[int, Field(ge=1, le=100_000)]
Seconds = Annotated[float, Field(gt=0, le=1e10, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
FieldKind = Literal["number", "text"]

SPAN_ROWS_MAX = 10_000


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FeatureName

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, plain: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """So that a kind may get another option, and the content hash of what does not use it stays."""
        return {name: value for name, value in plain(self).items() if value is not None}


class _Window(_Spec):
    field: str
    rows: Rows | None = None
    span_s: Seconds | None = None

    @model_validator(mode="after")
    def _one_width(self) -> "_Window":
        if (self.rows is None) == (self.span_s is None):
            msg = f"{self.name}: give rows or span_s, one of the two, got rows={self.rows} and span_s={self.span_s}"
            raise ValueError(msg)
        return self


class Value(_Spec):
    """The field itself."""

    kind: Literal["value"]
    field: str


class Lag(_Spec):
    """The field ``rows`` rows ago."""

    kind: Literal["lag"]
    field: str
    rows: Rows


class Difference(_Spec):
    """The field now minus the field ``rows`` rows ago."""

    kind: Literal["difference"]
    field: str
    rows: Rows = 1


class RollingMean(_Window):
    """Mean of the field over a window.

    >>> from millrace.features.online import column
    >>> column(RollingMean(name="f", kind="rolling_mean", field="x", span_s=60), [0, 30, 60], x=[1, 2, 6])
    [1.0, 1.5, 4.0]
    """

    kind: Literal["rolling_mean"]


class RollingShare(_Window):
    """Share of the rows of a window, of these the ones that have the field, in which it is above ``above``.

    >>> from millrace.features.online import column
    >>> column(RollingShare(name="f", kind="rolling_share", field="x", span_s=9, above=1), [0, 5, 10], x=[2, 1, 1])
    [1.0, 0.5, 0.0]
    """

    kind: Literal["rolling_share"]
    above: float


class RollingMin(_Window):
    """Least value of the field in a window.

    >>> from millrace.features.online import column
    >>> column(RollingMin(name="f", kind="rolling_min", field="x", rows=2), x=[3, 1, None, 2])
    [3.0, 1.0, 1.0, 2.0]
    """

    kind: Literal["rolling_min"]


class RollingMax(_Window):
    """Greatest value of the field in a window. The last row of the example is late and does not see the 7.

    >>> from millrace.features.online import column
    >>> column(RollingMax(name="f", kind="rolling_max", field="x", span_s=60), [0, 30, 20], x=[1, 7, 2])
    [1.0, 7.0, 2.0]
    """

    kind: Literal["rolling_max"]


class RollingStd(_Window):
    """Standard deviation of the field in a window: that of the population, the squares are divided by their number.

    >>> from millrace.features.online import column
    >>> column(RollingStd(name="f", kind="rolling_std", field="x", rows=4), x=[1, 3, None, 5])
    [0.0, 1.0, 1.0, 1.632993161855452]
    """

    kind: Literal["rolling_std"]


class RollingCount(_Window):
    """How many rows of a window have the field.

    >>> from millrace.features.online import column
    >>> column(RollingCount(name="f", kind="rolling_count", field="x", rows=3), x=[1, None, 2, 4])
    [1.0, 1.0, 2.0, 2.0]
    """

    kind: Literal["rolling_count"]


class TimeSince(_Spec):
    """Seconds of event time since the entity's row before this one; negative where this one is late.

    With ``field`` and ``above``: since the newest row before this one in which the field was above.

    >>> from millrace.features.online import column
    >>> column(TimeSince(name="f", kind="time_since"), [0, 60, 90])
    [nan, 60.0, 30.0]
    >>> column(TimeSince(name="f", kind="time_since", field="x", above=5), [0, 60, 90, 95], x=[1, 6, 2, 9])
    [nan, nan, 30.0, 35.0]
    """

    kind: Literal["time_since"]
    field: str | None = None
    above: Number | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "TimeSince":
        if (self.field is None) != (self.above is None):
            msg = f"{self.name}: give field and above, or none of them, got field={self.field}, above={self.above}"
            raise ValueError(msg)
        return self


class Ewm(_Spec):
    """Exponentially weighted mean of the field: a value weighs half as much after each half-life.

    The half-life is in rows of the entity (a row without the field counts as a row) or in seconds of event time. In
    time, a late row weighs like one that came at the entity's newest time.

    >>> from millrace.features.online import column
    >>> column(Ewm(name="f", kind="ewm", field="x", half_life_rows=1), x=[1, 4, None, 4])
    [1.0, 3.0, 3.0, 3.727272727272727]
    >>> column(Ewm(name="f", kind="ewm", field="x", half_life_s=60), [0, 60, 30], x=[1, 4, 4])
    [1.0, 3.0, 3.4]
    """

    kind: Literal["ewm"]
    field: str
    half_life_rows: Seconds | None = None
    half_life_s: Seconds | None = None

    @model_validator(mode="after")
    def _one_half_life(self) -> "Ewm":
        if (self.half_life_rows is None) == (self.half_life_s is None):
            seen = f"half_life_rows={self.half_life_rows} and half_life_s={self.half_life_s}"
            msg = f"{self.name}: give half_life_rows or half_life_s, one of the two, got {seen}"
            raise ValueError(msg)
        return self


class Calendar(_Spec):
    """A part of the event time, in UTC or at a fixed offset from it (seconds, positive to the east).

    ``hour`` 0-23, ``minute_of_day`` 0-1439, ``day_of_week`` 0-6 from Monday, ``day_of_year`` 1-366, ``month`` 1-12.
    ``cyclic`` gives the sine or cosine of it as a part of its circle, so that the last is next to the first.

    >>> from millrace.features.online import column
    >>> column(Calendar(name="f", kind="calendar", part="hour", utc_offset_s=3600), [0, 82_800])
    [1.0, 0.0]
    >>> column(Calendar(name="f", kind="calendar", part="day_of_week", cyclic="cos"), [4 * 86_400])
    [1.0]
    """

    kind: Literal["calendar"]
    part: Literal["hour", "minute_of_day", "day_of_week", "day_of_year", "month"]
    utc_offset_s: int = Field(0, ge=-64_800, le=64_800)
    cyclic: Literal["sin", "cos"] | None = None


class Ratio(_Spec):
    """The field divided by another one, ``over``, of the same row; or by itself ``rows`` rows ago. NaN over zero.

    >>> from millrace.features.online import column
    >>> column(Ratio(name="f", kind="ratio", field="x", over="y"), x=[1, 0, 3], y=[2, 0, 0])
    [0.5, nan, nan]
    >>> column(Ratio(name="f", kind="ratio", field="x", rows=1), x=[2, 4, 6])
    [nan, 2.0, 1.5]
    """

    kind: Literal["ratio"]
    field: str
    over: str | None = None
    rows: Rows | None = None

    @model_validator(mode="after")
    def _one_divisor(self) -> "Ratio":
        if (self.over is None) == (self.rows is None):
            msg = f"{self.name}: give over or rows, one of the two, got over={self.over} and rows={self.rows}"
            raise ValueError(msg)
        return self


class Category(_Spec):
    """The place of a text in ``values``, from 0; -1 for any other text, NaN where it is missing.

    >>> from millrace.features.online import column
    >>> column(Category(name="f", kind="category", field="x", values=("low", "high")), x=["high", "?", None])
    [1.0, -1.0, nan]
    """

    kind: Literal["category"]
    field: str
    values: tuple[str, ...] = Field(min_length=1, max_length=10_000)

    @model_validator(mode="after")
    def _all_differ(self) -> "Category":
        if len(set(self.values)) != len(self.values):
            twice = sorted({value for value in self.values if self.values.count(value) > 1})
            msg = f"{self.name}: values must differ, got {twice} twice"
            raise ValueError(msg)
        return self


class IsCategory(_Spec):
    """1 if the text is ``equals``, else 0; NaN where it is missing.

    >>> from millrace.features.online import column
    >>> column(IsCategory(name="f", kind="is_category", field="x", equals="high"), x=["high", "?", None])
    [1.0, 0.0, nan]
    """

    kind: Literal["is_category"]
    field: str
    equals: str


class Function(_Spec):
    """What the owner's own function says: ``function`` is ``file.py:name`` in the project's folder.

    It is called with float64 arrays by keyword, one for each of ``inputs``: features declared before, else fields. It
    returns an array of the same length and must be pure and elementwise: one row's result is a matter of that row.

    >>> from millrace.features.online import EntityFeatures
    >>> spread = Function(name="spread", kind="function", function="features.py:spread", inputs=("bid", "ask"))
    >>> entity = EntityFeatures((spread,), {"spread": lambda bid, ask: ask - bid})
    >>> entity.row({"bid": 1.0, "ask": 1.5})
    (0.5,)
    """

    kind: Literal["function"]
    function: str = Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_-]*\.py:[A-Za-z_][A-Za-z0-9_]*$")
    inputs: tuple[str, ...] = Field(min_length=1)


class LabelLag(_Spec):
    """The ``rows``-th newest label known: 1 is the newest."""

    kind: Literal["label_lag"]
    rows: Rows = 1


class LabelShare(_Spec):
    """Share of the newest ``rows`` known labels that equal ``equals`` (the index of a class)."""

    kind: Literal["label_share"]
    rows: Rows
    equals: float = 1.0


class LabelMean(_Spec):
    """Mean of the newest ``rows`` known labels."""

    kind: Literal["label_mean"]
    rows: Rows


OfWindow = RollingMean | RollingShare | RollingMin | RollingMax | RollingStd | RollingCount
OfLabels = LabelLag | LabelShare | LabelMean
FeatureSpec = Annotated[
    Value | Lag | Difference | OfWindow | TimeSince | Ewm | Calendar | Ratio | Category | IsCategory | Function
    | OfLabels,
    Field(discriminator="kind"),
]  # fmt: skip


def fields_of(spec: FeatureSpec, before: Collection[str] = ()) -> tuple[tuple[str, FieldKind], ...]:
    """The fields of the event that a feature looks at, and what they must be.

    ``before`` are the names of the features declared before it: what a function names of these is no field.

    >>> fields_of(Ratio(name="f", kind="ratio", field="x", over="y"))
    (('x', 'number'), ('y', 'number'))
    >>> fields_of(Category(name="f", kind="category", field="x", values=("a",)))
    (('x', 'text'),)
    """
    match spec:
        case LabelLag() | LabelShare() | LabelMean() | Calendar():
            return ()
        case TimeSince(field=field):
            return () if field is None else ((field, "number"),)
        case Category(field=field) | IsCategory(field=field):
            return ((field, "text"),)
        case Function(inputs=inputs):
            return tuple((name, "number") for name in inputs if name not in before)
        case Ratio(field=field, over=str(over)):
            return ((field, "number"), (over, "number"))
        case _:
            return ((spec.field, "number"),)


def feature_set_id(specs: Sequence[FeatureSpec], code: bytes = b"") -> str:
    """Content hash of the definitions: the same definitions in the same order have the same id.

    ``code`` is the source of the owner's functions; it counts only where a feature uses it.
    """
    canonical = json.dumps([spec.model_dump() for spec in specs], sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(canonical.encode())
    if any(isinstance(spec, Function) for spec in specs):
        digest.update(b"\0" + code)
    return digest.hexdigest()[:16]
