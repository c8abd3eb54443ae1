"""fairness: groups that a project names are treated alike, as fairlearn measures it."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from millrace.contracts.gates_policy import Gates
from millrace.contracts.sections import Label
from services.trainer.train.judge import require_metric
from services.trainer.train.score import Scores
from services.trainer.train.task import FitError, Rows
from tests.trainer.checks.made import NUMBERS, candidate, names, result, right_but, task

HALVES = ("f",) * 200 + ("m",) * 200
PARITY = {"field": "sex", "metric": "demographic_parity_difference", "max": 0.1}


def grouped(rule, groups=HALVES, label=None, **gates):
    """A task whose hold-out rows are in groups."""
    one = task(fairness=rule, **({} if label is None else {"label": label}), **gates)
    return replace(one, holdout=replace(one.holdout, groups=tuple(groups)))


def answers(one, shares, groups=HALVES):
    """Scores that say yes to so much of each group, whatever the truth."""
    named, values = np.array(groups), np.zeros(len(groups))
    for name, share in shares.items():
        values[np.flatnonzero(named == name)[: round(share * (named == name).sum())]] = 1.0
    return Scores(values, np.stack([1 - values, values], axis=1))


@pytest.mark.parametrize(
    ("rule", "value", "passed"),
    [
        (PARITY, 0.4, False),
        ({**PARITY, "max": 0.45}, 0.4, True),
        ({"field": "sex", "metric": "demographic_parity_ratio", "min": 0.8}, 1 / 3, False),
        ({"field": "sex", "metric": "demographic_parity_ratio", "min": 0.3}, 1 / 3, True),
        ({**PARITY, "positive": "no"}, 0.4, False),
        ({"field": "sex", "metric": "demographic_parity_ratio", "min": 0.4, "positive": "no"}, 0.5, True),
    ],
)
def test_rates_are_compared(rule, value, passed):
    """Yes to 20 % of one group and to 60 % of the other."""
    one = grouped(rule)
    found = result(one, candidate(one, scores=answers(one, {"f": 0.2, "m": 0.6})), "fairness")
    assert (passed, pytest.approx(value)) == (found.passed, found.value)
    assert "f 0." in found.message
    assert passed != ("features that stand for the field" in found.message)


def test_equalized_odds_compares_faults():
    """Right in one group, always yes in the other: the false positives are a whole apart."""
    one = grouped({"field": "sex", "metric": "equalized_odds_difference", "max": 0.2})
    sure = right_but(one, [])
    assert result(one, candidate(one, scores=sure), "fairness").value == 0.0
    values = np.where(np.arange(400) < 200, sure.values, 1.0)
    assert 1.0 == result(one, candidate(one, scores=sure._replace(values=values)), "fairness").value


def test_a_regression_compares_mean_errors():
    """In the label's unit."""
    one = grouped({"field": "sex", "metric": "mean_error_difference", "max": 1.0}, label=NUMBERS)
    made = candidate(one)
    assert result(one, made, "fairness").passed
    values = made.scores.values + np.where(np.arange(400) < 200, 2.0, 0.0)
    found = result(one, candidate(one, scores=made.scores._replace(values=values)), "fairness")
    assert (False, True) == (found.passed, 1.8 < found.value < 2.2)


def test_of_three_classes_the_worst_counts():
    """Each class in turn; the message names the one that differs most."""
    three = Label(classes=("low", "mid", "high"), delay_s=0)
    one = grouped(PARITY, label=three)
    one = replace(
        one, train=Rows(one.train.x, np.arange(600.0) % 3), holdout=replace(one.holdout, y=np.arange(400.0) % 3)
    )
    values = np.where(np.arange(400) < 200, np.arange(400) % 3, 2.0 * (np.arange(400) % 2))
    found = result(one, candidate(one, scores=Scores(values, np.full((400, 3), 1 / 3))), "fairness")
    assert not found.passed
    assert "of 'mid'" in found.message


def test_small_groups_are_named_and_not_judged():
    """Ten rows that get nothing at all do not fail it; with one group left nothing can be said, and it fails."""
    groups = ("x",) * 10 + ("f",) * 195 + ("m",) * 195
    one = grouped(PARITY, groups)
    found = result(one, candidate(one, scores=answers(one, {"x": 0.0, "f": 0.5, "m": 0.5}, groups)), "fairness")
    assert found.passed
    assert "not judged: x (10 rows, 30 are needed)" in found.message
    alone = grouped(PARITY, ("x",) * 10 + ("f",) * 390)
    found = result(alone, candidate(alone), "fairness")
    assert not found.passed
    assert "fewer than two groups of sex can be judged" in found.message


def test_a_group_of_one_truth_has_no_odds():
    """Named, for equalized odds."""
    one = grouped({"field": "sex", "metric": "equalized_odds_difference", "max": 0.5}, HALVES[:300] + ("x",) * 100)
    one = replace(one, holdout=replace(one.holdout, y=np.where(np.arange(400) < 300, one.holdout.y, 1.0)))
    found = result(one, candidate(one), "fairness")
    assert "x (all its rows have the same truth)" in found.message


def test_rows_without_groups_fail_it():
    """Whoever names a field wants it judged."""
    one = task(fairness=PARITY)
    found = result(one, candidate(one), "fairness")
    assert (False, True) == (found.passed, "no row says its sex" in found.message)
    assert "fairness" not in names(task(), candidate(task()))


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"field": "sex", "metric": "demographic_parity_difference"}, "needs max"),
        ({"field": "sex", "metric": "demographic_parity_ratio", "max": 0.8}, "needs min"),
        ({**PARITY, "min": 0.1}, "takes no min"),
    ],
)
def test_the_limit_fits_the_metric(rule, said):
    """A difference has a max, a ratio a min."""
    with pytest.raises(ValidationError, match=said):
        Gates.model_validate({"first": 0.5, "fairness": rule})


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (task(NUMBERS, fairness=PARITY), "regression has mean_error_difference"),
        (task(fairness={**PARITY, "metric": "mean_error_difference"}), "classification the others"),
        (task(fairness={**PARITY, "positive": "maybe"}), "label.classes are no, yes"),
    ],
)
def test_the_metric_fits_the_model(one, said):
    """Refused before anything is fitted."""
    with pytest.raises(FitError, match=said):
        require_metric(one)
