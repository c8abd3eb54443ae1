"""What model.yaml may say under ``gates:``: what a candidate must show before it is admitted.

Every check has its limit here; ``null`` turns the check off. The table of the checks is in docs/model-checks.md.
"""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from millrace.contracts.sections import Section

TINY = 1e-9  # a loss below it is taken for it where shares of it are asked for
TOO_BAD = 1e9  # the drop to a value that is no number, itself a number so that it can be written down anywhere
Share = Annotated[float, Field(ge=0, le=1)]
NotNegative = Annotated[float, Field(ge=0)]
FairnessMetric = Literal[
    "demographic_parity_difference", "demographic_parity_ratio", "equalized_odds_difference", "mean_error_difference"
]


class Convergence(Section):
    """How a fit must have ended, where it has a history.

    ``flat_max``: the training loss falls by at most this share of its whole fall in the last tenth of the steps (a loss
    that falls in a straight line to the end has 0.1). ``rise_max``: the validation loss ends at most this share above
    its lowest value.
    """

    flat_max: Share | None = 0.08
    rise_max: NotNegative | None = 0.5


class Slice(Section):
    """Parts of the hold-out rows by one feature, each judged by itself; rows without the feature are a part too.

    ``bins`` are edges, the upper one of a part included, or the number of parts with equally many rows; ``values`` are
    the values of the feature that make a part each.
    """

    feature: str
    bins: Annotated[int, Field(ge=2, le=50)] | tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _is_one(self) -> "Slice":
        if bool(self.bins) == bool(self.values):
            msg = f"a slice by {self.feature!r} needs bins or values, and not both; write bins: 4 or values: [0, 1]"
            raise ValueError(msg)
        edges = () if isinstance(self.bins, int) else self.bins
        if list(edges) != sorted(set(edges)) or not all(map(math.isfinite, (*edges, *self.values))):
            msg = f"bins grow and all numbers are finite; got bins {list(edges)}, values {list(self.values)}"
            raise ValueError(msg)
        return self


class Fairness(Section):
    """How alike the groups of a field of the event must be treated, in the words of fairlearn.

    ``max`` is the limit of a difference, ``min`` that of ``demographic_parity_ratio`` (0.8 is the four-fifths rule);
    ``mean_error_difference`` is for regression, in the label's unit. ``positive`` is the class that one wants to get:
    by default the second of two, of more every one in turn. Groups below ``rows_min`` rows are named, not judged.
    """

    field: str
    metric: FairnessMetric
    max: NotNegative | None = None
    min: Share | None = None
    positive: str | None = None
    rows_min: int = Field(30, ge=1)

    @model_validator(mode="after")
    def _has_its_limit(self) -> "Fairness":
        wanted, other = ("min", "max") if self.is_ratio else ("max", "min")
        if getattr(self, wanted) is None or getattr(self, other) is not None:
            msg = f"{self.metric} needs {wanted} and takes no {other}; got max {self.max}, min {self.min}"
            raise ValueError(msg)
        return self

    @property
    def is_ratio(self) -> bool:
        """Whether more is fairer."""
        return self.metric == "demographic_parity_ratio"


class Robustness(Section):
    """By how much the metric may drop when the hold-out rows are disturbed (points, or shares of a constant's loss).

    ``noise``: Gaussian, in standard deviations of each feature. ``missing``: share of the values that are taken away.
    ``adversarial``: for each row the worst of many changes of every feature by at most so many standard deviations.
    """

    noise: NotNegative = 0.1
    noise_drop_max: NotNegative | None = 0.15
    missing: Share = 0.05
    missing_drop_max: NotNegative | None = 0.2
    adversarial: NotNegative = 0.05
    adversarial_drop_max: NotNegative | None = 0.5


class Gates(Section):
    """What a candidate must reach. ``metric`` is judged on the run's hold-out rows, the champion's on the same ones.

    ``margin`` is in units of the metric. Every other limit on the difference of two values of it is in points of
    accuracy, or for a loss in shares of what the best constant answer costs.
    """

    metric: Literal["accuracy", "log_loss", "mae", "rmse"] = "accuracy"
    first: float
    margin: float = Field(0.0, ge=0)
    parity_share: float = Field(0.001, ge=0, le=1)
    confidence: Annotated[float, Field(ge=0.5, lt=1)] | None = 0.8
    baseline_margin: NotNegative | Mapping[str, NotNegative | None] | None = 0.2
    convergence: Convergence = Convergence()
    slices: tuple[Slice, ...] = ()
    slice_margin: NotNegative | None = 0.05
    slice_rows_min: int = Field(50, ge=1)
    calibration_max: Share | None = 0.2
    calibration_bins: int = Field(10, ge=2, le=100)
    fairness: Fairness | None = None
    robustness: Robustness = Robustness()
    explanation_moved_max: Share | None = None
    shap_rows: int = Field(0, ge=0, le=1000)
    size_bytes_max: Annotated[int, Field(gt=0)] | None = 50_000_000
    scoring_us_max: Annotated[float, Field(gt=0)] | None = 1000.0

    @field_validator("slices")
    @classmethod
    def _differ(cls, slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
        names = [one.feature for one in slices]
        if len(set(names)) != len(names):
            msg = f"each feature has one slice, got {names}; put their bins or values together"
            raise ValueError(msg)
        return slices

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the metric is better."""
        return self.metric == "accuracy"

    def gain(self, candidate: float, other: float) -> float:
        """By how much the candidate is better than the other; negative if it is worse."""
        return candidate - other if self.higher_is_better else other - candidate

    def baseline_limit(self, name: str) -> float | None:
        """By how much a candidate may be worse than this baseline; None if that is not judged."""
        limit = self.baseline_margin
        return limit.get(name) if isinstance(limit, Mapping) else limit
