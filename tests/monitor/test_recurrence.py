"""Whether an earlier version's training rows look like the rows now."""

import numpy as np
import pytest

from services.monitor.recurrence import FAR_BITS, distance, recurrence
from tests.monitor.drifting import noise, profile


def rows(shift: float, count: int, seed: int) -> dict[str, np.ndarray]:
    """Three features, the first of them moved."""
    features = noise(count, 3, seed)
    return features | {"f0": features["f0"] + shift}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("count", [100, 500])
def test_samples_of_one_distribution_are_not_apart(seed: int, count: int) -> None:
    """What chance gives is taken off: less than a tenth of a bit over 20 features."""
    assert distance(noise(2000, 20, seed), noise(count, 20, seed + 1000)) < FAR_BITS * (2 if count == 100 else 1)


def test_it_grows_with_the_shift_and_ends_at_one_bit() -> None:
    """For one feature that moves."""
    distances = [distance(rows(0, 2000, 1), rows(shift, 500, 2)) for shift in (0, 0.5, 1, 2, 4, 9)]

    assert sorted(distances) == distances
    assert distances[-1] == pytest.approx(1, abs=0.05)


def test_a_missing_value_is_a_value() -> None:
    """A feature that goes missing is far from one that was there, and near one that was missing too."""
    there, gone = {"x": np.arange(500.0)}, {"x": np.full(500, np.nan)}

    assert distance(there, gone) == pytest.approx(1, abs=0.05)
    assert distance(gone, gone) == 0


def test_the_nearest_is_named_if_it_is_near_enough() -> None:
    """Of equals the newest; none if the champion's own rows are near, or nobody's are."""
    profiles = {
        1: profile(rows(0, 2000, 1)),
        2: profile(rows(3, 2000, 2)),
        3: profile(rows(1.5, 2000, 3)),
        4: profile(rows(0, 2000, 1)),
    }
    back = recurrence(profiles.get, [1, 2, 3, 4], 2, rows(0, 400, 5))

    assert back is not None
    assert 4 == back.version
    assert (True, True) == (back.distance < 0.05, back.own_distance > 0.5)
    assert recurrence(profiles.get, [1, 2, 3], 1, rows(0, 400, 5)) is None
    assert recurrence(profiles.get, [1, 2, 3], 2, rows(-4, 400, 5)) is None
    assert recurrence(profiles.get, [1, 2], 9, rows(0, 400, 5)) is None, "no profile of its own"
    assert recurrence(profiles.get, [1, 2], 2, rows(0, 99, 5)) is None, "too few rows"
