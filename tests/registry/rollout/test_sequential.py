"""The sequential tests: right against independent formulas, and held to alpha however often one looks."""

import math

import numpy as np
import pytest
from scipy import stats

from services.registry.rollout import betting, binomial, gaussian
from services.registry.rollout.examples import arm, pair
from services.registry.rollout.paired import compare

ALPHA = 0.05
PATHS = 400
BOUND = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / PATHS)  # three standard errors of the simulation


def test_a_share_is_held_to_alpha_at_every_look():
    """400 versions that fail exactly as often as allowed, looked at after each fault of 2,000 events."""
    rng = np.random.default_rng(1)
    alarms = 0
    for _ in range(PATHS):
        rows = np.flatnonzero(rng.random(2000) < 0.01) + 1
        alarms += any(binomial.is_above(at + 1, int(row), 0.01, ALPHA) for at, row in enumerate(rows))

    assert alarms / PATHS <= BOUND


def differing(rng, worse, better, rows=300):
    """A path of differences: the rows that differ, and how many were worse and better until each row."""
    draws = rng.random(rows)
    counts = np.zeros((2, rows + 1), dtype=int)
    counts[0, 1:], counts[1, 1:] = (draws < worse).cumsum(), (draws > 1 - better).cumsum()
    return np.flatnonzero((draws < worse) | (draws > 1 - better)) + 1, counts


def test_equal_versions_are_held_to_alpha_at_every_look():
    """400 equal candidates, looked at whenever the evidence may have grown: few are ever found to be worse."""
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(PATHS):
        rows, (worse, better) = differing(rng, 0.05, 0.05)
        alarms += any(
            compare(pair(n, worse=int(worse[n]), better=int(better[n])), "accuracy", 0.0).p_worse <= ALPHA
            for n in rows.tolist()
        )

    assert alarms / PATHS <= BOUND


def test_versions_worse_by_the_margin_are_held_to_alpha_at_every_look():
    """400 candidates that are worse by exactly the margin: few are ever found to be good enough.

    What makes them look good is a long time without a difference, so each row before a difference is looked at.
    """
    rng = np.random.default_rng(3)
    alarms = 0
    for _ in range(PATHS):
        rows, (worse, better) = differing(rng, 0.075, 0.025)
        alarms += any(
            compare(pair(n, worse=int(worse[n]), better=int(better[n])), "accuracy", 0.05).is_good(ALPHA)
            for n in [*(rows - 1).tolist(), 300]
        )

    assert alarms / PATHS <= BOUND


@pytest.mark.parametrize("skewed", [False, True])
def test_unbounded_losses_are_held_to_alpha_at_every_look(skewed):
    """400 paths of differences with mean 0, normal or exponential, looked at after each of 1,000 rows."""
    rng = np.random.default_rng(4)
    values = rng.exponential(1.0, (PATHS, 1000)) - 1 if skewed else rng.normal(0.0, 3.0, (PATHS, 1000))
    sums, squares = values.cumsum(axis=1), (values**2).cumsum(axis=1)
    alarms = sum(
        any(
            gaussian.log_evidence(n, s / n, gaussian.variance_of(n, s, q), 0.0) >= math.log(1 / ALPHA)
            for n, s, q in zip(range(50, 1001, 5), one[49::5].tolist(), two[49::5].tolist(), strict=True)
        )
        for one, two in zip(sums, squares, strict=True)
    )

    assert alarms / PATHS <= BOUND


def test_evidence_is_an_average_of_products():
    """The closed form equals the game played row by row with each bet."""
    rows = [1, 0, 0, -1, 1, 1, 0]
    played = [math.prod(1 + bet * (row - 0.1) / 1.1 for row in rows) for bet in betting.BETS]

    assert pytest.approx(math.log(np.mean(played))) == betting.log_evidence({1: 3, 0: 3, -1: 1}, 0.1)


def test_no_game_is_played_below_the_least_value():
    """A limit that cannot be broken upwards from below is an error of the caller, and says so."""
    with pytest.raises(ValueError, match=r"above the least value 0, got 0"):
        betting.log_evidence({0: 3, 1: 1}, 0.0)


@pytest.mark.parametrize(
    ("faults", "rows", "limit", "above"),
    [
        (1, 1, 0.01, False),
        (2, 2, 0.01, False),
        (3, 3, 0.01, True),
        (1, 10**6, 0.0, True),
        (0, 0, 0.0, False),
        (9, 9, 1.0, False),
        (10**6, 10**6, 0.01, True),
        (0, 10**6, 0.01, False),
    ],
)
def test_shares_at_the_edges(faults, rows, limit, above):
    """One fault of one proves nothing, three of three do; a limit of 0 bears none; counts may be great."""
    assert above == binomial.is_above(faults, rows, limit, ALPHA)


def test_the_normal_mixture_is_the_integral_that_it_claims_to_be():
    """2 int_0^inf exp(l S - l² n / 2) phi(l; rho²) dl, by a sum."""
    rows, mean, variance = 120, 0.4, 2.0
    total = rows * mean / math.sqrt(variance)
    rho = math.sqrt(gaussian.RHO_SQUARED)
    bets = np.linspace(0, 10 * rho, 200_001)
    values = np.exp(bets * total - bets**2 * rows / 2) * 2 * stats.norm.pdf(bets, scale=rho)

    assert pytest.approx(math.log(np.trapezoid(values, bets)), abs=1e-6) == gaussian.log_evidence(
        rows, mean, variance, 0.0
    )


def test_constant_differences_leave_nothing_to_chance():
    """Fifty equal differences above the limit are proof, at or below it they are none; NaN proves nothing."""
    assert [math.inf, -math.inf] == [gaussian.log_evidence(50, 0.2, 0.0, limit) for limit in (0.1, 0.2)]
    assert -math.inf == gaussian.log_evidence(50, math.nan, 1.0, 0.0)
    assert -math.inf == gaussian.log_evidence(10**6, -50.0, 1.0, 0.0)


def test_the_margin_of_a_root_mean_square_is_one_of_roots():
    """From rmse 2 a margin of 0.5 allows 2.5² - 2² = 2.25 more squared error."""
    champion = arm("champion", labelled_rows=10, loss_sum=40.0)

    assert pytest.approx(2.25) == compare(pair(60), "rmse", 0.5, champion).margin
    assert 0.25 == compare(pair(60), "rmse", 0.5).margin
