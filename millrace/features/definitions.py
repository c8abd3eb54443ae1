"""How the values of one window, or two values, become a feature: plain float64, one value after the other."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from millrace.contracts.feature_spec import Ewm, RollingCount, RollingMax, RollingMean, RollingMin, RollingStd

NAN = float("nan")


def half_life(spec: Ewm, passed_ms: float) -> float:
    """What is left of a weight after one row, ``passed_ms`` later. By Python's power: numpy's may differ in a bit."""
    if spec.half_life_rows is not None:
        return float(0.5 ** (1.0 / spec.half_life_rows))
    assert spec.half_life_s is not None
    return float(0.5 ** (passed_ms / (spec.half_life_s * 1000)))


def ago(kept: deque[float], rows: int) -> float:
    """The value so many rows before the newest."""
    return kept[rows] if len(kept) > rows else NAN


def divide(value: float, by: float) -> float:
    """NaN over zero."""
    return value / by if by else NAN


def present_of(values: Iterable[float]) -> list[float]:
    """Those that are not missing."""
    return [value for value in values if value == value]  # noqa: PLR0124  # NaN differs from itself


def mean(values: Iterable[float]) -> float:
    """Mean of the present values."""
    total, present = 0.0, 0
    for value in values:  # no sum(): from Python 3.12 on it compensates, which is another result
        if value == value:  # noqa: PLR0124  # NaN differs from itself
            total += value
            present += 1
    return total / present if present else NAN


def std(values: Iterable[float]) -> float:
    """Standard deviation of the present values, as of a population."""
    present = present_of(values)
    middle, squares = mean(present), 0.0
    for value in present:
        squares += (value - middle) * (value - middle)
    return math.sqrt(squares / len(present)) if present else NAN


def share(values: Iterable[float], test: Callable[[float], bool]) -> float:
    """Share of those that pass the test among the present values."""
    present = present_of(values)
    return sum(map(test, present)) / len(present) if present else NAN


def least(values: Iterable[float]) -> float:
    """The least of the present values."""
    return min(present_of(values), default=NAN) + 0.0  # of -0.0 and 0.0 either may come first; both become 0.0


def greatest(values: Iterable[float]) -> float:
    """The greatest of the present values."""
    return max(present_of(values), default=NAN) + 0.0


AGGREGATES: Mapping[type, Callable[[Iterable[float]], float]] = MappingProxyType(
    {
        RollingMean: mean,
        RollingStd: std,
        RollingMin: least,
        RollingMax: greatest,
        RollingCount: lambda values: float(len(present_of(values))),
    }
)
