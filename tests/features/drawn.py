"""Random features and rows, computed by the definition and in runs, for the tests that compare the two."""

import math

import numpy as np
from hypothesis import strategies as st
from pydantic import TypeAdapter

from millrace.contracts.feature_spec import FeatureSpec, Function
from millrace.features.batch import FeatureState
from millrace.features.inputs import Inputs
from millrace.features.online import PartitionFeatures

NAN = math.nan
MANY = TypeAdapter(tuple[FeatureSpec, ...])

ROWS = st.one_of(st.integers(1, 6), st.sampled_from([63, 64, 65, 130, 100_000]))
SPAN = st.sampled_from([0.5, 3, 20, 300, 1e9])
FIELD = st.sampled_from(["x", "y"])
THRESHOLD = st.sampled_from([-1.0, 0.0])
WIDTH = st.one_of(st.fixed_dictionaries({"rows": ROWS}), st.fixed_dictionaries({"span_s": SPAN}))
FUNCTIONS = {"x": lambda x, y: x - y, "f0": lambda f0, x: np.where(f0 > x, f0, 2 * x)}


def kind(name, **options):
    """Features of one kind."""
    return st.fixed_dictionaries({"kind": st.just(name), **options})


def window(name, **options):
    """Features of a kind that has a window."""
    return st.builds(lambda one, width: one | width, kind(name, field=FIELD, **options), WIDTH)


OLD = [
    kind("value", field=FIELD),
    kind("lag", field=FIELD, rows=ROWS),
    kind("difference", field=FIELD, rows=ROWS),
    kind("rolling_mean", field=FIELD, rows=ROWS),
    kind("rolling_share", field=FIELD, rows=ROWS, above=THRESHOLD),
    *(kind(name, rows=ROWS) for name in ("label_lag", "label_share", "label_mean")),
]
NEW = [
    *(window(name) for name in ("rolling_mean", "rolling_std", "rolling_min", "rolling_max", "rolling_count")),
    window("rolling_share", above=THRESHOLD),
    kind("time_since"),
    kind("time_since", field=FIELD, above=THRESHOLD),
    kind("ewm", field=FIELD, half_life_rows=st.sampled_from([0.5, 1, 30])),
    kind("ewm", field=FIELD, half_life_s=st.sampled_from([0.01, 7, 1e6])),
    kind(
        "calendar",
        part=st.sampled_from(["hour", "minute_of_day", "day_of_week", "day_of_year", "month"]),
        utc_offset_s=st.sampled_from([0, 3600, -34_200]),
        cyclic=st.sampled_from([None, "sin", "cos"]),
    ),
    kind("ratio", field=FIELD, over=FIELD),
    kind("ratio", field=FIELD, rows=ROWS),
    kind("category", field=st.just("side"), values=st.sampled_from([("buy", "sell"), ("sell",)])),
    kind("is_category", field=st.just("side"), equals=st.sampled_from(["buy", "", "ü"])),
    kind("function", function=st.just("features.py:f"), inputs=st.sampled_from([("x", "y"), ("f0", "x")])),
]


def named(found):
    """Features f0, f1 … of the options drawn; a function that rests on f0 cannot be f0."""
    if found and found[0].get("inputs", ("",))[0] == "f0":
        found = found[1:]
    found = [one for one in found if one.get("inputs", ("",))[0] != "f0" or one is not found[0]]
    return MANY.validate_python([{"name": f"f{number}", **one} for number, one in enumerate(found)])


SPECS = st.lists(st.one_of(*OLD, *NEW), max_size=8).map(named)
NUMBER = st.one_of(st.floats(width=64), st.sampled_from([NAN, 0.0, -0.0, 1.0, math.inf, -math.inf]))
TIME = (
    st.one_of(  # in order, out of order by a little, late by much; around a place far from any border of the calendar
        st.integers(0, 20_000), st.sampled_from([0, 1, 1000, 500_000, 86_400_000, 40_000_000_000, -7])
    )
)
ROW = st.tuples(  # is it a label, entity, time since the row before it, x or the label, y, side
    st.booleans(),
    st.sampled_from("abcd"),
    st.one_of(st.integers(0, 5000), st.integers(-20_000, 20_000), st.sampled_from([0, 500_000, -500_000, 4 * 10**10])),
    NUMBER,
    NUMBER,
    st.sampled_from([None, "buy", "sell", "ü"]),
)


def timed(rows):
    """The rows with times that go on from one to the next."""
    now, found = 1_600_000_000_000, []
    for is_label, entity, passed, x, y, side in rows:
        now += passed
        found.append((is_label, entity, now, x, y, side))
    return found


def functions_of(specs):
    """What the functions among the features do."""
    return {spec.name: FUNCTIONS[spec.inputs[0]] for spec in specs if isinstance(spec, Function)}


def values_of(row):
    """The event of a row."""
    return {"x": row[3], "y": row[4], "side": row[5]}


def row_by_row(specs, rows, **expiry):
    """By the definition; as bytes, with one bit pattern for NaN."""
    partition, found = PartitionFeatures(specs, functions=functions_of(specs), **expiry), []
    for row in rows:
        is_label, entity, time_ms, x, *_ = row
        if is_label:
            partition.label(entity, x)
        else:
            features = partition.event(entity, time_ms, values_of(row))
            found.append([NAN if math.isnan(one) else one for one in features])
    return np.array(found, np.float64).tobytes()


def state_of(specs, **expiry):
    """A state that remembers nothing yet."""
    return FeatureState(specs, functions=functions_of(specs), **expiry)


def advance(state, specs, rows):
    """One run of rows."""
    inputs = Inputs(specs)
    values = [inputs.row(values_of(row)) for row in rows if not row[0]]
    columns = np.array(values, float).reshape(len(values), len(inputs.names))
    return state.advance(
        is_label=np.array([row[0] for row in rows], np.bool_),
        entity=state.codes([row[1] for row in rows]),
        fields={name: columns[:, place] for place, name in enumerate(inputs.names)},
        labels=np.array([row[3] for row in rows if row[0]], float),
        time_ms=np.array([row[2] for row in rows], np.int64),
    )


def in_runs(specs, rows, lengths, restart=lambda: False, **expiry):
    """By runs of the given lengths, over and over; after a run for which ``restart`` says so, saved and restored."""
    state, found, start = state_of(specs, **expiry), [], 0
    while start < len(rows):
        length = lengths[len(found) % len(lengths)]
        found.append(advance(state, specs, rows[start : start + length]))
        start += length
        if restart():
            frames, state = state.save(chunk_bytes=200), state_of(specs, **expiry)
            state.restore(frames)
    return b"".join(part.tobytes() for part in found)
