"""What model.yaml may say under ``rollout:`` and ``spaces:``: how a new version takes over, and who has to agree."""

from typing import Literal

from pydantic import Field, model_validator

from millrace.contracts.sections import Section

Strategy = Literal["immediate", "blue_green", "shadow", "canary", "ab", "bandit"]
SPACES = ("development", "test", "production")


class Guardrails(Section):
    """What a variant may not do while it is tried out; the first that fails rolls it back.

    Shares are of the events that it scored, judged from ``rows_min`` of them on. ``scoring_ratio_max`` is its time per
    event relative to the champion's in the same micro-batches; ``scoring_ms_max`` the longest that it may take for one
    micro-batch (wall time), after which the champion answers. ``loss_margin`` is how much worse than the champion's
    the gate's metric may be, in its unit. ``alpha`` is the chance that a sequential test errs, however often it is
    looked at.
    """

    error_share_max: float = Field(0.01, ge=0, le=1)
    missing_share_max: float = Field(0.01, ge=0, le=1)
    scoring_ratio_max: float = Field(5.0, gt=1)
    scoring_ms_max: float = Field(1000.0, gt=0)
    loss_margin: float = Field(0.02, ge=0)
    alpha: float = Field(0.05, gt=0, lt=1)
    rows_min: int = Field(50, ge=1)


class Rollout(Section):
    """How a new version takes over from the champion. The first version of a model always takes over at once.

    ``immediate``: at once. ``blue_green``: at once, after ``shadow_rows`` events scored unseen and without fault.
    ``shadow``: it scores every event unseen until ``shadow_rows`` of them have labels. ``canary``: it answers the
    shares in ``steps`` one after another, each until ``step_rows`` more labelled events. ``ab``: ``candidate_share``
    until ``horizon_rows`` labelled events, then the better one. ``bandit``: shares follow Thompson sampling every
    ``rebalance_rows`` labelled events, none below ``min_share``, until ``horizon_rows``. Shadow and canary compare
    both versions on the same events.

    ``unit`` is what keeps its variant: an entity, or, where there are few of them, an event. Without labels no share
    grows; after ``give_up_s`` (wall time) the champion has it all again, as after ``rows_max`` labelled events without
    a verdict. ``evidence_rows`` labelled events lie between two measurements.
    """

    strategy: Strategy = "immediate"
    unit: Literal["entity", "event"] = "entity"
    steps: tuple[float, ...] = (0.05, 0.2, 0.5)
    step_rows: int = Field(100, ge=1)
    shadow_rows: int = Field(200, ge=1)
    candidate_share: float = Field(0.5, gt=0, lt=1)
    horizon_rows: int = Field(2000, ge=10)
    min_share: float = Field(0.05, ge=0, lt=0.5)
    rebalance_rows: int = Field(100, ge=1)
    rows_max: int = Field(20_000, ge=10)
    give_up_s: float = Field(86_400, gt=0)
    evidence_rows: int = Field(25, ge=1)
    guardrails: Guardrails = Guardrails()

    @model_validator(mode="after")
    def _steps_grow(self) -> "Rollout":
        if (
            not self.steps
            or list(self.steps) != sorted(set(self.steps))
            or not 0 < min(self.steps) <= max(self.steps) < 1
        ):
            msg = f"rollout.steps must be growing shares between 0 and 1, got {list(self.steps)}; try [0.05, 0.2, 0.5]"
            raise ValueError(msg)
        return self


class Space(Section):
    """Who has to agree before a version enters: nobody (0), one person, or two different people.

    ``approvers`` are the names that count; empty for anybody.
    """

    approvals: Literal[0, 1, 2] = 0
    approvers: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _enough_approvers(self) -> "Space":
        if 0 < len(set(self.approvers)) < self.approvals:
            msg = f"approvals is {self.approvals}, but approvers names only {sorted(set(self.approvers))}; name more"
            raise ValueError(msg)
        return self


class Spaces(Section):
    """A version goes through development (admitted), test (may be tried beside the champion), production (answers)."""

    development: Space = Space()
    test: Space = Space()
    production: Space = Space()
