"""slice-<feature>: no part of the rows pays for the gain of the others."""

import numpy as np
import pytest
from pydantic import ValidationError

from millrace.contracts.gates_policy import Gates, Slice
from services.trainer.train.checks.slices import parts_of
from services.trainer.train.judge import require_metric
from services.trainer.train.task import FitError
from tests.trainer.checks.made import NUMBERS, candidate, names, result, right_but, task

COLUMN = np.array([0.0, 1.0, 2.0, 3.0, np.nan, 5.0], dtype=np.float32)


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (Slice(feature="b", bins=(1.0, 3.0)), {"b missing": 1, "-inf < b <= 1": 2, "1 < b <= 3": 2, "3 < b <= inf": 1}),
        (Slice(feature="b", bins=2), {"b missing": 1, "-inf < b <= 2": 3, "2 < b <= inf": 2}),
        (Slice(feature="b", values=(0.0, 5.0)), {"b missing": 1, "b = 0": 1, "b = 5": 1, "b another value": 3}),
    ],
)
def test_every_row_is_in_one_part(declared, expected):
    """Edges, a number of parts, values; what is missing and what no value names are parts too."""
    parts = parts_of(declared, COLUMN)
    assert expected == {part.name: int(part.rows.sum()) for part in parts}
    assert [1] * len(COLUMN) == np.sum([part.rows for part in parts], axis=0).tolist()


def test_a_part_that_pays_for_the_rest_is_named():
    """Better over all, worse than the champion below -1."""
    one = task(slices=[{"feature": "b", "bins": [-1.0, 1.0]}])
    low = np.flatnonzero(one.holdout.x[:, 1] <= -1)
    made = candidate(one, scores=right_but(one, low[:20]), champion=right_but(one, np.arange(0, 400, 10)))
    found = result(one, made, "slice-b")
    assert not found.passed
    assert "-inf < b <= -1" in found.message
    assert "gates.slice_margin" in found.message
    assert made.metrics["accuracy"] > made.champion_metrics["accuracy"]


def test_without_a_champion_the_whole_is_the_measure():
    """All faults in one part: it is worse than all rows are."""
    one = task(slices=[{"feature": "b", "bins": 4}])
    low = np.argsort(one.holdout.x[:, 1])[:40]
    assert not result(one, candidate(one, scores=right_but(one, low)), "slice-b").passed
    assert result(one, candidate(one, scores=right_but(one, range(0, 400, 40))), "slice-b").passed


def test_few_rows_are_named_and_not_judged():
    """A part below slice_rows_min."""
    one = task(slices=[{"feature": "b", "bins": [2.0]}])
    high = np.flatnonzero(one.holdout.x[:, 1] > 2)
    found = result(one, candidate(one, scores=right_but(one, high)), "slice-b")
    assert 0 < len(high) < 50
    assert found.passed
    assert f"not judged: 2 < b <= inf ({len(high)})" in found.message


def test_a_regression_has_slices_too():
    """In shares of what a constant costs."""
    one = task(NUMBERS, slices=[{"feature": "c", "bins": 4}])
    made = candidate(one)
    assert result(one, made, "slice-c").passed
    values = made.scores.values + np.where(one.holdout.x[:, 2] > 1, 3.0, 0.0)
    assert not result(one, candidate(one, scores=made.scores._replace(values=values)), "slice-c").passed


def test_only_declared_slices_are_judged():
    """None by default; none with a margin of null."""
    one, off = task(), task(slices=[{"feature": "b", "bins": 4}], slice_margin=None)
    assert not [name for name in names(one, candidate(one)) | names(off, candidate(off)) if name.startswith("slice")]


@pytest.mark.parametrize(
    ("slices", "said"),
    [
        ([{"feature": "a"}], "needs bins or values"),
        ([{"feature": "a", "bins": 3, "values": [1]}], "needs bins or values"),
        ([{"feature": "a", "bins": [2, 1]}], "bins grow"),
        ([{"feature": "a", "values": [float("nan")]}], "finite"),
        ([{"feature": "a", "bins": 3}, {"feature": "a", "bins": 4}], "each feature has one slice"),
    ],
)
def test_a_slice_that_means_nothing_is_refused(slices, said):
    """With what to write."""
    with pytest.raises(ValidationError, match=said):
        Gates.model_validate({"first": 0.5, "slices": slices})


def test_a_feature_that_is_none_is_refused():
    """Before anything is fitted, with those that there are."""
    with pytest.raises(FitError, match="names 'z'; the features are a, b, c"):
        require_metric(task(slices=[{"feature": "z", "bins": 3}]))
