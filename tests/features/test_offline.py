"""Features over a table: the bits that ingest has computed row by row."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.features.offline import compute
from tests.features.drawn import MANY, ROW, SPECS, functions_of, row_by_row, timed


def table(rows, prefix):
    """The rows as a table of samples; a label has no event."""
    is_label, entity, time_ms, x, y, side = zip(*rows, strict=True) if rows else [()] * 6
    of_event = {"x": (x, pa.float64()), "y": (y, pa.float64()), "side": (side, pa.string())}
    events = {
        prefix + name: pa.array([None if label else one for one, label in zip(values, is_label, strict=True)], kind)
        for name, (values, kind) in of_event.items()
    }
    return pa.table(
        {
            "kind": pa.array(["LABEL" if one else "EVENT" for one in is_label], pa.string()),
            "entity": pa.array(entity, pa.string()),
            "time_ms": pa.array(time_ms, pa.int64()),
            "label": pa.array([one if label else None for one, label in zip(x, is_label, strict=True)], pa.float64()),
            **events,
        }
    )


@given(SPECS, st.lists(ROW, max_size=60).map(timed), st.integers(1, 70), st.sampled_from(["", "event_"]))
def test_offline_equals_online(specs, rows, chunk_rows, prefix):
    """Any features, rows out of order and late, in any chunks."""
    found = compute(specs, table(rows, prefix), functions_of(specs), prefix=prefix, chunk_rows=chunk_rows)

    assert row_by_row(specs, rows) == found.tobytes()


def test_entities_expire_offline_too():
    """The argument is passed on: after 10,000 rows of b, a is new again."""
    rows = [(False, "a", 0, 1.0, 0.0, None)]
    rows += [(False, "b", number * 1000, 1.0, 0.0, None) for number in range(10_000)]
    rows += [(False, "a", 10_000_000, 1.0, 0.0, None)]
    specs = MANY.validate_python([{"name": "n", "kind": "rolling_count", "field": "x", "rows": 9}])

    forever, hour = (compute(specs, table(rows, ""), expire_after_s=after)[-1, 0] for after in (None, 3600))

    assert (2.0, 1.0) == (forever, hour)
