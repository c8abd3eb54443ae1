"""What features need from an event: the same by the row and by the column."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from millrace.contracts.feature_spec import FeatureSpec, fields_of
from millrace.features.inputs import Inputs

MANY = TypeAdapter(tuple[FeatureSpec, ...])
SPECS = MANY.validate_python(
    [
        {"name": "a", "kind": "lag", "field": "double", "rows": 2},
        {"name": "b", "kind": "rolling_max", "field": "long", "rows": 2},
        {"name": "c", "kind": "ratio", "field": "double", "over": "flag"},
        {"name": "d", "kind": "category", "field": "side", "values": ["buy", "sell", "ü"]},
        {"name": "e", "kind": "category", "field": "side", "values": ["sell", "buy"]},
        {"name": "f", "kind": "is_category", "field": "side", "equals": "sell"},
        {"name": "g", "kind": "is_category", "field": "kind", "equals": ""},
        {"name": "h", "kind": "function", "function": "f.py:f", "inputs": ["a", "other"]},
        {"name": "i", "kind": "time_since"},
        {"name": "j", "kind": "calendar", "part": "hour"},
        {"name": "k", "kind": "label_lag"},
    ]
)
TEXT = st.none() | st.sampled_from(["buy", "sell", "ü", "", "hold"]) | st.text(max_size=3)
EVENT = st.fixed_dictionaries(
    {
        "double": st.none() | st.floats(),
        "long": st.none() | st.integers(-(2**63), 2**63 - 1),
        "flag": st.none() | st.booleans(),
        "other": st.none() | st.floats(width=32),
        "side": TEXT,
        "kind": TEXT,
        "not looked at": st.integers(0, 9),
    }
)
TYPES = {
    "double": pa.float64(),
    "long": pa.int64(),
    "flag": pa.bool_(),
    "other": pa.float32(),
    "side": pa.string(),
    "kind": pa.dictionary(pa.int32(), pa.string()),
    "not looked at": pa.int64(),
}


@given(st.lists(EVENT, max_size=20))
def test_rows_and_columns_agree(events):
    """Numbers of any type, texts and enums, null or not."""
    inputs = Inputs(SPECS)
    columns = {name: pa.array([event[name] for event in events], kind) for name, kind in TYPES.items()}
    rows = np.array([inputs.row(event) for event in events], float).reshape(len(events), len(inputs.names))

    found = inputs.columns(pa.record_batch(columns))

    assert np.array_equal(rows, found, equal_nan=True)
    assert np.array_equal(np.signbit(rows), np.signbit(found)) or np.isnan(rows).any()


def test_a_field_is_read_once_for_each_meaning():
    """A number has one input, a text one for each list of values; a feature that a function rests on has none."""
    inputs = Inputs(SPECS)

    assert ("double", "long", "flag") == inputs.names[:3]
    assert "other" == inputs.names[-1]
    assert 8 == len(inputs.names) == len(set(inputs.names))
    assert ("double", "flag", "kind", "long", "other", "side") == inputs.fields


def test_what_was_never_declared_has_a_number_of_its_own():
    """-1 for an unknown category, 0 for another than the one asked for, NaN for none."""
    inputs = Inputs(SPECS[3:6])

    assert [[1.0, 0.0, 1.0], [-1.0, -1.0, 0.0]] == [inputs.row({"side": side}) for side in ("sell", "hold")]
    assert all(map(math.isnan, inputs.row({})))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("c", ("double", "flag")), ("d", ("side",)), ("h", ("a", "other")), ("i", ()), ("j", ()), ("k", ())],
)
def test_the_fields_of_a_feature(name, expected):
    """A function's inputs are fields, unless they are features declared before."""
    spec = next(one for one in SPECS if one.name == name)

    assert expected == tuple(field for field, _ in fields_of(spec))
    assert {"text" if name == "d" else "number"} >= {kind for _, kind in fields_of(spec)}
    assert (("other", "number"),) == fields_of(SPECS[7], before={"a"})
