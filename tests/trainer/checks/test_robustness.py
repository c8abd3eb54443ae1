"""robust-noise, robust-missing, robust-adversarial: disturbed rows."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import ThreadpoolController

from services.trainer.train.checks import check
from services.trainer.train.checks.disturb import evenly, spread
from services.trainer.train.task import Rows
from tests.trainer.checks.made import NUMBERS, candidate, names, result, rows, task

ROBUST = ("robust-noise", "robust-missing", "robust-adversarial")


def trees(one):
    """Boosting, which takes missing values; in one thread, since so small a fit is only held up by more."""
    kind = HistGradientBoostingClassifier if one.label.classes else HistGradientBoostingRegressor
    y = one.train.y.astype(int) if one.label.classes else one.train.y
    with ThreadpoolController().limit(limits=1, user_api="openmp"):
        return kind(max_iter=30, random_state=1, early_stopping=False).fit(one.train.x, y)


@pytest.mark.parametrize("label", [None, NUMBERS])
def test_an_honest_model_passes(label):
    """With the limits that are the default, and a drop in words."""
    one = task() if label is None else task(label)
    made = candidate(one, trees(one))
    for name in ROBUST:
        found = result(one, made, name)
        assert found.passed, found.message
        assert "becomes" in found.message


def stripes():
    """A task whose truth changes with every tenth of a standard deviation of the first feature."""
    one = task()
    parts = [Rows(part.x, np.floor(part.x[:, 0] * 10).astype(int) % 2.0) for part in (rows(6000), one.holdout)]
    return replace(one, train=parts[0], holdout=parts[1])


def test_a_model_that_hangs_on_the_last_digit_fails():
    """Stripes are learned well, and a tenth of a standard deviation turns the answers round."""
    one = stripes()
    tree = DecisionTreeClassifier(min_samples_leaf=5, random_state=1)
    made = candidate(one, tree.fit(one.train.x, one.train.y.astype(int)))
    assert made.metrics["accuracy"] > 0.85
    noise, adversarial = (result(one, made, name) for name in ("robust-noise", "robust-adversarial"))
    assert (False, False) == (noise.passed, adversarial.passed)
    assert "make the model smoother" in noise.message
    assert adversarial.value > noise.value


def test_the_adversary_does_what_the_best_one_would_to_a_linear_model():
    """Against a linear model the worst corner of the box is known; the search finds it."""
    one = task(robustness={"adversarial": 0.3})
    made = candidate(one)
    sign = np.sign(made.estimator.coef_[0]) * np.where(one.holdout.y == 1, -1.0, 1.0)[:, None]
    worst = one.holdout.x + 0.3 * spread(one) * sign
    best_attack = made.metrics["accuracy"] - made.estimator.score(worst, one.holdout.y)
    found = result(one, made, "robust-adversarial")
    assert best_attack == pytest.approx(found.value)
    assert best_attack > 0.05


@pytest.mark.parametrize(("label", "drop"), [(None, 0.4), (NUMBERS, 1e9)])
def test_no_score_where_a_value_is_missing(label, drop):
    """A linear model passes while no value is missing, with a word; where one is, rows without a score are wrong."""
    one = task(robustness={"missing": 0.2}) if label is None else task(label, robustness={"missing": 0.2})
    made = candidate(one)
    found = result(one, made, "robust-missing")
    assert (True, 0.0) == (found.passed, found.value)
    assert "left out because no value is missing in the task's rows" in found.message
    x = one.train.x.copy()
    x[0, 0] = np.nan
    found = result(replace(one, train=Rows(x, one.train.y)), made, "robust-missing")
    assert (False, True) == (found.passed, found.value >= drop)
    assert "impute missing values" in found.message


def test_a_model_that_never_has_a_score_where_a_value_is_missing():
    """All values taken away, none missing otherwise: nothing is left to judge."""
    one = task(robustness={"missing": 1.0})
    found = result(one, candidate(one), "robust-missing")
    assert (True, True) == (found.passed, "no row has a score" in found.message)


def test_results_are_the_seeds():
    """The same task has the same results, another seed others."""
    one = task(NUMBERS)
    made = candidate(one, trees(one))
    values = [
        [found.value for found in check(each, made) if found.name in ROBUST]
        for each in (one, one, replace(one, seed=4))
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_a_limit_of_null_and_a_size_of_nought_turn_it_off():
    """Each by itself."""
    off = task(robustness={"noise_drop_max": None, "missing": 0, "adversarial_drop_max": None})
    assert not set(ROBUST) & names(off, candidate(off))


def test_spread_leaves_out_what_is_missing():
    """A feature without a value, or with one value, has none."""
    x = np.array([[1.0, np.nan, 2.0], [3.0, np.nan, 2.0], [np.nan, np.nan, 2.0]], dtype=np.float32)
    one = task(changes={"train": Rows(x, np.zeros(3))})
    assert [1.0, 0.0, 0.0] == spread(one).tolist()


def test_rows_are_taken_evenly():
    """No more than asked for, none twice."""
    assert 500 == len(set(evenly(12_345, 500).tolist()))
