"""Features in words."""

from typing import Any, get_args

import pytest
from pydantic import TypeAdapter

from millrace.cli.feature_words import define
from millrace.contracts.feature_spec import FeatureSpec
from millrace.contracts.sections import Label

LABEL = Label(classes=("down", "up"), delay_s=1)
CASES: list[tuple[dict[str, Any], str]] = [
    ({"kind": "value", "field": "x"}, "x"),
    ({"kind": "lag", "field": "x", "rows": 1}, "x 1 row ago"),
    ({"kind": "difference", "field": "x", "rows": 3}, "x minus itself 3 rows ago"),
    ({"kind": "rolling_mean", "field": "x", "span_s": 3600}, "mean of x over the last 60 min"),
    ({"kind": "rolling_share", "field": "x", "rows": 9, "above": 0.5}, "share of the newest 9 rows with x above 0.5"),
    ({"kind": "rolling_min", "field": "x", "rows": 1}, "least x over the newest 1 row"),
    ({"kind": "rolling_max", "field": "x", "span_s": 86400}, "greatest x over the last 24 h"),
    ({"kind": "rolling_std", "field": "x", "rows": 9}, "standard deviation of x over the newest 9 rows"),
    ({"kind": "rolling_count", "field": "x", "span_s": 90}, "how many of the last 90 s have x"),
    ({"kind": "time_since"}, "seconds since the row before"),
    ({"kind": "time_since", "field": "x", "above": 2}, "seconds since the row before with x above 2"),
    ({"kind": "ewm", "field": "x", "half_life_rows": 5}, "mean of x, weights halved every 5 rows"),
    ({"kind": "ewm", "field": "x", "half_life_s": 90}, "mean of x, weights halved every 90 s"),
    ({"kind": "calendar", "part": "hour"}, "hour of the event time in UTC"),
    (
        {"kind": "calendar", "part": "day_of_week", "cyclic": "sin", "utc_offset_s": -34200},
        "sine of the day of week of the event time in UTC-09:30",
    ),
    ({"kind": "ratio", "field": "x", "over": "y"}, "x over y"),
    ({"kind": "ratio", "field": "x", "rows": 1}, "x over itself 1 row ago"),
    ({"kind": "category", "field": "x", "values": list("abcdef")}, None),
    ({"kind": "is_category", "field": "x", "equals": "a"}, "1 if x is 'a', else 0"),
    ({"kind": "function", "function": "features.py:f", "inputs": ["x", "y"]}, "features.py:f of x, y"),
    ({"kind": "label_lag", "rows": 1}, "the newest known label"),
    ({"kind": "label_share", "rows": 4}, "share of 'up' among the newest 4 known labels"),
    ({"kind": "label_mean", "rows": 4}, "mean of the newest 4 known labels"),
]


@pytest.mark.parametrize(("options", "words"), CASES)
def test_a_feature_in_words(options, words):
    """One line for each, with its widths and units."""
    spec = TypeAdapter(FeatureSpec).validate_python({"name": "f", **options})

    assert (words or "x as its place among 'a', 'b', 'c', 'd', 'e' … (6 values); -1 for any other") == define(
        spec, LABEL
    )


def test_every_kind_has_words():
    """The table above knows each kind that a project may declare."""
    declared = {get_args(one.model_fields["kind"].annotation)[0] for one in get_args(get_args(FeatureSpec)[0])}

    assert 19 == len(declared)
    assert declared == {options["kind"] for options, _ in CASES}
