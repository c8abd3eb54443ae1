"""How far an event is seen by features: never less far than the features themselves say."""

import random

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from millrace.cli.lineage_reach import seen_for
from millrace.contracts.feature_spec import Difference, Ewm, LabelLag, LabelShare, Lag, RollingMean, Value
from millrace.features.offline import compute
from millrace.lineage.reach import Reach

SPECS = st.lists(
    st.one_of(
        st.just(Value(name="v", kind="value", field="x")),
        st.integers(1, 4).map(lambda rows: Lag(name=f"lag{rows}", kind="lag", field="x", rows=rows)),
        st.integers(1, 4).map(lambda rows: Difference(name=f"d{rows}", kind="difference", field="x", rows=rows)),
        st.integers(1, 5).map(lambda rows: RollingMean(name=f"m{rows}", kind="rolling_mean", field="x", rows=rows)),
        st.integers(1, 3).map(lambda span: RollingMean(name=f"s{span}", kind="rolling_mean", field="x", span_s=span)),
        st.just(Ewm(name="ewm", kind="ewm", field="x", half_life_rows=2)),
        st.integers(1, 3).map(lambda rows: LabelLag(name=f"l{rows}", kind="label_lag", rows=rows)),
        st.integers(1, 3).map(lambda rows: LabelShare(name=f"p{rows}", kind="label_share", rows=rows, equals=1.0)),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda spec: spec.name,
)


def history(rng: random.Random, rows: int) -> list[dict]:
    """Events of two entities, each with its label some time later, or never."""
    log: list[dict] = []
    waiting: list[tuple[str, str]] = []
    for number in range(rows):
        who = rng.choice("ab")
        x = None if rng.random() < 0.1 else rng.random()
        log.append({"kind": "EVENT", "id": f"e{number}", "entity": who, "time_ms": number * 500, "x": x})
        if rng.random() < 0.8:
            waiting.append((f"e{number}", who))
        while waiting and rng.random() < 0.5:
            of, who = waiting.pop(rng.randrange(len(waiting)))
            log.append({"kind": "LABEL", "id": of, "entity": who, "time_ms": number * 500, "label": rng.randint(0, 1)})
    return log


def features(specs, log: list[dict]) -> np.ndarray:
    """Of the events, in order."""
    columns = {name: [row.get(name) for row in log] for name in ("kind", "entity", "time_ms", "label", "x")}
    types = {"label": pa.float64(), "x": pa.float64(), "time_ms": pa.int64()}
    return compute(specs, pa.table({name: pa.array(values, types.get(name)) for name, values in columns.items()}))


@given(SPECS, st.integers(0, 2**32), st.data())
def test_every_feature_that_changes_with_an_event_is_reached(specs, seed: int, data: st.DataObject) -> None:
    """Change the event and its label: whatever row is another one then, the reach has it."""
    log = history(random.Random(seed), 25)
    events = [place for place, row in enumerate(log) if row["kind"] == "EVENT"]
    at = data.draw(st.sampled_from(events))
    changed = [dict(row) for row in log]
    for row in changed:
        if row["id"] == log[at]["id"]:
            row.update({"x": 9.0} if row["kind"] == "EVENT" else {"label": 1 - row["label"]})
    reach = Reach(log[at]["id"], *seen_for(specs))
    for place in range(at + 1, len(log)):
        row = log[place]
        if row["entity"] == log[at]["entity"] and not reach.take(place, row["kind"], row["id"]):
            break

    before, after = features(specs, log), features(specs, changed)

    same = ((before == after) | (np.isnan(before) & np.isnan(after))).all(axis=1)
    assert {place for place, equal in zip(events, same, strict=True) if not equal} <= {at, *reach.offsets}
