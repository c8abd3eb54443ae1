"""How the loss fell."""

import numpy as np
import pytest
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from services.trainer.train.search import search
from services.trainer.train.search.fitting import score_rows
from tests.trainer.search.made import BUILDS, line, quiet, searching, signs


def scaled(last):
    """The estimator after imputing and scaling."""
    return make_pipeline(SimpleImputer(), StandardScaler(), last)


CASES = {
    "histogram boosting": (signs, lambda: HistGradientBoostingClassifier(max_iter=30, early_stopping=False), 30),
    "boosting of three classes": (
        lambda: signs(classes=3),
        lambda: make_pipeline(SimpleImputer(), GradientBoostingClassifier(n_estimators=12)),
        12,
    ),
    "boosting of numbers": (line, lambda: HistGradientBoostingRegressor(max_iter=250, early_stopping=False), 84),
    "gradient descent": (signs, lambda: scaled(SGDClassifier(loss="log_loss", random_state=1)), None),
    "gradient descent on numbers": (line, lambda: scaled(SGDRegressor(random_state=1)), None),
    "network": (
        signs,
        lambda: scaled(
            MLPClassifier(hidden_layer_sizes=(8,), max_iter=200, tol=0.01, n_iter_no_change=3, random_state=1)
        ),
        None,
    ),
    "network on numbers": (
        line,
        lambda: scaled(
            MLPRegressor(hidden_layer_sizes=(8,), learning_rate_init=0.1, tol=1.0, n_iter_no_change=5, random_state=1)
        ),
        None,
    ),
    "forest": (signs, lambda: RandomForestClassifier(n_estimators=10, min_samples_leaf=5, random_state=1), 4),
    "logistic": (signs, lambda: BUILDS["logistic"](1), 4),
}


@pytest.mark.parametrize("case", CASES)
def test_the_loss_falls(case):
    """Each kind of estimator has a history: finite, in order, the last validation loss below the first."""
    make_task, build, points = CASES[case]
    task = make_task()
    told = []
    found = search(task, {"pipeline": lambda seed: build()}, told.append)
    live = [(one.step, one.values["train_loss"], one.values["validation_loss"]) for one in told[1:]]
    assert {"fitting"} == {one.stage for one in told}
    assert [tuple(step)[:3] for step in found.history] == live
    steps = [step.step for step in found.history]
    assert steps == sorted(set(steps))
    assert len(steps) == points or (points is None and 1 < len(steps) <= 20)
    assert np.isfinite([step[1:] for step in found.history]).all()
    assert found.history[-1].validation_loss < found.history[0].validation_loss
    assert (700 - 100 == steps[-1]) == (points == 4)


def test_the_last_point_is_the_model_itself():
    """For boosting: the stages are those of the model that will serve."""
    task = signs()
    found = search(task, {"pipeline": lambda seed: HistGradientBoostingClassifier(max_iter=9)}, quiet)
    shares = score_rows(found.estimator, task.holdout.x, task).probabilities
    loss = -np.log(shares[np.arange(100), task.holdout.y.astype(int)]).mean()
    assert loss == pytest.approx(found.history[-1].validation_loss, abs=1e-9)


def test_a_history_that_cannot_be_had_costs_no_model():
    """A pipeline that wants all rows is fitted; the progress says what is missing."""

    def all_or_nothing(x):
        if len(x) == 300:
            raise RuntimeError("half of the rows")
        return np.nan_to_num(x)

    def build(seed):
        return make_pipeline(FunctionTransformer(all_or_nothing), BUILDS["tree"](seed))

    told = []
    found = search(signs(), {"pipeline": build}, told.append)
    assert () == found.history
    assert "no history of the fit: RuntimeError: half of the rows" == told[-1].message


def test_a_learning_curve_keeps_to_the_window_and_its_weights():
    """Shares of the rows that the choice is fitted on."""
    search_in = searching("logistic", trials=1, windows=("decay",), half_life_rows=100)
    found = search(signs(search=search_in), BUILDS, quiet)
    assert "decay:100" == found.choice.window
    assert [75, 150, 300, 600] == [step.step for step in found.history]
