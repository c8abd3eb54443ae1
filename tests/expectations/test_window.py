"""A window against training: what is found, what is left alone, and how often chance alone raises an alarm."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from millrace.contracts.events import ExpectationsLearned, FieldExpectation
from millrace.expectations.chance import chance_of_fewer, chance_of_more, chance_of_unseen
from millrace.expectations.learn import learn
from millrace.expectations.window import FieldWindow, Window, judge, learn_volume, too_many_missing, volume

CHANCE = 1e-6
HOUR_MS = 3_600_000
NO_TIMES = np.empty(0, np.int64)
RANDOM = np.random.default_rng


def learned_of(fields: Any, rows: int, events_per_hour: float | None = None) -> ExpectationsLearned:
    """Expectations of so many training rows."""
    return ExpectationsLearned(
        expectations_id="e", model="m", run_id="r", artifact_sha256="", feature_set="", rows=rows, fields=tuple(fields),
        correlations=(), events_per_hour=events_per_hour, learned_at_ms=0,
    )  # fmt: skip


def number(missing_share: float = 0.0, **changes: Any) -> FieldExpectation:
    """A number that filled 0 to 1 evenly."""
    evenly = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
    base = {"name": "x", "kind": "NUMBER", "missing_share": missing_share, "min": 0, "max": 1, "mean": 0.5, "std": 0.3}
    texts = {"quantiles": evenly, "categories": (), "category_shares": ()}
    return FieldExpectation.model_validate({**base, **texts, **changes})


def text(shares: dict[str, float], missing_share: float = 0.0) -> FieldExpectation:
    """A text with these categories."""
    numbers = {"min": None, "max": None, "mean": None, "std": None, "quantiles": ()}
    return FieldExpectation(
        name="t", kind="TEXT", missing_share=missing_share, categories=tuple(shares),
        category_shares=tuple(shares.values()), **numbers,
    )  # fmt: skip


def found(seen: FieldWindow, expected: FieldExpectation, *, rows: int = 500, known_rows: int = 5000) -> list[Any]:
    """Check, severity and share of what is found in a window with this field."""
    window = Window(rows, {expected.name: seen}, NO_TIMES)
    findings = judge(window, learned_of([expected], known_rows), CHANCE)
    return [(one.check, one.severity, one.observed) for one in findings]


@pytest.mark.parametrize(
    ("count", "known", "rows", "known_rows"),
    [
        (1, 0, 1, 1),
        (7, 0, 500, 5000),
        (60, 300, 500, 5000),
        (500, 4000, 500, 5000),
        (1, 0, 500, 10**6),
        (50, 0, 50, 50),
    ],
)
def test_fishers_test_is_the_hypergeometric_tail(count, known, rows, known_rows):
    """The chance is what scipy says."""
    expected = stats.hypergeom.sf(count - 1, rows + known_rows, count + known, rows)

    assert math.isclose(expected, chance_of_more(count, rows, known, known_rows), rel_tol=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(0, 3.0), (5, 20.0), (400, 500.0), (1000, 5000.0), (3, 1e6)])
def test_the_lower_tail_is_poissons(count, expected):
    """The chance is what scipy says; as many as expected, or more, are always likely enough."""
    assert math.isclose(stats.poisson.cdf(count, expected), chance_of_fewer(count, expected), rel_tol=1e-6)
    assert [1.0, 0.0] == [chance_of_fewer(9, 9.0), chance_of_fewer(-1, 9.0)]


def test_one_new_category_is_as_likely_as_fishers_test_says():
    """With one new category the bound is twice the exact chance: it is looked at in two ways."""
    for count in (1, 3, 6, 12):
        exact = chance_of_more(count, 500, 0, 5000)
        assert math.isclose(2 * exact, chance_of_unseen([count], [3000, 2400], 500, 5000), rel_tol=1e-6)


@pytest.mark.parametrize(
    ("share", "count", "expected"),
    [
        (0.0, 0, []),
        (0.0, 4, []),  # below one in a hundred: not worth a word
        (0.0, 10, [("missing-share", "WARNING", 0.02)]),
        (0.0, 60, [("missing-share", "ALARM", 0.12)]),
        (0.2, 110, []),
        (0.2, 115, []),  # three points more, which 500 rows cannot tell from chance
        (0.2, 170, [("missing-share", "ALARM", 0.34)]),
        (0.2, 0, []),
        (1.0, 500, []),
    ],
)
def test_a_field_is_missing_more_often(share, count, expected):
    """Found where it is both beyond chance and worth a word; fewer than in training is no fault."""
    assert expected == found(FieldWindow(count, 0.0, 1.0), number(share))


def test_few_training_rows_say_little():
    """Twelve missing of 500 are beyond chance against 5000 rows without one, and not against 100."""
    seen = FieldWindow(12, 0.0, 1.0)

    assert [1, 0] == [len(found(seen, number(), known_rows=rows)) for rows in (5000, 100)]


@pytest.mark.parametrize(
    ("categories", "expected"),
    [
        ({"a": 400, "b": 100}, []),
        ({"a": 500}, []),
        ({"a": 496, "new": 4}, []),
        ({"a": 490, "new": 10}, [("new-category", "WARNING", 0.02)]),
        ({"a": 440, "new": 40, "newer": 20}, [("new-category", "ALARM", 0.12)]),
    ],
)
def test_a_category_that_training_never_saw(categories, expected):
    """Found by its share of the window; one that is absent is no fault."""
    assert expected == found(FieldWindow(0, categories=categories), text({"a": 0.8, "b": 0.2}))


def test_rare_categories_explain_new_ones():
    """Where a fifth of the training rows had a text of their own, 18 % of new ones are nothing; 40 rows of one are."""
    shares = {"a": 0.8} | {f"once-{place}": 0.0002 for place in range(1000)}
    rare, burst = {f"new-{place}": 1 for place in range(90)}, {"new": 40}

    assert [] == found(FieldWindow(0, categories={"a": 410, **rare}), text(shares))
    assert 1 == len(found(FieldWindow(0, categories={"a": 460, **burst}), text(shares)))
    assert 1 == len(found(FieldWindow(0, categories={"a": 410, **rare}), text({"a": 0.9, "b": 0.1})))
    assert [] == found(FieldWindow(0, categories={"x": 250, "y": 250}), text({}))


def test_a_number_that_stands_still():
    """A warning where it varied in training, unless so many training rows had the value that a window may be full."""
    mostly_zero = number(quantiles=(0.0,) * 6 + (0.4,))

    assert [("constant", "WARNING", 0.0)] == found(FieldWindow(3, 0.7, 0.7), number())
    assert [("constant", "WARNING", 0.0)] == found(FieldWindow(0, 0.7, 0.7), mostly_zero)
    assert [] == found(FieldWindow(0, 0.0, 0.0), mostly_zero)
    assert [] == found(FieldWindow(0, 0.7, 0.70001), number())
    assert [] == found(FieldWindow(0, 0.7, 0.7), number(min=0.7, max=0.7))
    assert [] == found(FieldWindow(498, 0.7, 0.7), number(0.99))


@pytest.mark.parametrize(
    ("per_hour", "severity"), [(120, None), (60, None), (35, None), (25, "WARNING"), (7, "WARNING"), (5, "ALARM")]
)
def test_the_volume_falls(per_hour, severity):
    """Against 60 an hour: less than half is a warning, a tenth an alarm, more is no fault."""
    times = np.cumsum(RANDOM(3).exponential(HOUR_MS / per_hour, 500)).astype(np.int64)
    finding = volume(times, 60.0, CHANCE)

    assert severity == (finding and finding.severity)
    if finding:
        assert abs(finding.observed / per_hour - 1) < 0.2


def test_a_window_without_a_span_has_no_volume():
    """Events of one instant, a single event or none say nothing; nor do a few wrong times make a long span."""
    steady = np.arange(500) * 60_000
    wrong = np.where(np.arange(500) % 50 == 7, 253_402_300_799_999, steady)

    slow = np.arange(12) * 180_000  # 11 events where 33 were expected: a chance of 1 in 100,000

    assert [None, "WARNING"] == [one and one.severity for one in (volume(slow, 60.0, p) for p in (CHANCE, 1e-4))]
    assert [None] * 4 == [volume(times, 60.0, CHANCE) for times in (NO_TIMES, steady[:1], steady * 0, wrong)]


def test_the_volume_is_learned_where_there_is_one():
    """The median of windows, whatever the order; none where there are few, or where it comes and goes."""
    steady = np.arange(2000) * 30_000
    gaps = np.where(np.arange(2000) % 1000 < 800, 60_000, 600_000)  # a fifth of the events: the quiet night

    assert 120.0 == learn_volume(RANDOM(1).permutation(steady))
    assert 120.0 == learn_volume(np.where(np.arange(2000) == 5, 0, steady))
    assert [None, None, None] == [learn_volume(times) for times in (NO_TIMES, steady[:499], np.cumsum(gaps))]
    assert learn_volume(steady * 0) is None


def test_what_was_declared_is_held_to_as_it_is():
    """A declared share of missing values is a limit, without a margin for chance."""
    assert [None, None, "ALARM"] == [
        finding and finding.severity
        for finding in (too_many_missing("x", FieldWindow(count), 500, 0.01) for count in (0, 5, 6))
    ]
    assert too_many_missing("x", FieldWindow(0), 0, 0.0) is None


def test_a_message_says_what_was_seen_and_what_was_expected():
    """Plain words with the numbers, cut short where there is much to tell."""
    unseen = {f"{letter * 50}": 20 for letter in "vwxyz"}
    window = Window(
        500, {"x": FieldWindow(60, 0.5, 0.5), "t": FieldWindow(0, categories={"a": 400, **unseen})}, NO_TIMES
    )
    messages = [one.message for one in judge(window, learned_of([number(), text({"a": 1.0})], 5000), CHANCE)]

    assert [
        "field 'x' is missing in 60 of 500 events (12.0%); in training it was in 0.0%",
        "field 'x' is 0.5 in all 440 events that have it; in training it went from 0 to 1",
        (
            f"field 't' is '{'v' * 40}', '{'w' * 40}', '{'x' * 40}' and 2 others in 100 of 500 events (20.0%); "
            "training saw 1 other texts and none of these"
        ),
    ] == messages


def drawn(random: np.random.Generator, rows: int) -> tuple[Any, np.ndarray]:
    """Rows of one world: missing in 3 %, a long tail of rare texts, mostly one number, and 60 events an hour."""
    present = random.random(rows) >= 0.03
    number_ = np.where(present, np.where(random.random(rows) < 0.98, 0.0, random.random(rows)), np.nan)
    texts = pa.array((random.zipf(1.6, rows) % 5000).astype(str), mask=random.random(rows) < 0.03)
    times = np.cumsum(random.exponential(60_000, rows)).astype(np.int64)
    return pa.table({"x": number_, "t": texts}), times


def observed(table: Any, times: np.ndarray) -> Window:
    """The same rows as a window."""
    x, t = table["x"].to_numpy(), table["t"].combine_chunks()
    counted = t.drop_null().value_counts().to_pylist()
    texts = FieldWindow(t.null_count, categories={one["values"]: one["counts"] for one in counted})
    numbers = FieldWindow(int(np.isnan(x).sum()), float(np.nanmin(x)), float(np.nanmax(x)))
    return Window(table.num_rows, {"x": numbers, "t": texts}, times)


@pytest.mark.parametrize("false_alarms", [0.05, 0.002])
def test_chance_alone_raises_no_more_alarms_than_was_said(monkeypatch, false_alarms):
    """Over 2500 windows of the training world, without the condition of worth: each check keeps to its chance.

    Training is drawn anew for every 20 windows, and is small, because that is where an estimate would be trusted too
    much. The bound allows for the four standard errors of the simulation itself.
    """
    for name, value in {"WORTH_A_WARNING": 0.0, "FELL_TO_WARNING": 1.0}.items():
        monkeypatch.setattr(f"millrace.expectations.window.{name}", value)
    random, windows = RANDOM(20), 2500
    alarms = dict.fromkeys(
        [("missing-share", "x"), ("missing-share", "t"), ("new-category", "t"), ("constant", "x")], 0
    )
    alarms["volume", "stream"] = 0
    for place in range(windows):
        if place % 20 == 0:
            fields, _ = learn(drawn(random, 600)[0], skip=set())
            learned = learned_of(fields, 600, 60.0)
        for one in judge(observed(*drawn(random, 120)), learned, false_alarms):
            alarms[one.check, one.subject] += 1
    most = windows * false_alarms + 4 * math.sqrt(windows * false_alarms)

    assert all(count <= most for count in alarms.values()), alarms
    assert false_alarms < 0.05 or alarms["missing-share", "x"] > windows * false_alarms / 10, "the test must be able to"
