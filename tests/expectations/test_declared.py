"""The rules that model.yaml may declare, and how one record breaks them."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from millrace.contracts.expectations import Expectation, Range, Rule, check_fields
from millrace.expectations.judge import breaches

RULES: TypeAdapter[Rule] = TypeAdapter(Expectation)
ALLOWED = {"kind": "values", "field": "day", "allowed": ["mon", "tue"]}
COUNTED = {"kind": "values", "field": "n", "allowed": [1, 2]}
CHECK = {"kind": "compare", "check": "low <= high"}
FRESH = {"kind": "fresh", "within_s": 60, "ahead_s": 5}


def rule_of(**declared: Any) -> Rule:
    """As it is read from model.yaml."""
    return RULES.validate_python(declared)


def test_a_rule_without_a_kind_is_a_range():
    """As it was before there were others; what breaks it is rejected."""
    assert Range(field="x", min=0.0, on="reject") == rule_of(field="x", min=0)


@pytest.mark.parametrize(
    ("declared", "flag", "needs"),
    [
        ({"field": "x"}, "out-of-range:x", {"x": "number"}),
        (ALLOWED, "not-allowed:day", {"day": "text"}),
        (COUNTED, "not-allowed:n", {"n": "number"}),
        (CHECK, "rule-broken:low <= high", {"low": "number", "high": "number"}),
        (FRESH, "stale-event", {}),
        ({"kind": "jump", "field": "x", "most": 2}, "jump:x", {"x": "number"}),
        ({"kind": "monotone", "slack_s": 2}, "time-went-back", {}),
        ({"kind": "unique", "fields": ["a", "b"]}, "not-unique:a,b", {"a": "any", "b": "any"}),
    ],
)
def test_every_rule_has_a_stable_name_and_says_what_it_needs(declared, flag, needs):
    """Flags stand in samples and reasons in dead letters; people search for them."""
    rule = rule_of(**declared)

    assert flag == rule.flag()
    assert needs == dict(rule.needs)


@pytest.mark.parametrize(
    ("declared", "seen"),
    [
        ({"kind": "rnage", "field": "x"}, "'rnage'.*'range', 'values'"),
        ({"field": "x", "min": 3, "max": 1}, "min 3.0 is above max 1.0"),
        ({"field": "x", "min": float("nan")}, "min is nan"),
        ({"field": "x", "mni": 3}, "mni"),
        ({"field": "x", "on": "drop"}, "'reject' or 'flag'"),
        ({**ALLOWED, "allowed": []}, "at least 1"),
        ({**ALLOWED, "allowed": ["mon", 2]}, "mixes texts and numbers"),
        ({**ALLOWED, "allowed": [False, "se"]}, "False is a truth value in YAML"),
        ({**COUNTED, "allowed": [float("nan")]}, "nan, which equals nothing"),
        ({"kind": "compare", "check": "low"}, "'low' in check 'low' is a number"),
        ({"kind": "fresh"}, "neither within_s nor ahead_s"),
        ({"kind": "fresh", "within_s": -1}, "greater than or equal to 0"),
        ({"kind": "jump", "field": "x", "most": float("inf")}, "finite"),
        ({"kind": "monotone", "slack_s": -1}, "greater than or equal to 0"),
        ({"kind": "unique", "fields": ["a", "a"]}, r"\['a', 'a'\] twice"),
    ],
)
def test_a_bad_declaration_is_refused_with_the_value_seen(declared, seen):
    """Before anything runs."""
    with pytest.raises(ValidationError, match=seen):
        RULES.validate_python(declared)


@pytest.mark.parametrize(
    ("types", "seen"),
    [
        ({"y": "double"}, r"out-of-range:x names the field 'x', which event.avsc lacks; it has \['y'\]"),
        ({"x": "string"}, "needs a number, but 'x' is 'string'"),
    ],
)
def test_a_rule_about_a_field_that_does_not_fit_is_refused(types, seen):
    """The schema decides what can be judged."""
    with pytest.raises(ValueError, match=seen):
        check_fields([rule_of(field="x")], types, "event.avsc")


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ({"field": "x", "min": 0, "max": 1}, {"x": 1}),
        ({"field": "x", "required": False}, {"x": None}),
        (ALLOWED, {"day": "mon"}),
        ({**ALLOWED, "required": False}, {}),
        (COUNTED, {"n": True}),
        (CHECK, {"low": 1, "high": 2.0}),
        (CHECK, {"low": 3}),
        ({"kind": "jump", "field": "x", "most": 0}, {"x": "judged elsewhere"}),
    ],
)
def test_a_good_record_breaks_nothing(declared, values):
    """Nor does one that a rule cannot judge."""
    assert [] == list(breaches([rule_of(**declared)], values))


@pytest.mark.parametrize(
    ("declared", "values", "slug", "message"),
    [
        ({"field": "x", "min": 0}, {"x": -1}, "out-of-range", "field 'x' is -1, expected 0.0 to inf"),
        ({"field": "x"}, {"x": "a"}, "out-of-range", "field 'x' is 'a', a number is needed"),
        ({"field": "x"}, {}, "missing-field", "field 'x' is missing; model.yaml requires it"),
        (ALLOWED, {"day": "Mon"}, "not-allowed", "field 'day' is 'Mon', expected 'mon', 'tue'"),
        (ALLOWED, {"day": 3}, "not-allowed", "field 'day' is 3, expected 'mon', 'tue'"),
        (ALLOWED, {"day": None}, "missing-field", "field 'day' is missing; model.yaml requires it"),
        (COUNTED, {"n": 2.5}, "not-allowed", "field 'n' is 2.5, expected 1.0, 2.0"),
        (CHECK, {"low": 3, "high": 2.5}, "rule-broken", "'low <= high' is not so: low is 3, high is 2.5"),
        (CHECK, {"low": "a", "high": 2}, "rule-broken", "'low <= high' is not so: low is 'a', high is 2"),
    ],
)
def test_a_bad_record_is_told_with_the_value_and_what_was_expected(declared, values, slug, message):
    """So that whoever reads the dead letter knows what to do."""
    [found] = breaches([rule_of(**declared)], values)

    assert (slug, message, "reject") == (found.slug, found.message, found.on)


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [(60_000, []), (60_001, ["stale-event"]), (-5_000, []), (-5_001, ["future-event"]), (None, [])],
)
def test_freshness_is_the_time_between_the_event_and_its_arrival(age_ms, expected):
    """Both bounds are allowed; without a time of arrival nothing is judged."""
    assert expected == [one.flag for one in breaches([rule_of(**FRESH)], {}, age_ms=age_ms)]


@pytest.mark.parametrize(
    ("declared", "values"),
    [
        ({"field": "x", "max": 1}, {"x": 424242}),
        ({"field": "x"}, {"x": "424242"}),
        (ALLOWED, {"day": "424242"}),
        (CHECK, {"low": 424242, "high": 0}),
    ],
)
def test_a_personal_value_stands_in_no_message(declared, values):
    """Messages go to headers, logs and screens."""
    [found] = breaches([rule_of(**declared)], values, personal=frozenset({"x", "day", "low"}))

    assert "(personal)" in found.message
    assert "424242" not in found.message


def test_a_long_value_is_cut_in_the_message():
    """A message is a header of a record, and a line of the log."""
    allowed = [f"value {number}" for number in range(50)]
    [found] = breaches([rule_of(kind="values", field="day", allowed=allowed)], {"day": "a" * 5000})

    assert "… (5002 characters), expected 'value 0', " in found.message
    assert found.message.endswith("'value 9' and 40 more")
