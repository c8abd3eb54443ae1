"""What a data report says: the figures behind every picture of the page, and the object that ``--json`` prints.

Its size is bounded: so many fields are drawn, so many kinds of letters, flags, judgements and categories are listed,
and each list says in ``left_out`` or in the notes what it left out.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

WindowName = Literal["new", "previous", "training"]
Role = Literal["field", "feature", "field and feature"]
Kind = Literal["NUMBER", "TEXT", "PERSONAL"]
Weight = Literal["bad", "warn", "note", "good"]
Verdict = Literal["stable", "moved", "moved far"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")


class Numbers(_Part):
    """The numbers of a field in a window. Quantiles are those of ``compare.QUANTILES``."""

    mean: float | None
    std: float | None
    min: float
    max: float
    quantiles: tuple[float, ...]


class FieldWindow(_Part):
    """A field in a window: ``shares`` are of the rows that have it, bar by bar of ``FieldReport.bars``."""

    rows: int
    missing: int
    numbers: Numbers | None = None
    shares: tuple[float, ...] = ()

    @property
    def missing_share(self) -> float:
        """Of all rows of the window."""
        return self.missing / self.rows if self.rows else 0.0


class Drift(_Part):
    """How far the new rows are from others. ``chance`` is of chi-square's test, for texts only."""

    against: Literal["previous", "training"]
    psi: float
    psi_noise: float
    jensen_shannon: float
    wasserstein_spreads: float | None
    chance: float | None
    verdict: Verdict


class Bars(_Part):
    """What a picture is drawn on: the edges of the bars of a number, one more than bars, or the names of texts.

    ``values`` are those of a number with few of them, then there are no edges. ``others`` says that the last bar of
    texts stands for all that are not named, ``unseen`` are the places of texts that training never saw.
    """

    edges: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    texts: tuple[str, ...] = ()
    others: int = 0
    unseen: tuple[int, ...] = ()


class Count(_Part):
    """So many of something."""

    name: str
    count: int


class FieldReport(_Part):
    """One field of the event, one feature, or a feature that is a field as it comes.

    ``trend`` are means of the previous and the new rows, in so many steps; the new ones begin at ``trend_new``.
    ``violations`` are refusals and flags of the new rows that name it.
    """

    name: str
    role: Role
    kind: Kind
    windows: dict[WindowName, FieldWindow]
    bars: Bars = Bars()
    drifts: tuple[Drift, ...] = ()
    trend: tuple[float | None, ...] = ()
    trend_new: int = 0
    violations: tuple[Count, ...] = ()
    unseen: tuple[Count, ...] = ()
    note: str | None = None

    @property
    def violated(self) -> int:
        """How many refusals and flags name it."""
        return sum(one.count for one in self.violations)

    def drift(self, against: str) -> Drift | None:
        """The comparison with these rows."""
        return next((one for one in self.drifts if one.against == against), None)

    @property
    def score(self) -> float:
        """The larger stability index of those beyond chance; orders the fields."""
        return max((one.psi for one in self.drifts if one.verdict != "stable"), default=0.0)


class Letters(_Part):
    """Dead letters with one reason about one field."""

    reason: str
    field: str
    topic: str
    count: int
    first_place: str
    last_place: str
    message: str


class Flags(_Part):
    """New samples with one flag. Places are those of the samples log."""

    reason: str
    field: str
    count: int
    first_place: str
    last_place: str


class Judged(_Part):
    """A judgement about a window of events; its times are event times, None where the window cannot be placed."""

    check: str
    subject: str
    severity: str
    from_offset: int
    until_offset: int
    from_time_ms: int | None
    until_time_ms: int | None
    rows: int
    observed: float
    expected: float
    message: str
    vetoes: bool
    is_new: bool


class Pair(_Part):
    """A correlation that was learned, and what it is in the new rows."""

    first: str
    second: str
    learned: float
    seen: float | None
    rows: int
    broke: bool


class Finding(_Part):
    """A sentence, worst first. ``field`` leads to the picture."""

    weight: Weight
    text: str
    field: str | None = None


class WindowHead(_Part):
    """The rows of a window: events, how many of them are in the sample of numbers, and where and when they are."""

    rows: int
    sampled: int
    from_offset: int
    until_offset: int
    from_time_ms: int | None
    until_time_ms: int | None


class Report(_Part):
    """Everything about one snapshot."""

    stream: str
    model: str
    snapshot_id: str
    previous_id: str | None
    partition: int
    feature_set: str
    content_sha256: str | None
    rows: int
    labelled_rows: int
    from_time_ms: int
    until_time_ms: int
    taken_at_ms: int
    table_version: int | None
    lake_uri: str | None
    version: int | None
    run_id: str | None
    expectations_id: str | None
    windows: dict[WindowName, WindowHead]
    findings: tuple[Finding, ...]
    fields: tuple[FieldReport, ...]
    letters: tuple[Letters, ...]
    flags: tuple[Flags, ...]
    judged: tuple[Judged, ...]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()
    letters_left_out: int = Field(0, description="Dead letters under kinds beyond the first hundred.")
    file: str | None = Field(None, description="Where the page was written, if it was.")

    @property
    def new_rows(self) -> int:
        """Events that this snapshot added."""
        return self.windows["new"].rows

    @property
    def refused(self) -> int:
        """Dead letters of the stretch of the stream that the new rows came from."""
        return sum(one.count for one in self.letters) + self.letters_left_out

    @property
    def file_name(self) -> str:
        """Where the page is kept under ``reports``; ids of snapshots begin with the stream."""
        rest = self.snapshot_id.removeprefix(f"{self.stream}/")
        safe = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in rest)
        return f"{self.stream}-{safe}.html"
