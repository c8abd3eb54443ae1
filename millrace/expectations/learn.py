"""What the training rows look like, field by field: the other half of ``learned.py``. Pure."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from millrace.contracts.events import FieldCorrelation, FieldExpectation

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
CATEGORIES_MAX = 1_000  # a text field with more different texts has no categories: they are names or ids
DISTINCT_SHARE_MAX = 0.5  # nor has one in which more than half of the texts differ
LONGEST_CATEGORY = 100  # characters; prose is no category, and the event must fit into a record
CORRELATION_MIN = 0.5  # weaker ones come and go with the season
CORRELATION_ROWS_MIN = 100  # below that chance alone gives 0.5 too often among many pairs
TREND_MIN = 0.9  # a field so correlated with the order of the rows is a counter or a clock: it leaves its range soon
NOBODY: frozenset[str] = frozenset()
Floats = NDArray[np.float64]


def learn(
    table: Any, *, skip: frozenset[str], personal: frozenset[str] = NOBODY
) -> tuple[tuple[FieldExpectation, ...], tuple[FieldCorrelation, ...]]:
    """Describe the fields of the training rows, and the pairs of them that move together.

    Parameters:
        table: the events of the training rows as a ``pyarrow.Table``. Fields that are neither numbers nor texts are
            left out. Null and NaN are missing; infinite numbers are not, but say nothing about the range. Nor has a
            field a smallest and largest value if it goes up or down with the rows, which stand in order of time.
        skip: fields that are not described: the event's id, entity and time.
        personal: fields of which only the share of missing values is learned. What they say stays where it is.

    >>> table = pa.table({"id": ["a", "b"], "x": [1.0, None]})
    >>> (field,), pairs = learn(table, skip=frozenset({"id"}))
    >>> field.name, field.missing_share, field.max, pairs
    ('x', 0.5, 1.0, ())
    """
    if not table.num_rows:
        return (), ()
    fields: list[FieldExpectation] = []
    numbers: dict[str, Floats] = {}
    for name in table.column_names:
        column = table.column(name)
        if name in skip:
            continue
        if _is_number(column.type):
            values = column.cast(pa.float64(), safe=False).to_numpy()
            fields.append(_number(name, values, hidden=name in personal))
            if name not in personal:
                numbers[name] = values
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            fields.append(_text(name, column, hidden=name in personal))
    return tuple(fields), correlations(numbers)


def correlations(numbers: Mapping[str, Floats]) -> tuple[FieldCorrelation, ...]:
    """The pairs of columns whose correlation (Pearson) is worth keeping, in the order of the columns."""
    varied = [name for name, values in numbers.items() if _varies(values[np.isfinite(values)])]
    found = []
    for first, second in combinations(varied, 2):
        value = _pearson(numbers[first], numbers[second])
        if value is not None and abs(value) >= CORRELATION_MIN:
            found.append(FieldCorrelation(first=first, second=second, value=value))
    return tuple(found)


def _number(name: str, values: Floats, *, hidden: bool) -> FieldExpectation:
    seen = values[np.isfinite(values)]
    known = len(seen) > 0 and not hidden
    bounded = known and abs(_pearson(np.arange(len(values), dtype=np.float64), values) or 0.0) < TREND_MIN
    with np.errstate(all="ignore"):  # numbers near the largest float: what cannot be told is null
        mean, std = (float(seen.mean()), float(seen.std())) if known else (np.nan, np.nan)
    return FieldExpectation(
        name=name,
        kind="NUMBER",
        missing_share=float(np.isnan(values).mean()),
        min=float(seen.min()) if bounded else None,
        max=float(seen.max()) if bounded else None,
        mean=mean if np.isfinite(mean) else None,
        std=std if np.isfinite(std) else None,
        quantiles=tuple(np.quantile(seen, QUANTILES, method="inverted_cdf").tolist()) if known else (),
        categories=(),
        category_shares=(),
    )


def _text(name: str, column: Any, *, hidden: bool) -> FieldExpectation:
    rows, seen = len(column), len(column) - column.null_count
    shares: dict[str, float] = {}
    if not hidden and _are_categories(column, seen):
        counts = {each["values"]: each["counts"] for each in pc.value_counts(column.drop_null()).to_pylist()}
        shares = {text: count / rows for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))}
    return FieldExpectation(
        name=name,
        kind="TEXT",
        missing_share=(rows - seen) / rows,
        min=None,
        max=None,
        mean=None,
        std=None,
        quantiles=(),
        categories=tuple(shares),
        category_shares=tuple(shares.values()),
    )


def _are_categories(column: Any, seen: int) -> bool:
    distinct = pc.count_distinct(column).as_py()
    few = 0 < distinct <= min(CATEGORIES_MAX, DISTINCT_SHARE_MAX * seen)
    return few and bool(pc.max(pc.utf8_length(column)).as_py() <= LONGEST_CATEGORY)


def _pearson(first: Floats, second: Floats) -> float | None:
    both = np.isfinite(first) & np.isfinite(second)
    if np.count_nonzero(both) < CORRELATION_ROWS_MIN:
        return None
    first, second = first[both], second[both]
    if not (_varies(first) and _varies(second)):
        return None
    with np.errstate(all="ignore"):
        value = float(np.corrcoef(first, second)[0, 1])
    return value if np.isfinite(value) else None


def _varies(values: Floats) -> bool:
    return len(values) > 0 and bool(values.min() < values.max())


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))
