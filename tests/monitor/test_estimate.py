"""Expected errors from scores: calibration, and what is made of it."""

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression

from services.monitor.estimate import CALIBRATION_ROWS_MIN, Calibration, EstimateWatch, isotonic
from services.monitor.policy import Policy
from tests.monitor.drifting import noise, profile

POLICY = Policy(classes=2, metrics_window_rows=100)


@pytest.mark.parametrize("seed", range(5))
def test_pools_are_those_of_scikit_learn(seed: int) -> None:
    """Each pool's share is that of isotonic regression, but for the half that is added to either side."""
    rng = np.random.default_rng(seed)
    scores = rng.random(300).round(2)  # some of them equal
    right = (rng.random(300) < scores).astype(float)
    expected = IsotonicRegression().fit_transform(scores, right)

    pooled, shares = isotonic(scores, right)

    order = np.argsort(scores)
    values, begins, counts = np.unique(expected[order], return_index=True, return_counts=True)
    means = [scores[order][begin : begin + count].mean() for begin, count in zip(begins, counts, strict=True)]
    assert means == pytest.approx(pooled)
    assert np.maximum.accumulate((values * counts + 0.5) / (counts + 1)) == pytest.approx(shares)


def test_a_model_that_is_too_sure_is_corrected() -> None:
    """It says 0.9 and is right in 7 of 10: the expected error is 0.3, whatever it says."""
    rng = np.random.default_rng(1)
    known = profile(noise(2000, 1), np.full(2000, 0.9), (rng.random(2000) < 0.7).astype(float))
    calibration = Calibration.of(known)
    assert calibration is not None
    expected = calibration.expected(np.ones(3), np.array([[0.1, 0.9], [0.05, 0.95], [np.nan, np.nan]]))

    assert [0.3, 0.3] == pytest.approx(expected["error"][:2].tolist(), abs=0.03)
    assert np.isnan(expected["error"][2])


def test_the_expected_log_loss_is_that_of_the_calibrated_probabilities() -> None:
    """Of three classes: the predicted one as calibrated, the rest in the proportion of their scores."""
    calibration = Calibration(np.array([0.0, 1.0]), np.array([0.6, 0.6]))
    scores = np.array([[0.1, 0.3, 0.6]])
    expected = calibration.expected(np.array([2.0]), scores)

    weights = np.array([0.1, 0.3, 0.6])
    assert -(weights * np.log(scores[0])).sum() == pytest.approx(expected["log_loss"][0])
    assert [0.4] == pytest.approx(expected["error"].tolist())
    assert [0.24] == pytest.approx(expected["variance"].tolist())


@pytest.mark.parametrize("rows", [CALIBRATION_ROWS_MIN - 1, CALIBRATION_ROWS_MIN])
def test_too_few_hold_out_rows_are_not_believed(rows: int) -> None:
    """Then nothing is estimated, and it is said why."""
    watch = EstimateWatch(POLICY)
    why = watch.begin(1, profile(noise(rows, 1)))

    assert (rows < CALIBRATION_ROWS_MIN) == ("too few hold-out rows" in why)
    alarms, measured = watch.take(np.ones(200), np.full((200, 2), 0.5), np.arange(200), np.arange(200))
    assert not alarms
    assert (rows >= CALIBRATION_ROWS_MIN) == bool(measured)


def test_windows_are_measured_at_each_fifth() -> None:
    """With the event times that they span, and an interval around each metric."""
    watch = EstimateWatch(POLICY)
    watch.begin(3, profile(noise(500, 1)))
    times = np.arange(250) * 10
    _, measured = watch.take(np.ones(250), np.full((250, 2), 0.5), times, np.arange(250) + 7)

    assert list(range(20, 251, 20)) == [each.total_rows for each in measured]
    last = measured[-1]
    assert (3, 7 + 239, 100, "estimate") == (last.version, last.offset, last.window_rows, last.source)
    assert (1400, 2390) == (last.from_time_ms, last.until_time_ms)
    for name, value in last.metrics.items():
        assert last.low[name] <= value <= last.high[name]
