"""What a demo reports: the content of ``reports/demo.json``."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class Accuracy(_Figures):
    """Share of right answers, all three over the same rows. None where there are no such rows."""

    loop: float | None
    frozen: float | None
    repeat_last: float | None


class Percentiles(_Figures):
    """Median and 99th percentile."""

    p50: float | None
    p99: float | None


class Spread(_Figures):
    """Median and largest."""

    p50: float | None
    max: float | None


class ChainIds(_Figures):
    """A version's way to the events: the ids that lead there, and the rows at which things fell.

    ``deployment_ids`` are the steps of its rollout. It answers events from ``from_row`` on, all of them from
    ``champion_row`` on; ``outcome`` is ``deployed`` (at once), ``promoted``, ``rolled back``, or ``under way``.
    """

    version: int
    drift_id: str | None
    request_id: str | None
    run_id: str | None
    change_ids: tuple[str, ...]
    deployment_ids: tuple[str, ...]
    strategy: str
    outcome: str
    epoch: int
    from_offset: int | None
    drift_row: int | None
    from_row: int | None
    champion_row: int | None
    drift_to_serving_s: float | None
    drift_to_champion_s: float | None


class VersionRow(_Figures):
    """A candidate: its number if it got one, what was decided about it and why."""

    version: int | None
    decision: str
    run_id: str
    reasons: tuple[str, ...]
    metrics: Mapping[str, float]
    from_row: int | None


class Check(_Figures):
    """One thing that must hold."""

    name: str
    passed: bool
    message: str


class Report(_Figures):
    """``reports/demo.json``."""

    rows: int
    valid_events: int
    events_before_first_model: int
    predictions: int
    duplicate_predictions: int
    missing_predictions: int
    accuracy: Accuracy
    drift_events: int
    alarms: int
    retrains: int
    deployments: int
    drift_caused_deployments: int
    event_to_prediction_ms: Percentiles
    event_to_prediction_log_ms: Percentiles
    drift_to_serving_s: Spread
    run_s: float
    start_s: float
    rate_rows_per_s: float
    first_rows: int
    labels: int
    dead_letters: dict[str, int]
    dead_events: int
    unaccounted_inputs: dict[str, int]
    restarts: dict[str, int]
    chain: tuple[ChainIds, ...]
    versions: tuple[VersionRow, ...]
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]
