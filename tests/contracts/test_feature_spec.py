"""What a project may declare as a feature, and what it is told if it may not."""

import pytest
from pydantic import TypeAdapter, ValidationError

from millrace.contracts.feature_spec import FeatureSpec, feature_set_id

ONE = TypeAdapter(FeatureSpec)
MANY = TypeAdapter(tuple[FeatureSpec, ...])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"kind": "rolling_min", "field": "x"},
            "f: give rows or span_s, one of the two, got rows=None and span_s=None",
        ),
        ({"kind": "rolling_mean", "field": "x", "rows": 2, "span_s": 3}, "one of the two, got rows=2 and span_s=3"),
        ({"kind": "rolling_std", "field": "x", "span_s": 0}, "greater than 0"),
        ({"kind": "time_since", "field": "x"}, "give field and above, or none of them, got field=x, above=None"),
        ({"kind": "time_since", "above": 1}, "got field=None, above=1"),
        ({"kind": "ewm", "field": "x"}, "give half_life_rows or half_life_s, one of the two"),
        ({"kind": "ewm", "field": "x", "half_life_s": float("inf")}, "half_life_s"),
        ({"kind": "calendar", "part": "week"}, "'hour', 'minute_of_day'"),
        ({"kind": "calendar", "part": "hour", "utc_offset_s": 90_000}, "less than or equal to 64800"),
        ({"kind": "ratio", "field": "x"}, "give over or rows, one of the two"),
        ({"kind": "category", "field": "x", "values": []}, "at least 1 item"),
        ({"kind": "category", "field": "x", "values": ["a", "b", "a"]}, r"values must differ, got \['a'\] twice"),
        ({"kind": "function", "function": "spread", "inputs": ["x"]}, "should match pattern"),
        ({"kind": "function", "function": "../f.py:f", "inputs": ["x"]}, "should match pattern"),
        ({"kind": "function", "function": "f.py:f", "inputs": []}, "at least 1 item"),
    ],
)
def test_what_is_not_accepted_is_explained(options, said):
    """The feature, the values seen, and what to give."""
    with pytest.raises(ValidationError, match=said):
        ONE.validate_python({"name": "f", **options})


def test_the_ids_of_earlier_feature_sets_stay():
    """The id that the definitions of the first release had; options that came later count only where they are used."""
    specs = MANY.validate_python(
        [
            {"name": "a", "kind": "value", "field": "x"},
            {"name": "b", "kind": "rolling_mean", "field": "x", "rows": 3},
            {"name": "c", "kind": "rolling_share", "field": "x", "rows": 3, "above": 1},
            {"name": "d", "kind": "label_share", "rows": 48, "equals": 1},
            {"name": "e", "kind": "label_lag"},
        ]
    )

    assert "55b68aaa7a350588" == feature_set_id(specs)
    assert {"name": "b", "kind": "rolling_mean", "field": "x", "rows": 3} == specs[1].model_dump()
