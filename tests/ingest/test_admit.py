"""What is let in and what is not."""

import pytest

from millrace.contracts.errors import ContractError
from millrace.expectations.learned import LearnedField, LearnedRules
from services.ingest.admit import Identity, check_expectations, identify
from tests.support import tiny_project


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The tiny project."""
    return tiny_project(tmp_path_factory.mktemp("project"))


def test_identity_is_read_from_the_named_fields(project):
    """Id, entity and time come from the fields that model.yaml names."""
    assert identify(project, {"id": 7, "who": "w", "at": 5}) == Identity("7", "w", 5)


@pytest.mark.parametrize(
    ("values", "reason", "seen"),
    [
        ({"who": "w", "at": 5}, "missing-field", "'id'"),
        ({"id": "", "who": "w", "at": 5}, "missing-field", "'id'"),
        ({"id": "a", "who": None, "at": 5}, "missing-field", "'who'"),
        ({"id": "a", "who": "w", "at": "noon"}, "bad-time", "'noon'"),
        ({"id": "a", "who": "w", "at": float("inf")}, "bad-time", "inf"),
        ({"id": "a", "who": "w", "at": 2**63 - 1}, "bad-time", "not in the years 1 to 9999"),
        ({"id": "a", "who": "w", "at": -(2**63)}, "bad-time", "not in the years 1 to 9999"),
        ({"id": "a" * 1001, "who": "w", "at": 5}, "bad-id", "'id' has 1001 characters, at most 1000"),
    ],
)
def test_an_event_without_identity_is_refused(project, values, reason, seen):
    """The reason is a slug, the message names the field and the value."""
    with pytest.raises(ContractError, match=seen) as error:
        identify(project, values)
    assert error.value.reason == reason


@pytest.mark.parametrize("value", [-10.0, 0, 10])
def test_values_within_the_range_pass(project, value):
    """The bounds themselves are allowed."""
    assert () == check_expectations(project, {"x": value})


@pytest.mark.parametrize(
    ("values", "reason", "seen"),
    [
        ({"x": 10.5}, "out-of-range", "10.5, expected -10.0 to 10.0"),
        ({"x": -11}, "out-of-range", "-11"),
        ({"x": float("inf")}, "out-of-range", "a finite number is needed"),
        ({"x": None}, "missing-field", "'x'"),
        ({"x": float("nan")}, "missing-field", "'x'"),
        ({}, "missing-field", "'x'"),
    ],
)
def test_values_outside_are_refused_with_the_value_seen(project, values, reason, seen):
    """An expectation that is not met names the field, the value and what was expected."""
    with pytest.raises(ContractError, match=seen) as error:
        check_expectations(project, values)
    assert error.value.reason == reason


def flagging(tmp_path, **data):
    """The tiny project with rules that flag."""
    rules = [
        {"field": "x", "min": -10, "max": 10, "on": "flag"},
        {"kind": "compare", "check": "x != 3", "on": "flag"},
        {"kind": "fresh", "within_s": 60},
    ]
    return tiny_project(tmp_path, expectations=rules, **data)


def test_a_rule_that_flags_lets_the_event_pass_with_its_name(tmp_path):
    """Every one that is broken, each once."""
    project = flagging(tmp_path)
    twice = project.model_copy(update={"expectations": project.expectations * 2})

    assert ("out-of-range:x",) == check_expectations(twice, {"id": "e", "who": "w", "at": 0, "x": 11})
    assert ("missing-field:x",) == check_expectations(project, {"id": "e", "who": "w", "at": 0, "x": None})
    assert ("rule-broken:x != 3",) == check_expectations(project, {"id": "e", "who": "w", "at": 0, "x": 3})


def test_a_rule_that_rejects_wins_over_one_that_flags(tmp_path):
    """Whichever stands first."""
    with pytest.raises(ContractError, match=r"61\.0 s after its time") as error:
        check_expectations(flagging(tmp_path), {"id": "e", "who": "w", "at": 0, "x": 11}, received_ms=61_000)
    assert error.value.reason == "stale-event"


@pytest.mark.parametrize("received_ms", [None, -1, 60_000])
def test_freshness_is_judged_where_the_arrival_is_known(tmp_path, received_ms):
    """Kafka writes -1 for a record without a time."""
    assert () == check_expectations(
        flagging(tmp_path), {"id": "e", "who": "w", "at": 0, "x": 1}, received_ms=received_ms
    )


def test_what_was_learned_is_judged_after_what_was_declared(project):
    """Rejected ones raise with their own reason, flagged ones are told by name."""
    fields = (LearnedField("x", "reject", "reject", -1.0, 1.0), LearnedField("side", category="flag"))
    learned = LearnedRules("learned-1", "version 3", fields)

    assert ("unseen-category:side",) == check_expectations(project, {"x": 0, "side": "BUY"}, learned=learned)
    with pytest.raises(ContractError, match="training rows of version 3") as error:
        check_expectations(project, {"x": 5, "side": "BUY"}, learned=learned)
    assert error.value.reason == "unseen-range"
    with pytest.raises(ContractError, match=r"expected -10\.0 to 10\.0") as error:
        check_expectations(project, {"x": 50, "side": "BUY"}, learned=learned)
    assert error.value.reason == "out-of-range"
