"""What is learned of training rows, and how new records are held to it."""

import csv
import gzip
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.data_policy import DataPolicy
from millrace.contracts.events import FieldExpectation
from millrace.contracts.project import Project
from millrace.expectations.columns import Columns, Plan
from millrace.expectations.learn import QUANTILES, learn
from millrace.expectations.learned import LearnedRules, looks_complete, range_of
from tests.expectations.odd_rules import learned_event
from tests.support import EVENT, MODEL

NOTHING: frozenset[str] = frozenset()
ELECTRICITY = Path(__file__).parents[2] / "examples" / "electricity" / "electricity.csv.gz"
WINDOWS = [(0, 5000), (6000, 11000), (12500, 17500), (13500, 18500), (17500, 25500), (20500, 25500), (36000, 44500)]


def project_of(fields: dict[str, Any], **policy: Any) -> Project:
    """The tiny project with these fields besides its own."""
    more = [{"name": name, "type": kind} if isinstance(kind, str) else kind for name, kind in fields.items()]
    marked = any("personal" in field for field in more)  # then somebody has to be named
    own = [
        {**field, "personal": "subject"} if marked and field["name"] == "who" else field for field in EVENT["fields"]
    ]
    schema = {**EVENT, "fields": [*own, *more]}
    data = DataPolicy.model_validate({"learned": policy})
    return Project.model_validate({**MODEL, "folder": Path(), "event_schema": schema, "data": data})


def rules_of(table: pa.Table, project: Project, **hidden: Any) -> LearnedRules:
    """What is learned of the table, as the project wants it."""
    fields, _ = learn(table, skip=NOTHING, **hidden)
    return LearnedRules.of(learned_event(*fields, rows=table.num_rows), project)


def broken(rules: LearnedRules, **values: Any) -> list[tuple[str, str]]:
    """Flags and what becomes of the record."""
    return [(one.flag, one.on) for one in rules.breaches(values)]


ROWS = 1000
TABLE = pa.table(
    {
        "x": pa.array(np.arange(ROWS) * 7 % ROWS / (ROWS - 1)),  # 0 to 1, in no order
        "side": pa.array(["BUY", "SELL"] * (ROWS // 2)),
        "holes": pa.array([None, 1.0] * (ROWS // 2)),
        "same": pa.array([7] * ROWS),
    }
)
FIELDS = {"side": "string", "holes": ["null", "double"], "same": "long"}
PROJECT = project_of({name: {"name": name, "type": kind} for name, kind in FIELDS.items()})
GOOD = {"x": 0.5, "side": "BUY", "holes": 1.0, "same": 7}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"x": 2.0}, []),
        ({"x": 2.2}, [("unseen-range:x", "reject")]),
        ({"x": -1.2}, [("unseen-range:x", "reject")]),
        ({"x": math.inf}, [("unseen-range:x", "reject")]),
        ({"x": "one"}, [("unseen-range:x", "reject")]),
        ({"x": None}, [("unseen-missing:x", "reject")]),
        ({"x": math.nan, "side": None}, [("unseen-missing:x", "reject"), ("unseen-missing:side", "reject")]),
        ({"side": "buy"}, [("unseen-category:side", "flag")]),
        ({"holes": None}, []),
        ({"same": 1_000_000}, []),
    ],
)
def test_a_record_is_held_to_what_training_saw(change, expected):
    """A field that was constant has no range; one that had holes may have them."""
    assert expected == broken(rules_of(TABLE, PROJECT), **{**GOOD, **change})


def test_the_message_says_what_was_seen_and_whose_expectations_they_are():
    """So that the owner knows which training set to look at."""
    rules = rules_of(TABLE, PROJECT)
    messages = [one.message for one in rules.breaches({**GOOD, "x": 9.5, "side": None})]

    assert "field 'x' is 9.5, expected -1.0" in messages[0]
    assert messages[0].endswith("in the training rows of run run-1 (expectations run-1)")
    assert messages[1].startswith("field 'side' is missing, which it never was in the training rows")


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"missing": "off", "range": "off", "category": "off"}, []),
        ({"missing": "flag"}, ["unseen-missing:holes", "unseen-range:x", "unseen-category:side"]),
        ({"category": "reject", "range": "off"}, ["unseen-missing:holes", "unseen-category:side"]),
        ({"range_margin": 100}, ["unseen-missing:holes", "unseen-category:side"]),
        ({"rows_min": ROWS + 1}, []),
    ],
)
def test_the_owner_decides_which_rules_hold(policy, expected):
    """As written under data.learned of model.yaml."""
    kinds = {name: {"name": name, "type": kind} for name, kind in FIELDS.items()}
    table = TABLE.set_column(2, "holes", pa.array([1.0] * ROWS))
    found = broken(rules_of(table, project_of(kinds, **policy)), x=50.0, side="HOLD", holes=None, same=7)

    assert sorted(expected) == sorted(flag for flag, _ in found)


def test_of_personal_fields_only_their_presence_is_learned():
    """What is published of the training rows tells nothing about a person."""
    fields, _ = learn(TABLE, skip=NOTHING, personal=frozenset({"side", "x"}))
    kinds = {name: {"name": name, "type": kind} for name, kind in FIELDS.items()}
    marked = {**kinds, "side": {**kinds["side"], "personal": True}}
    rules = rules_of(TABLE, project_of(marked))

    assert [(), None] == [fields[1].categories, fields[0].max]
    assert [] == broken(rules, **{**GOOD, "side": "never seen"})
    assert [("unseen-missing:side", "reject")] == broken(rules, **{**GOOD, "side": None})


