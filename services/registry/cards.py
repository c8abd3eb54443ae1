"""A model card: what a version is, what it learned from, how it was tested, who agreed, where its limits are. Pure.

Every sentence is derived from the log; where that is silent, the card says so.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from services.registry.history import Life
from services.registry.history_at import approval
from services.registry.history_views import ApprovalView, HistoryView
from services.registry.views import CheckView, ServedUnder, VersionDetail

EXPLAINING = ("explanation", "importance", "shap")
FEW_ROWS = 300  # below it, the standard error of a share of one half is above three percent
SHARES = frozenset({"accuracy"})  # metrics whose sampling error follows from the number of rows


class RangeView(HistoryView):
    """A half-open range of one partition of the samples log."""

    topic: str
    partition: int
    from_offset: int
    until_offset: int


class Card(HistoryView):
    """A version's card. Times are milliseconds since 1970-01-01T00:00:00Z."""

    model: str
    version: int
    status: str
    space: str
    registered_at_ms: int
    source: str = Field(description="trained, or imported.")
    family: str = Field(description="Family of estimators; empty where the log does not tell.")
    params: dict[str, str]
    window: str = Field(description="Training window that won the search; empty where the log does not tell.")
    run_id: str
    because: str = Field(description="What caused the run.")
    artifact_sha256: str | None
    feature_set: str
    key_id: str | None = Field(description="Key that signed it; null where versions are not signed.")
    train_rows: int | None
    holdout_rows: int | None
    ranges: list[RangeView] = Field(description="Training and hold-out rows.")
    excluded: list[RangeView] = Field(description="Parts of the ranges that were left out: their data was found bad.")
    snapshot_id: str | None
    table_version: int | None
    rows_sha256: str | None
    metrics: dict[str, float | None] = Field(description="On the hold-out rows.")
    champion_version: int | None = Field(description="Version that it was compared with, on the same rows.")
    champion_metrics: dict[str, float | None]
    baselines: dict[str, float | None] = Field(description="The gate's metric of each baseline, on the same rows.")
    checks: list[CheckView]
    explanation: list[CheckView] = Field(description="Those of the checks that say what the model looks at.")
    reasons: list[str] = Field(description="Why it was admitted.")
    approvals: list[ApprovalView]
    approved_by: list[str]
    served: list[ServedUnder]
    limits: list[str] = Field(description="What is known to limit it, in words.")


def card(
    detail: VersionDetail, life: Life, ranges: Sequence[Mapping[str, Any]], excluded: Sequence[Mapping[str, Any]]
) -> Card:
    """The card of a version.

    Args:
        detail: the version, with its run.
        life: the model's life, for approvals.
        ranges: the rows of the run, by reference.
        excluded: those of them that were left out.
    """
    assert detail.version is not None, "only a version has a card"
    own = {name: getattr(detail, name) for name in Card.model_fields if name in VersionDetail.model_fields}
    left_out = [RangeView(**one) for one in excluded]
    return Card(
        **{
            **own,
            "family": detail.family or "",
            "window": detail.window or "",
            "because": detail.because or detail.trigger or "",
            "registered_at_ms": detail.decided_at_ms,
            "ranges": [RangeView(**one) for one in ranges],
            "excluded": left_out,
            "explanation": [check for check in detail.checks if any(word in check.name for word in EXPLAINING)],
            "approvals": [approval(life, one) for one in life.approvals(detail.version, None, ever=True)],
            "limits": list(_limits(detail, left_out)),
        }
    )


def _limits(detail: VersionDetail, excluded: Sequence[RangeView]) -> Iterator[str]:
    """What a reader must know before trusting the figures."""
    yield f"It expects features of the set {detail.feature_set}, and only these."
    if detail.window:
        yield f"It was fitted on the window {detail.window}; what happened before or after it is unknown to it."
    if excluded:
        rows = sum(one.until_offset - one.from_offset for one in excluded)
        yield f"{rows} offsets of its ranges were left out, because their data was found bad."
    if detail.holdout_rows is not None:
        yield _sampling(detail, detail.holdout_rows)
    yield from _baselines(detail)
    for check in detail.checks:
        if not check.passed:
            yield f"Check {check.name} failed: {check.message}."
    if not detail.checks:
        yield "The log holds no checks of it."
    if detail.key_id is None:
        yield "It is not signed."


def _sampling(detail: VersionDetail, rows: int) -> str:
    name = next((name for name in SHARES if detail.metrics.get(name) is not None), None)
    if name is not None and rows:
        share = detail.metrics[name] or 0.0
        error = math.sqrt(max(0.0, share * (1 - share)) / rows)
        return f"Its {name} is {share:.3f} on {rows} rows: by sampling alone it may be off by {2 * error:.3f}."
    few = ", which are few" if rows < FEW_ROWS else ""
    return f"It was judged on {rows} rows{few}."


def _baselines(detail: VersionDetail) -> Iterator[str]:
    if not detail.baselines:
        yield "No baseline was measured beside it."
    for name, value in sorted(detail.baselines.items()):
        if value is None:
            yield f"Baseline {name} gave no number."
