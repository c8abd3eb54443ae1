"""Features of whole runs: the same bits as row by row, however the rows are cut."""

import math
import random
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from millrace.contracts.feature_spec import FeatureSpec
from millrace.features import batch, memory
from millrace.features.batch import FeatureState
from millrace.features.online import EntityFeatures, look_back

NAN = math.nan
MANY = TypeAdapter(tuple[FeatureSpec, ...])

ROWS = st.one_of(st.integers(1, 6), st.sampled_from([63, 64, 65, 130, 100_000]))
FIELD = st.sampled_from(["x", "y"])
SPECS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"kind": st.just("value"), "field": FIELD}),
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["lag", "difference", "rolling_mean"]), "field": FIELD, "rows": ROWS}
        ),
        st.fixed_dictionaries(
            {"kind": st.just("rolling_share"), "field": FIELD, "rows": ROWS, "above": st.sampled_from([-1.0, 0.0])}
        ),
        st.fixed_dictionaries({"kind": st.sampled_from(["label_lag", "label_share", "label_mean"]), "rows": ROWS}),
    ),
    max_size=8,
).map(lambda found: MANY.validate_python([{"name": f"f{n}", **one} for n, one in enumerate(found)]))
VALUES = st.one_of(st.floats(width=64), st.sampled_from([NAN, 0.0, -0.0, 1.0, math.inf, -math.inf]))
ROW = st.tuples(st.booleans(), st.sampled_from("abcd"), VALUES, VALUES)  # is it a label, entity, x or the label, y


def row_by_row(specs, rows):
    """By the definition; as bytes, with one bit pattern for NaN."""
    entities = defaultdict(lambda: EntityFeatures(specs))
    found = []
    for is_label, entity, first, second in rows:
        if is_label:
            entities[entity].label(first)
        else:
            found.append([NAN if math.isnan(one) else one for one in entities[entity].row({"x": first, "y": second})])
    return np.array(found, np.float64).tobytes()


def advance(state, specs, rows):
    """One run of rows."""
    events = [row for row in rows if not row[0]]
    return state.advance(
        is_label=np.array([row[0] for row in rows], np.bool_),
        entity=state.codes([row[1] for row in rows]),
        fields={name: np.array([row["xy".index(name) + 2] for row in events], float) for name in look_back(specs)[0]},
        labels=np.array([row[2] for row in rows if row[0]], float),
    )


def in_runs(specs, rows, lengths):
    """By runs of the given lengths, over and over until there are no more rows."""
    state, found, start = FeatureState(specs), [], 0
    while start < len(rows):
        length = lengths[len(found) % len(lengths)]
        found.append(advance(state, specs, rows[start : start + length]))
        start += length
    return b"".join(part.tobytes() for part in found)


@given(SPECS, st.lists(ROW, max_size=80), st.lists(st.integers(0, 30), min_size=1).filter(any))
def test_any_cut_gives_the_bits_of_row_by_row(specs, rows, lengths):
    """Any features, values, order of events and labels, and any cut into runs, empty ones too."""
    assert row_by_row(specs, rows) == in_runs(specs, rows, lengths)


WIDE = [
    {"name": "a", "kind": "rolling_mean", "field": "x", "rows": 100},
    {"name": "b", "kind": "rolling_mean", "field": "x", "rows": 7},
    {"name": "c", "kind": "lag", "field": "y", "rows": 90},
    {"name": "d", "kind": "rolling_share", "field": "y", "rows": 1000, "above": 0.5},
    {"name": "e", "kind": "label_mean", "rows": 200},
    {"name": "f", "kind": "label_share", "rows": 70},
]


@pytest.mark.parametrize("length", [1, 10, 64, 65, 700, 3000])
@pytest.mark.parametrize("entities", [1, 20, 400])
def test_long_histories_give_the_bits_of_row_by_row(length, entities):
    """With histories longer than the rows kept at first, short and long runs, one entity and many."""
    specs, drawn = MANY.validate_python(WIDE), random.Random(f"{length} {entities}")
    rows = [
        (
            drawn.random() < 0.4,
            str(drawn.randrange(entities)),
            drawn.choice([NAN, drawn.gauss(0, 9), 1.0]),
            drawn.random(),
        )
        for _ in range(3000)
    ]

    assert row_by_row(specs, rows) == in_runs(specs, rows, [length])


def test_a_run_too_large_for_memory_is_cut(monkeypatch):
    """The limit on what is laid out at once changes no bit."""
    specs, drawn = MANY.validate_python(WIDE), random.Random(7)
    rows = [(drawn.random() < 0.4, drawn.choice("ab"), drawn.gauss(0, 1), drawn.random()) for _ in range(500)]
    monkeypatch.setattr(batch, "CELLS_MAX", 5000)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [500])


def test_a_code_belongs_to_one_entity():
    """Codes are dense, in the order of first sight, and stay."""
    state = FeatureState(MANY.validate_python(WIDE))

    assert [0, 1, 0, 2] == state.codes(["b", "a", "b", "c"]).tolist()
    assert [2, 3, 1] == state.codes(["c", "d", "a"]).tolist()


def test_a_long_look_back_costs_no_memory_before_there_is_history():
    """A thousand entities with ten rows each keep far fewer than 100,000 values an entity."""
    specs = MANY.validate_python([{"name": "a", "kind": "rolling_mean", "field": "x", "rows": 100_000}])
    state = FeatureState(specs)
    advance(state, specs, [(False, str(n % 1000), float(n), 0.0) for n in range(10_000)])

    assert memory.FIRST_WIDTH == state._events.series[0].width
