"""What the demo reports: the content of ``reports/demo-data.json``."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict

from millrace.demo.report import Check


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class FaultFigures(_Figures):
    """One fault: bad events sent, and how many of them became a dead letter (rejected) or a flagged sample.

    ``passed_before_first_caught`` is how many of them passed unseen before the first was caught; ``messages`` are what
    the first of each kind was told.
    """

    injected: int
    caught: int
    rejected: int
    flagged: int
    caught_by: Mapping[str, int]
    passed_before_first_caught: int
    from_row: int
    until_row: int
    messages: Mapping[str, str]


class CleanRows(_Figures):
    """Good events, and those of them that were refused or flagged all the same."""

    rows: int
    refused: int
    flagged: int
    by: Mapping[str, int]

    @property
    def share(self) -> float:
        """Share of false rejections."""
        return (self.refused + self.flagged) / self.rows if self.rows else 0.0


class Latency(_Figures):
    """Milliseconds from an event's sending to its prediction in the log."""

    rows: int
    p50_ms: int | None
    p99_ms: int | None
    max_ms: int | None


class Judgement(_Figures):
    """A window of events that was found bad, with the rows of the file between which it stands."""

    check: str
    subject: str
    severity: str
    vetoes: bool
    message: str
    from_offset: int
    until_offset: int
    from_row: int
    until_row: int


class TrainedOn(_Figures):
    """A training run and its rows, read again from the log by the ranges that it names."""

    run_id: str
    trigger: str
    caused_by: str
    status: str
    rows: int
    bad_rows: int
    from_row: int | None
    until_row: int | None
    bad_rows_in_ranges: int
    excluded_offsets: int
    version: int | None
    decision: str
    error: str | None


class Refusal(_Figures):
    """The schema that the registry did not take."""

    status: Literal[409] | None
    message: str


class Serving(_Figures):
    """A version that began to serve, and where."""

    version: int
    from_row: int


class DataReport(_Figures):
    """``reports/demo-data.json``.

    ``false_rejection_share`` counts good events that were sent after the first learned expectations came into force:
    those between and around the faults, and the whole rest of the clean stream. ``whole_clean_stream`` is computed, not
    streamed: every row of the file, held to the rules that look at one record, declared or taught by the first version.
    """

    faults: Mapping[str, FaultFigures]
    false_rejection_share: float
    bad_rows_in_training: int
    good_rows_held_up: int
    events: int
    labels: int
    predictions: int
    duplicate_predictions: int
    lost_events: int
    lost_labels: int
    labels_of_refused_events: int
    good_labels_refused: int
    among_faults: CleanRows
    rest_of_stream: CleanRows
    whole_clean_stream: CleanRows
    latency_before: Latency
    latency_during: Latency
    latency_after: Latency
    latency_by_fault: Mapping[str, Latency]
    incompatible_schema: Refusal
    judgements: tuple[Judgement, ...]
    runs: tuple[TrainedOn, ...]
    retrain_request: str
    serving: tuple[Serving, ...]
    first_rows: int
    in_force_from_row: int
    faults_until_row: int
    run_s: float
    start_s: float
    restarts: Mapping[str, int]
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]
