"""One figure for how well a version does: the newest measurements of its partitions, put together."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

MAIN = ("accuracy", "rmse", "mae", "log_loss")
"""The metrics that stand for a model where none is chosen, the first that there is."""
LOWER_IS_BETTER = frozenset({
    "rmse", "mae", "mape", "mse", "smape", "log_loss", "brier", "ece", "calibration_error", "error", "loss",
})  # fmt: skip


def higher_is_better(metric: str) -> bool:
    """Whether more of a metric is better.

    >>> higher_is_better("accuracy"), higher_is_better("rmse")
    (True, False)
    """
    return metric not in LOWER_IS_BETTER


def main_metric(names: Iterable[str]) -> str | None:
    """The metric that stands for a model."""
    there = sorted(names)
    return next((name for name in MAIN if name in there), there[0] if there else None)


def pooled(measured: Iterable[Mapping[str, Any]], metric: str | None = None) -> dict[str, Any] | None:
    """The measurements of several partitions as one; None if there is none.

    The value is the mean by rows. Partitions are independent, so the half width of the interval is the root of the
    sum of the squares of theirs, each weighted by its rows.

    >>> row = {"metrics": {"accuracy": 0.8}, "low": {"accuracy": 0.7}, "high": {"accuracy": 0.9}, "version": 1}
    >>> row |= {"window_rows": 10, "source": "labels", "until_time_ms": 1, "measured_at_ms": 2}
    >>> both = pooled([row, row | {"metrics": {"accuracy": 0.9}}])
    >>> round(both["value"], 3), both["rows"]
    (0.85, 20)
    """
    found = list(measured)
    name = metric or main_metric({name for row in found for name in row["metrics"]})
    rows = [row for row in found if name is not None and _number(row["metrics"].get(name)) is not None]
    total = sum(row["window_rows"] for row in rows)
    if not rows or not total or name is None:
        return None
    value = sum(row["metrics"][name] * row["window_rows"] for row in rows) / total
    low, high = _ends(rows, name, value, total)
    return {
        "metric": name,
        "value": value,
        "low": low,
        "high": high,
        "higher_is_better": higher_is_better(name),
        "rows": total,
        "version": rows[0]["version"],
        "source": rows[0]["source"],
        "until_time_ms": max(row["until_time_ms"] for row in rows),
        "measured_at_ms": max(row["measured_at_ms"] for row in rows),
    }


def _ends(rows: list[Mapping[str, Any]], name: str, value: float, total: int) -> tuple[float | None, float | None]:
    squares = [0.0, 0.0]
    for row in rows:
        low, high = _number(row["low"].get(name)), _number(row["high"].get(name))
        if low is None or high is None:
            return None, None
        here = row["metrics"][name]
        squares[0] += ((here - low) * row["window_rows"]) ** 2
        squares[1] += ((high - here) * row["window_rows"]) ** 2
    return value - math.sqrt(squares[0]) / total, value + math.sqrt(squares[1]) / total


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None
