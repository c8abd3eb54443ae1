"""What is let in and what is not."""

import pytest

from millrace.contracts.errors import ContractError
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
    assert check_expectations(project, {"x": value}) is None


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
