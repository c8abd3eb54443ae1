"""What the demo reports: the content of ``reports/demo-rollout.json``."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from millrace.demo.report import Check


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True)


class Case(_Figures):
    """One bad model and what became of it.

    ``stopped_by`` is in words, ``guardrail`` names what stopped it: gate, signature, or a guardrail of the rollout.
    ``touched`` events of ``events`` were answered by it, from its first deployment until the champion had all again.
    """

    stopped: bool
    stopped_by: str
    guardrail: str
    touched_share: float
    touched: int
    events: int
    version: int | None
    deployed_at_row: int | None
    stopped_at_row: int | None
    deployment_ids: tuple[str, ...]


class RolloutReport(_Figures):
    """``reports/demo-rollout.json``. ``rollback_ms`` is by log time, from the request to the first answer's epoch."""

    cases: Mapping[str, Case]
    rollback_ms: float | None
    rollback_rate_rows_per_s: float
    promoted_version: int | None
    promoted_at_row: int | None
    rows: int
    predictions: int
    missing_predictions: int
    duplicate_predictions: int
    run_s: float
    start_s: float
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]
