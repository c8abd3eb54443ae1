"""Streaming features: each kind against its definition, and look-back that is just long enough."""

import math
from functools import reduce
from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from millrace.contracts.feature_spec import FeatureSpec, feature_set_id
from millrace.features.online import EntityFeatures, look_back

ONE = TypeAdapter(FeatureSpec)
MANY = TypeAdapter(tuple[FeatureSpec, ...])


def spec(kind: str, **values: object) -> FeatureSpec:
    """A feature named f."""
    return ONE.validate_python({"name": "f", "kind": kind, **values})


def values_of(one: FeatureSpec, rows: list[float | None], labels: dict[int, float] | None = None) -> list[float]:
    """The feature at each row; ``labels`` become known just before the row of that number."""
    entity, found = EntityFeatures((one,)), []
    for number, row in enumerate(rows):
        if labels and number in labels:
            entity.label(labels[number])
        found.append(entity.row({"x": row})[0])
    return found


NAN = math.nan


@pytest.mark.parametrize(
    ("one", "rows", "expected"),
    [
        (spec("value", field="x"), [1, None, 3], [1, NAN, 3]),
        (spec("lag", field="x", rows=2), [1, 2, 3, 4], [NAN, NAN, 1, 2]),
        (spec("difference", field="x"), [1, 4, 9], [NAN, 3, 5]),
        (spec("difference", field="x", rows=2), [1, 4, 9], [NAN, NAN, 8]),
        (spec("rolling_mean", field="x", rows=2), [1, 3, None, 7], [1, 2, 3, 7]),
        (spec("rolling_share", field="x", rows=3, above=1), [1, 2, 3, 0], [0, 0.5, 2 / 3, 2 / 3]),
    ],
)
def test_each_kind_over_rows(one, rows, expected):
    """What the definition says, NaN where a value does not exist."""
    assert [pytest.approx(value, nan_ok=True) for value in expected] == values_of(one, rows)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (spec("label_lag"), [NAN, 1, 0, 0, 1]),
        (spec("label_lag", rows=2), [NAN, NAN, 1, 1, 0]),
        (spec("label_share", rows=2), [NAN, 1, 0.5, 0.5, 0.5]),
        (spec("label_mean", rows=3), [NAN, 1, 0.5, 0.5, 2 / 3]),
    ],
)
def test_each_kind_over_labels(one, expected):
    """Label feedback sees the labels that were known before the row, and no later one."""
    known = {1: 1.0, 2: 0.0, 4: 1.0}

    assert [pytest.approx(value, nan_ok=True) for value in expected] == values_of(one, [0.0] * 5, known)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 10))
def test_rolling_mean_equals_the_mean_of_the_newest_rows(rows, width):
    """To the bit, when added one by one from the newest to the oldest; and near the exact mean."""
    found = values_of(spec("rolling_mean", field="x", rows=width), rows)
    newest_first = [rows[max(0, end - width) : end][::-1] for end in range(1, len(rows) + 1)]

    assert [reduce(add, seen, 0.0) / len(seen) for seen in newest_first] == found
    assert [pytest.approx(math.fsum(seen) / len(seen), abs=1e-8) for seen in newest_first] == found


def test_look_back_is_as_long_as_the_longest_need():
    """A lag of 48 keeps 49 values, a mean of 10 keeps 10; labels as many as the longest share."""
    specs = MANY.validate_python(
        [
            {"name": "a", "kind": "lag", "field": "x", "rows": 48},
            {"name": "b", "kind": "rolling_mean", "field": "y", "rows": 10},
            {"name": "c", "kind": "value", "field": "y"},
            {"name": "d", "kind": "label_share", "rows": 7},
        ]
    )

    assert look_back(specs) == ({"x": 49, "y": 10}, 7)


def test_the_id_of_a_feature_set_is_its_content():
    """Equal definitions have equal ids; another order, name or width is another set."""
    first, second = spec("lag", field="x", rows=2), spec("value", field="x")

    assert feature_set_id((first, second)) == feature_set_id((spec("lag", field="x", rows=2), second))
    assert len({feature_set_id(one) for one in ((first, second), (second, first), (first,), (second,))}) == 4
