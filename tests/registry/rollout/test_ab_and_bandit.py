"""What is judged once, and what follows posteriors: right against scipy and against draws."""

import math

import numpy as np
import pytest
from scipy import stats

from services.registry.rollout import ab, bandit, gaussian
from services.registry.rollout.examples import arm
from services.registry.rollout.special import beta_below, student_above, student_quantile

ALPHA = 0.05


def test_distributions_agree_with_scipy():
    """Incomplete beta and Student's t, at some places and for some shapes."""
    for a, b, x in [(0.5, 0.5, 0.1), (2, 3, 0.7), (50, 0.5, 0.99), (800, 900, 0.47), (1, 1, 0.0), (1, 1, 1.0)]:
        assert pytest.approx(stats.beta.cdf(x, a, b), abs=1e-12) == beta_below(x, a, b)
    for t, degrees in [(0.0, 3), (2.5, 7.3), (-1.0, 900), (40.0, 5)]:
        assert pytest.approx(stats.t.sf(t, degrees), rel=1e-9) == student_above(t, degrees)
    assert pytest.approx(stats.t.isf(0.025, 12)) == student_quantile(0.025, 12)


def losses(variant, values):
    """An arm with these losses."""
    return arm(variant, labelled_rows=len(values), loss_sum=float(sum(values)), loss_squares_sum=float(sum(values**2)))


def test_welch_agrees_with_scipy():
    """P and interval, for two arms of different size and spread."""
    rng = np.random.default_rng(5)
    ours, theirs = rng.normal(1.0, 1.0, 40), rng.normal(1.5, 3.0, 90)
    expected = stats.ttest_ind(ours, theirs, equal_var=False, alternative="less")
    found = ab.judge(losses("candidate", ours), losses("champion", theirs), "mae", ALPHA)
    interval = stats.ttest_ind(ours, theirs, equal_var=False).confidence_interval(1 - 2 * ALPHA)

    assert pytest.approx(expected.pvalue) == found.p
    assert pytest.approx((interval.low, interval.high)) == (found.low, found.high)


def test_few_wrong_answers_are_tested_exactly():
    """3 of 60 against 4 of 50 by Fisher's test; 10 and 30 by the z-test."""

    def wrong(count, rows):
        return losses("v", np.array([1.0] * count + [0.0] * (rows - count)))

    exact = ab.judge(wrong(3, 60), wrong(4, 50), "accuracy", ALPHA)
    rough = ab.judge(wrong(10, 100), wrong(30, 100), "accuracy", ALPHA)

    assert "Fisher exact" == exact.test
    assert pytest.approx(stats.fisher_exact([[3, 57], [4, 46]], alternative="less").pvalue) == exact.p
    assert "two-proportion z" == rough.test
    assert pytest.approx(stats.fisher_exact([[10, 90], [30, 70]], alternative="less").pvalue, abs=2e-3) == rough.p


def test_shares_are_the_chances_that_draws_would_give():
    """Three variants, one of which has no row: the integral agrees with 200,000 draws; for losses as well."""
    rng = np.random.default_rng(6)
    counts = {"champion": (300, 40.0), "arm-2": (300, 28.0), "arm-3": (0, 0.0)}
    arms = {name: arm(name, labelled_rows=rows, loss_sum=wrong) for name, (rows, wrong) in counts.items()}
    draws = np.stack([rng.beta(wrong + 1, rows - wrong + 1, 200_000) for rows, wrong in counts.values()])
    expected = np.bincount(draws.argmin(axis=0), minlength=3) / 200_000

    assert pytest.approx(expected.tolist(), abs=0.005) == list(bandit.shares(arms, "accuracy", 0.0).values())

    normal = {"champion": losses("champion", np.array([1.0, 3.0] * 20)), "b": losses("b", np.array([1.5, 1.9] * 30))}
    spread = math.sqrt(gaussian.variance_of(100, 182.0, sum(one.loss_squares_sum for one in normal.values())))
    chance = stats.norm.cdf((2.0 - 1.7) / (spread * math.sqrt(1 / 40 + 1 / 60)))

    assert pytest.approx(chance, abs=1e-3) == bandit.shares(normal, "mae", 0.0)["b"]


def test_no_variant_starves():
    """The least share is kept, all shares sum to 1, and two equal variants without rows get the same."""
    clear = {"champion": arm("champion", labelled_rows=500, loss_sum=10.0),
             "b": arm("b", labelled_rows=500, loss_sum=400.0)}  # fmt: skip

    assert {"champion": 0.95, "b": 0.05} == bandit.shares(clear, "accuracy", 0.05)
    assert {"champion": 0.5, "b": 0.5} == bandit.shares({"champion": arm("champion"), "b": arm("b")}, "mae", 0.05)