def test_fields_that_the_events_no_longer_have_are_left_out_by_name():
    """A schema may lose a field or change its type; the rest still holds."""
    project = project_of({"side": "double"})

    assert ("holes", "same", "side") == rules_of(TABLE, project).left_out


@pytest.mark.parametrize("sign", [1, -1])
def test_a_counter_or_a_clock_has_no_range(sign):
    """It leaves that of its training rows as time goes on; what else is known of it is kept."""
    rng = np.random.default_rng(5)
    table = pa.table({"x": sign * (np.arange(ROWS) + rng.normal(size=ROWS) * 50)})
    [field], _ = learn(table, skip=NOTHING)

    assert (None, None) == (field.min, field.max)
    assert field.mean == pytest.approx(sign * ROWS / 2, rel=0.05)
    assert [] == broken(rules_of(table, PROJECT), x=sign * 1e9)


def test_names_and_prose_are_no_categories():
    """Nobody expects to have seen them all."""
    table = pa.table(
        {
            "names": [f"n{row}" for row in range(ROWS)],
            "prose": ["so " * 50] * ROWS,
            "days": ["mon", "tue", "wed", "thu", "fri"] * (ROWS // 5),
        }
    )
    names, prose, days = learn(table, skip=NOTHING)[0]

    assert [(), (), 5] == [names.categories, prose.categories, len(days.categories)]
    assert (0.2,) * 5 == days.category_shares


@pytest.mark.parametrize(("once", "expected"), [(0, True), (1, True), (2, False)])
def test_a_set_of_texts_with_many_seen_once_is_still_growing(once, expected):
    """More are to come at the same rate, and they would all be called unseen."""
    table = pa.table({"day": [f"new {row}" for row in range(once)] + ["old"] * (ROWS - once)})
    [field], _ = learn(table, skip=NOTHING)

    assert expected == looks_complete(field, ROWS)


def test_fields_that_move_together_are_kept_as_pairs():
    """Only the strong ones, also where a field has holes; a constant moves with nothing."""
    rng = np.random.default_rng(3)
    first = rng.normal(size=ROWS)
    second = np.where(rng.random(ROWS) < 0.2, np.nan, -first + rng.normal(size=ROWS) / 4)
    columns = {"first": first, "second": second, "other": rng.normal(size=ROWS), "same": np.ones(ROWS)}
    _, [pair] = learn(pa.table(columns), skip=NOTHING)

    assert ("first", "second") == (pair.first, pair.second)
    assert pair.value == pytest.approx(-0.97, abs=0.01)


@given(st.lists(st.none() | st.floats() | st.integers(-3, 3), max_size=60))
@settings(max_examples=100)
def test_whatever_the_numbers_what_is_learned_is_finite_and_lets_them_in(values):
    """Infinite and missing ones included; the widened range takes in everything finite that was seen."""
    table = pa.table({"x": pa.array(values, pa.float64()), "y": pa.array(values, pa.float64())})
    fields, _ = learn(table, skip=NOTHING)
    for field in fields:
        told = [field.min, field.max, field.mean, field.std, *field.quantiles]
        assert all(math.isfinite(number) for number in told if number is not None)
        low, high = range_of(field, 0) or (-math.inf, math.inf)
        assert all(low <= value <= high for value in values if value is not None and math.isfinite(value))
        assert list(field.quantiles) == sorted(field.quantiles)
        assert len(field.quantiles) in {0, len(QUANTILES)}


def electricity() -> pa.Table:
    """The six fields of the example, all rows."""
    with gzip.open(ELECTRICITY, "rt") as file:
        rows = list(csv.DictReader(file))
    names = ["period", "nswprice", "nswdemand", "vicprice", "vicdemand", "transfer"]
    return pa.table({name: pa.array([float(row[name]) for row in rows]) for name in names})


def test_the_clean_electricity_stream_is_hardly_ever_refused():
    """Below 0.1 %, whichever window was trained on, also one in which Victoria's fields only just began to vary."""
    table = electricity()
    project = project_of(dict.fromkeys(table.column_names, "double"))
    batch = table.combine_chunks().to_batches()[0]
    shares = []
    for first, until in WINDOWS:
        plan = Plan.of((), (), rules_of(table.slice(first, until - first), project))
        shares.append(float(plan.suspects(Columns(batch), np.zeros(len(table), np.int64)).mean()))

    assert 45_312 == len(table)
    assert [] == [(window, share) for window, share in zip(WINDOWS, shares, strict=True) if share >= 0.001]
    assert max(shares) > 0  # so that something was judged at all


def test_the_range_is_widened_more_where_the_tail_is_heavy():
    """A field that fills its range evenly by its width; one that spikes by a multiple of it."""

    def of(*quantiles: float) -> FieldExpectation:
        return FieldExpectation(
            name="x", kind="NUMBER", missing_share=0, min=0, max=1, mean=0.5, std=0.1,
            quantiles=quantiles, categories=(), category_shares=(),
        )  # fmt: skip

    even, spiky = of(0, 0.05, 0.25, 0.5, 0.75, 0.95, 1), of(0, 0.05, 0.05, 0.1, 0.1, 0.15, 0.2)
    just_began = of(0, 0.5, 0.5, 0.5, 0.5, 0.5, 1)

    assert (-1, 2) == range_of(even, 1)
    assert (-25, 26) == tuple(map(round, range_of(spiky, 1) or ()))
    assert range_of(just_began, 1) is None
