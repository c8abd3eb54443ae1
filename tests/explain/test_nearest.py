"""Training rows that are like a row."""

import numpy as np
import pytest

from millrace.explain.nearest import nearest

TRAINING = np.random.default_rng(3).normal(size=(600, 5)) * [1, 10, 100, 1, 1]


def test_a_training_row_is_nearest_to_itself():
    """At distance 0, and no stranger than any."""
    found = nearest(TRAINING[17], TRAINING)

    assert (17, 0.0, 0.0) == (found.places[0], found.distances[0], found.stranger_than)
    assert (np.diff(found.distances) >= 0).all()


def test_units_do_not_matter():
    """Features in thousands or in thousandths: the same neighbours."""
    row, scale = TRAINING[3] + 0.1, np.array([1000.0, 1e-3, 1.0, 7.0, 1.0])

    assert nearest(row, TRAINING).places.tolist() == nearest(row * scale, TRAINING * scale).places.tolist()


def test_what_is_like_nothing_is_strange():
    """A row far outside is stranger than every training row; one in the middle is not."""
    usual = nearest(np.median(TRAINING, axis=0), TRAINING).stranger_than
    strange = nearest(np.full(5, 1e6), TRAINING)

    assert strange.stranger_than == 1.0
    assert strange.distances[0] == 1.0
    assert usual < 0.5


def test_missing_is_like_missing_only():
    """Both missing is no difference, one missing is the whole one."""
    training = np.array([[np.nan, 1.0], [0.0, 1.0], [1.0, 2.0]])
    found = nearest(np.array([np.nan, 1.0]), training)

    assert [0, 1] == found.places.tolist()[:2]
    assert [0.0, 0.5] == found.distances.tolist()[:2]


def test_a_feature_that_never_varied_tells_what_is_new():
    """Equal, it says nothing; different, it is as far as can be."""
    training = np.column_stack([np.ones(50), np.arange(50.0)])

    assert nearest(np.array([1.0, 7.0]), training).distances[0] == 0.0
    assert nearest(np.array([1.1, 7.0]), training).distances[0] == 0.5


def test_what_does_not_fit_is_refused():
    """With the shape seen."""
    with pytest.raises(ValueError, match=r"\(600, 5\) do not fit a row of 3"):
        nearest(np.zeros(3), TRAINING)
