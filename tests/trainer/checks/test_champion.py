"""beats-champion: a gain that is no luck."""

import numpy as np
import pytest
from scipy import stats

from services.trainer.train.checks.champion import confidence, sign_test, variance_of_mean
from tests.trainer.checks.made import NUMBERS, candidate, names, result, right_but, rows, task


@pytest.mark.parametrize(("better", "worse"), [(1, 0), (3, 1), (12, 10), (40, 12), (0, 4)])
def test_the_sign_test_is_the_exact_one(better, worse):
    """The same as scipy's binomial test, one-sided."""
    gains = np.array([1.0] * better + [-1.0] * worse + [0.0] * 30)
    expected = 1 - stats.binomtest(better, better + worse, 0.5, alternative="greater").pvalue
    assert expected == pytest.approx(sign_test(gains), abs=1e-12)


@pytest.mark.parametrize("rows_in_a_row", [1, 10])
def test_false_alarms_stay_rare(rows_in_a_row):
    """Of two models that are equally good few seem better with 0.9; also where their faults come in runs."""
    rng = np.random.default_rng(5)
    found = []
    for _ in range(300):
        gains = np.repeat(rng.choice([-1.0, 0.0, 1.0], p=[0.1, 0.8, 0.1], size=500 // rows_in_a_row), rows_in_a_row)
        found.append(confidence(gains, exact=True) >= 0.9)
    assert np.mean(found) <= {1: 0.13, 10: 0.17}[rows_in_a_row]


def test_dependence_widens_the_variance():
    """Differences in runs of ten tell less than so many rows; independent ones lose nothing to speak of."""
    rng = np.random.default_rng(6)
    alone, runs = rng.normal(size=1000), np.repeat(rng.normal(size=100), 10)
    assert 0.7 < variance_of_mean(alone) * 1000 / alone.var() < 1.3
    assert variance_of_mean(runs) * 1000 / runs.var() > 3
    flipping = np.tile([1.0, -1.0], 10_000)
    assert flipping.var() / 10 / 20_000 == pytest.approx(variance_of_mean(flipping))


def test_a_clear_gain_is_sure_and_a_small_one_is_not():
    """20 rows of 400 against none, and 2 against 1, with the numbers in words."""
    one = task()
    sure = result(
        one, candidate(one, scores=right_but(one, []), champion=right_but(one, range(0, 400, 20))), "beats-champion"
    )
    assert sure.passed
    assert sure.value > 0.99
    unsure = result(
        one, candidate(one, scores=right_but(one, [7]), champion=right_but(one, [90, 300])), "beats-champion"
    )
    assert (False, 0.5) == (unsure.passed, unsure.value)
    assert "better on 2 of 400 rows, worse on 1: confidence 0.500" in unsure.message
    assert "raise training.holdout_rows" in unsure.message


def test_equal_models_are_no_gain():
    """Confidence 0: nothing says that the candidate is better."""
    one = task()
    made = candidate(one, scores=right_but(one, [7]), champion=right_but(one, [7]))
    assert 0.0 == result(one, made, "beats-champion").value


@pytest.mark.parametrize("metric", ["mae", "rmse"])
def test_errors_are_paired(metric):
    """A champion with another noise on each row is beaten; the candidate's own scores are not."""
    one = task(NUMBERS, metric=metric)
    made = candidate(one)
    worse = made.scores._replace(values=made.scores.values + np.random.default_rng(2).normal(size=400))
    assert result(one, candidate(one, champion=worse), "beats-champion").value > 0.99
    other = rows(400, NUMBERS, seed=9)
    assert other.y.shape == one.holdout.y.shape
    assert 0.0 == result(one, candidate(one, champion=made.scores), "beats-champion").value


def test_it_is_absent_where_it_cannot_be_or_is_not_wanted():
    """Without a champion, and with confidence null."""
    one = task()
    assert "beats-champion" not in names(one, candidate(one))
    off = task(confidence=None)
    assert "beats-champion" not in names(off, candidate(off, champion=right_but(off, [1])))
