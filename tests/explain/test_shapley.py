"""What each feature added: the properties that make it a Shapley value."""

import itertools
import math

import numpy as np
import pytest

from millrace.explain.shapley import attribute

RNG = np.random.default_rng(5)
BACKGROUND = RNG.normal(size=(400, 4))
ROW = np.array([1.0, -2.0, 0.5, 3.0])


def curved(rows):
    """Features that work together, and one that does nothing."""
    return rows[:, 0] * rows[:, 1] + np.tanh(rows[:, 2]) + 0.0 * rows[:, 3]


def exact(answer, row, background):
    """The Shapley values by their definition: over all subsets of the features, and all background rows."""
    width = len(row)

    def worth(known):
        rows = background.copy()
        rows[:, list(known)] = row[list(known)]
        return answer(rows).mean()

    values = np.zeros(width)
    for feature in range(width):
        others = [one for one in range(width) if one != feature]
        for size in range(width):
            weight = math.factorial(size) * math.factorial(width - size - 1) / math.factorial(width)
            for known in itertools.combinations(others, size):
                values[feature] += weight * (worth([*known, feature]) - worth(known))
    return values


def test_what_is_added_sums_to_the_answer():
    """Nothing is left over: the usual answer and all that was added make the answer."""
    found = attribute(curved, ROW, BACKGROUND)

    assert found.answer == curved(ROW[None])[0]
    assert math.isclose(found.usual + found.added.sum(), found.answer, abs_tol=1e-9)


def test_it_estimates_the_values_by_definition():
    """Within four standard errors of the sum over all subsets."""
    found = attribute(curved, ROW, BACKGROUND, permutations=2000)
    expected = exact(curved, ROW, BACKGROUND)

    assert (np.abs(found.added - expected) <= 4 * found.error + 0.02).all(), (found.added, expected, found.error)
    assert found.error[:3].min() > 0


def test_a_feature_that_does_nothing_added_nothing():
    """Exactly, whatever the others do."""
    assert attribute(curved, ROW, BACKGROUND).added[3] == 0.0


def test_the_same_seed_gives_the_same_numbers():
    """An explanation can be repeated; another seed gives others."""
    first, again, other = (attribute(curved, ROW, BACKGROUND, seed=seed).added for seed in (1, 1, 2))

    assert first.tolist() == again.tolist() != other.tolist()


def test_missing_values_are_values():
    """A model that looks for them is explained by them."""
    background = np.column_stack([np.where(RNG.random(200) < 0.5, np.nan, 1.0), np.ones(200)])
    found = attribute(lambda rows: np.isnan(rows[:, 0]).astype(float), np.array([np.nan, 1.0]), background)

    assert 0.3 < found.added[0] < 0.7
    assert found.added[1] == 0.0


@pytest.mark.parametrize(
    ("background", "permutations", "words"),
    [
        (np.empty((0, 4)), 8, "do not fit"),
        (np.ones((3, 2)), 8, "do not fit a row of 4"),
        (BACKGROUND, 7, "got 7"),
    ],
)
def test_what_does_not_fit_is_refused(background, permutations, words):
    """With the shapes or the number seen."""
    with pytest.raises(ValueError, match=words):
        attribute(curved, ROW, background, permutations=permutations)
