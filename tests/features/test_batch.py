"""Features of whole runs: the same bits as row by row, however the rows are cut."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.contracts.feature_spec import SPAN_ROWS_MAX
from millrace.features import aggregate, batch, memory, online
from millrace.features import windows as windows_module
from tests.features.drawn import MANY, NAN, ROW, SPECS, advance, in_runs, row_by_row, state_of, timed

LENGTHS = st.lists(st.integers(0, 30), min_size=1).filter(any)


@given(SPECS, st.lists(ROW, max_size=80).map(timed), LENGTHS, st.randoms(use_true_random=False))
@settings(max_examples=300)
def test_any_cut_and_restart_gives_the_bits_of_row_by_row(specs, rows, lengths, drawn):
    """Any features, values, times, order of events and labels, cut into runs, and savings and restorings between."""
    assert row_by_row(specs, rows) == in_runs(specs, rows, lengths, lambda: drawn.random() < 0.3)


@given(
    SPECS,
    st.lists(ROW, max_size=80).map(timed),
    LENGTHS,
    st.randoms(use_true_random=False),
    st.integers(1, 12),
    st.sampled_from([0.1, 2, 40]),
)
def test_entities_expire_alike_in_any_cut(specs, rows, lengths, drawn, expiry_rows, expire_after_s):
    """Who is forgotten, and when, is decided by the rows of the partition, not by how they are cut."""
    expiry = {"expiry_rows": expiry_rows, "expire_after_s": expire_after_s}

    assert row_by_row(specs, rows, **expiry) == in_runs(specs, rows, lengths, lambda: drawn.random() < 0.3, **expiry)


WIDE = [
    {"name": "a", "kind": "rolling_mean", "field": "x", "rows": 100},
    {"name": "b", "kind": "rolling_mean", "field": "x", "rows": 7},
    {"name": "c", "kind": "lag", "field": "y", "rows": 90},
    {"name": "d", "kind": "rolling_share", "field": "y", "rows": 1000, "above": 0.5},
    {"name": "e", "kind": "label_mean", "rows": 200},
    {"name": "f", "kind": "label_share", "rows": 70},
]
WINDOWS = [
    {"name": f"{kind}_{n}", "kind": kind, "field": field, **width, **({"above": 0.5} if "share" in kind else {})}
    for kind in ("rolling_mean", "rolling_std", "rolling_min", "rolling_max", "rolling_count", "rolling_share")
    for n, (field, width) in enumerate([("x", {"rows": 100}), ("x", {"span_s": 90}), ("y", {"span_s": 2000})])
]


def drawn_rows(drawn, count, entities, late):
    """Rows of so many entities, of which a share comes late, by up to 100 s."""
    return [
        (
            drawn.random() < 0.4,
            str(drawn.randrange(entities)),
            1_600_000_000_000 + number * 1000 - (drawn.randrange(100_000) if drawn.random() < late else 0),
            drawn.choice([NAN, drawn.gauss(0, 9), 1.0]),
            drawn.choice([0.0, drawn.random(), drawn.random()]),
            None,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("length", [1, 10, 64, 65, 700, 3000])
@pytest.mark.parametrize("entities", [1, 20, 400])
def test_long_histories_give_the_bits_of_row_by_row(length, entities):
    """With histories longer than the rows kept at first, short and long runs, one entity and many."""
    specs, drawn = MANY.validate_python(WIDE), random.Random(f"{length} {entities}")
    rows = drawn_rows(drawn, 3000, entities, 0.0)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [length])


@pytest.mark.parametrize(("length", "entities", "late"), [(700, 1, 0.0), (64, 5, 0.0), (300, 20, 0.01), (7, 3, 0.2)])
def test_long_windows_give_the_bits_of_row_by_row(length, entities, late):
    """Windows of many rows and long spans, in order and with late rows; most of their values leave them again."""
    specs, drawn = MANY.validate_python(WINDOWS), random.Random(f"{length} {entities} {late}")
    rows = drawn_rows(drawn, 2000, entities, late)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [length])


@pytest.mark.parametrize("cells_max", [50, windows_module.CELLS_MAX])
def test_late_rows_see_what_has_left_the_span_of_the_newest(monkeypatch, cells_max):
    """Rows that are late by up to more than the span of 90 s, in runs so short that what they see was kept before."""
    monkeypatch.setattr(windows_module, "CELLS_MAX", cells_max)
    specs = MANY.validate_python([one for one in WINDOWS if one.get("span_s") == 90])
    rows = drawn_rows(random.Random(5), 800, 2, 0.2)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [7])


EVERY_KIND = [
    *({"kind": kind, "field": "x"} for kind in ("value", "difference")),
    *({"kind": kind, "field": "x", "rows": 3} for kind in ("lag", "ratio", "rolling_mean", "rolling_max")),
    *({"kind": kind, "field": "x", "span_s": 30} for kind in ("rolling_mean", "rolling_min", "rolling_std")),
    *({"kind": kind, "rows": 3} for kind in ("label_lag", "label_share", "label_mean")),
    {"kind": "ratio", "field": "x", "over": "y"},
    {"kind": "time_since"},
    {"kind": "time_since", "field": "x", "above": 8},
    {"kind": "ewm", "field": "x", "half_life_rows": 3},
    {"kind": "ewm", "field": "x", "half_life_s": 20},
    {"kind": "calendar", "part": "minute_of_day", "cyclic": "cos"},
    {"kind": "is_category", "field": "side", "equals": "buy"},
    {"kind": "function", "function": "features.py:f", "inputs": ["x", "y"]},
]


@pytest.mark.parametrize("expire_after_s", [None, 20])
@pytest.mark.parametrize("length", [1, 7, 300])
def test_every_kind_over_a_long_stream(expire_after_s, length):
    """Many entities that come, go, come back and come late, with a restart now and then."""
    specs = MANY.validate_python([{"name": f"g{number}", **one} for number, one in enumerate(EVERY_KIND)])
    drawn = random.Random(f"{expire_after_s} {length}")
    rows = [
        (is_label, f"{time_ms // 100_000 + drawn.randrange(9)}", time_ms, *others)
        for is_label, _, time_ms, *others in drawn_rows(drawn, 600, 1, 0.3)
    ]
    expiry = {"expire_after_s": expire_after_s, "expiry_rows": 50}

    assert row_by_row(specs, rows, **expiry) == in_runs(specs, rows, [length], lambda: drawn.random() < 0.1, **expiry)


@pytest.mark.parametrize("few", [0, 1000])
def test_how_a_sum_is_computed_changes_no_bit(monkeypatch, few):
    """All windows place by place, or each by itself."""
    specs, rows = MANY.validate_python(WINDOWS), drawn_rows(random.Random(few), 500, 4, 0.0)
    monkeypatch.setattr(aggregate, "FEW_WINDOWS", few)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [100])


@pytest.mark.parametrize("late", [0.0, 0.1])
def test_a_span_sees_no_more_than_its_newest_rows(monkeypatch, late):
    """The limit on the rows of a span is the same row by row and in runs."""
    monkeypatch.setattr(online, "SPAN_ROWS_MAX", 20)
    monkeypatch.setattr(windows_module, "SPAN_ROWS_MAX", 20)
    one = {"kind": "rolling_count", "field": "y", "span_s": 1000}
    specs, rows = (
        MANY.validate_python([*WINDOWS[1::3], {"name": "n", **one}]),
        drawn_rows(random.Random(3), 300, 2, late),
    )

    assert row_by_row(specs, rows) == in_runs(specs, rows, [70])


def test_a_run_too_large_for_memory_is_cut(monkeypatch):
    """The limit on what is laid out at once changes no bit."""
    specs, rows = MANY.validate_python(WIDE + WINDOWS), drawn_rows(random.Random(7), 500, 2, 0.0)
    monkeypatch.setattr(batch, "CELLS_MAX", 5000)

    assert row_by_row(specs, rows) == in_runs(specs, rows, [500])


def test_a_code_belongs_to_one_entity():
    """Codes are dense, in the order of first sight, and stay."""
    state = state_of(MANY.validate_python(WIDE))

    assert [0, 1, 0, 2] == state.codes(["b", "a", "b", "c"]).tolist()
    assert [2, 3, 1] == state.codes(["c", "d", "a"]).tolist()


def test_a_long_look_back_costs_no_memory_before_there_is_history():
    """A thousand entities with ten rows each keep far fewer than 100,000 values an entity."""
    specs = MANY.validate_python([{"name": "a", "kind": "rolling_mean", "field": "x", "rows": 100_000}])
    state = state_of(specs)
    advance(state, specs, [(False, str(n % 1000), n, float(n), 0.0, None) for n in range(10_000)])

    assert memory.FIRST_WIDTH == state._events.series[0].width


def test_a_span_keeps_what_it_may_still_look_at():
    """Of 2,000 rows, one a second, a span of 30 s keeps those of the newest 60 s."""
    specs = MANY.validate_python([{"name": "a", "kind": "rolling_mean", "field": "x", "span_s": 30}])
    state = state_of(specs)
    for start in range(0, 2000, 100):
        advance(state, specs, [(False, "a", 1000 * n, float(n), 0.0, None) for n in range(start, start + 100)])

    assert 60 == state._windows._kept[0].shape[1] < SPAN_ROWS_MAX


def test_memory_is_bounded_under_ever_new_entities():
    """A hundred entities a second, each seen once, remembered for ten seconds: codes and rows are used again."""
    kinds = [*WIDE, *WINDOWS[:2], {"name": "e1", "kind": "ewm", "field": "x", "half_life_s": 5}]
    specs = MANY.validate_python(kinds)
    state = state_of(specs, expire_after_s=10, expiry_rows=500)
    sizes = []
    for run in range(40):
        rows = [(False, str(n), 10 * n, 1.0, 2.0, None) for n in range(run * 700, run * 700 + 700)]
        advance(state, specs, rows)
        sizes.append((state._codes.capacity, len(state._codes), sum(map(len, state.save()))))

    assert max(capacity for capacity, _, _ in sizes) <= 1000 + 500 + 700 + 1
    assert sizes[-1][0] == sizes[10][0], "no more codes after a while"
    assert max(count for _, count, _ in sizes[10:]) <= 1000 + 500 + 700 + 1
    assert all(size < 2 * sizes[5][2] for _, _, size in sizes[5:])


def test_the_length_of_a_run_must_not_matter_to_the_code_of_a_forgotten_entity():
    """Forgotten in the middle of a run and back in it, an entity begins anew."""
    specs = MANY.validate_python([{"name": "n", "kind": "rolling_count", "field": "x", "rows": 9}])
    rows = [(False, one, time, 1.0, 0.0, None) for one, time in [("a", 0), ("b", 5000), ("a", 5001), ("c", 5002)]]

    found = advance(state_of(specs, expire_after_s=1, expiry_rows=2), specs, rows)

    assert [[1.0], [1.0], [1.0], [1.0]] == found.tolist()
    assert np.frombuffer(row_by_row(specs, rows, expire_after_s=1, expiry_rows=2)).tolist() == [1.0] * 4
