"""The search: what is settled on, fitted and reported."""

from dataclasses import replace

import joblib
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor

from millrace.contracts.training_policy import Search
from services.trainer.train.export import export
from services.trainer.train.search import search
from services.trainer.train.search.fitting import score_rows
from services.trainer.train.task import PIPELINE_ALONE, Choice, FitError
from tests.trainer.search.made import BUILDS, broken, electricity, line, quiet, searching, signs, task_with


def accuracy(found, task):
    """Of the fitted estimator, on the hold-out rows."""
    return float(np.mean(score_rows(found.estimator, task.holdout.x, task).values == task.holdout.y))


def test_without_a_search_the_pipeline_is_fitted_once():
    """On all training rows, with no trial."""
    fits = []

    def build(seed):
        fits.append(seed)
        return BUILDS["tree"](seed)

    task = signs()
    found = search(task, {"pipeline": build}, quiet)
    assert (PIPELINE_ALONE, ()) == (found.choice, found.trials)
    assert {7} == set(fits)
    assert accuracy(found, task) > 0.8
    assert found.to_onnx(task) is None


def test_a_search_on_real_data_finds_a_choice_that_can_be_repeated():
    """Two families; the same task gives the same trials; the choice, fixed, gives the same bytes, twice."""
    task = electricity(search=searching("logistic", "tree", trials=8))
    found, again = search(task, BUILDS, quiet), search(task, BUILDS, quiet)
    assert [trial[:7] for trial in found.trials] == [trial[:7] for trial in again.trials]
    assert 8 == len(found.trials)
    assert {"logistic", "tree"} == {trial.family for trial in found.trials}
    best = max((trial for trial in found.trials if trial.value is not None), key=lambda trial: trial.value)
    assert (best.family, best.params, best.window) == found.choice
    assert accuracy(found, task) > 0.8
    fixed = replace(task, search=None, fixed=found.choice)
    first, second = (export(search(fixed, BUILDS, quiet).estimator, task) for _ in range(2))
    assert export(found.estimator, task) == first == second


def test_a_careless_pipeline_is_repeated_all_the_same():
    """One that takes its randomness from the global generator gives the same model with and without a search."""

    def careless(seed, most):
        return HistGradientBoostingClassifier(max_iter=most, early_stopping=True, random_state=None)

    trials = searching("tree", trials=2).model_copy(update={"windows": ("last",)})
    family = trials.families[0].model_copy(update={"name": "careless", "space": {"most": (5, 6)}})
    task = signs(search=trials.model_copy(update={"families": (family,)}))
    found = search(task, {"careless": careless}, quiet)
    fixed = search(replace(task, fixed=found.choice), {"careless": careless}, quiet)
    assert export(found.estimator, task) == export(fixed.estimator, task)


def test_progress_is_told_after_each_trial():
    """How many of how many, and the best value so far."""
    told = []
    task = line(search=searching("ridge", trials=3))
    found = search(task, BUILDS, told.append)
    trials = [one for one in told if one.stage == "searching"]
    assert [(1, 3), (2, 3), (3, 3)] == [(one.step, one.steps) for one in trials]
    best = [min(trial.value for trial in found.trials[: at + 1]) for at in range(3)]
    assert best == [one.values["best_mae"] for one in trials]
    assert {"fitting"} == {one.stage for one in told if one.stage != "searching"}


def test_hopeless_trials_are_ended_early():
    """With pruning some are judged on fewer folds; without it none is."""
    task = electricity(search=searching("tree", trials=14, windows=("last",)))
    found = search(task, BUILDS, quiet)
    pruned = [trial for trial in found.trials if trial.state == "pruned"]
    assert pruned
    assert {1, 2} >= {len(trial.fold_values) for trial in pruned}
    assert all(trial.value is None and "median" in trial.reason for trial in pruned)
    all_in = replace(task, search=task.search.model_copy(update={"pruning": False}))
    assert {("complete", 3)} == {
        (trial.state, len(trial.fold_values)) for trial in search(all_in, BUILDS, quiet).trials
    }


def test_workers_do_not_change_the_trials():
    """Folds fitted at once by joblib's workers: the same trials, the pruned ones included."""
    task = electricity(900, search=searching("tree", "broken", trials=10))
    alone = search(task, BUILDS, quiet)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        together = search(task, BUILDS, quiet)
    assert [(*trial[:7], trial.reason) for trial in alone.trials] == [
        (*trial[:7], trial.reason) for trial in together.trials
    ]
    assert {"complete", "pruned", "failed"} == {trial.state for trial in alone.trials}


def test_the_gap_is_kept_and_the_hold_out_not_touched():
    """No fit in a trial gets a row of the gap before its stretch; no row is newer than the training rows."""
    seen = []

    class Nosy(Ridge):
        def fit(self, x, y, sample_weight=None):
            seen.append(("fit", int(x[:, 0].min()), int(x[:, 0].max())))
            return super().fit(x, y, sample_weight)

        def predict(self, x):
            seen.append(("judge", int(x[:, 0].min()), int(x[:, 0].max())))
            return super().predict(x)

    rows = np.arange(700.0)
    task = task_with(rows[:, None], rows, classes=(), metric="mae", gap_rows=13)
    own, given = Search(trials=1), Search(trials=1, gap_rows=40)
    for chosen, gap in ((own, 13), (given, 40)):
        seen.clear()
        search(replace(task, search=chosen), {"pipeline": lambda seed: Nosy()}, quiet)
        in_trials = seen[:6]
        ends = [(540, 599), (480, 539), (420, 479)]
        expected = [part for low, high in ends for part in (("fit", 0, low - gap - 1), ("judge", low, high))]
        assert expected == in_trials
        assert ("fit", 0, 599) == seen[6]


def test_the_window_since_the_drift_is_chosen_when_only_it_has_the_signal():
    """Before the drift the same feature meant the opposite."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1100, 2))
    y = np.where(np.arange(1100) < 780, x[:, 0] > 0, x[:, 0] < 0)
    task = task_with(x, y, since_drift=780, search=Search(windows=("last", "since_drift"), trials=4))
    found = search(task, {"pipeline": lambda seed: GaussianNB()}, quiet)
    assert Choice("pipeline", {}, "since_drift:220") == found.choice
    assert accuracy(found, task) > 0.9
    everything = search(replace(task, fixed=PIPELINE_ALONE), {"pipeline": lambda seed: GaussianNB()}, quiet)
    assert accuracy(everything, task) < 0.5


def test_decay_follows_what_changes_slowly():
    """The slope wanders: recent rows weigh more, through a pipeline's last step; a family without weights has none."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1100, 1))
    y = x[:, 0] * np.linspace(-3, 3, 1100)
    space = Search(windows=("decay",), half_life_rows=100, trials=3)
    task = task_with(x, y, classes=(), metric="mae", search=space)
    found = search(task, BUILDS | {"pipeline": BUILDS["ridge"]}, quiet)
    assert Choice("pipeline", {}, "decay:100") == found.choice
    plain = search(replace(task, fixed=PIPELINE_ALONE), {"pipeline": BUILDS["ridge"]}, quiet)
    errors = [np.abs(one.estimator.predict(task.holdout.x) - task.holdout.y).mean() for one in (found, plain)]
    assert errors[0] < errors[1] / 2
    unweighted = search(line(search=space), {"pipeline": lambda seed: KNeighborsRegressor()}, quiet)
    assert "last:600" == unweighted.choice.window


def test_a_trial_that_raises_is_not_the_end():
    """It has failed, with its reason; the others go on."""
    task = signs(search=searching("tree", "broken", trials=6))
    found = search(task, BUILDS, quiet)
    failed = [trial for trial in found.trials if trial.state == "failed"]
    assert {("broken", "RuntimeError: no seed like 7")} == {(trial.family, trial.reason) for trial in failed}
    assert "tree" == found.choice.family


def test_a_search_without_a_model_says_why():
    """Every reason, with how often it was met."""
    task = signs(search=searching("broken", "ridge", trials=6))
    said = r"(?s)all 6 trials .* failed: .*no seed like 7 \(3 times\).*build builds Pipeline, a classifier with"
    with pytest.raises(FitError, match=said):
        search(task, BUILDS, quiet)


def test_a_small_space_is_not_searched_twice():
    """Three windows are three trials, whatever the budget."""
    found = search(signs(search=Search(trials=30)), BUILDS, quiet)
    assert ["last:600", "last:300", "last:150"] == [trial.window for trial in found.trials]


def test_no_trial_begins_after_the_seconds():
    """The first one that uses them up is the last."""
    found = search(signs(search=searching("tree", trials=9, seconds=1e-9)), BUILDS, quiet)
    assert 1 == len(found.trials)


def test_a_class_that_a_fold_never_met_has_no_probability():
    """The fold is judged all the same: the class is only in the newest rows."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(700, 2))
    y = np.where(np.arange(700) > 560, rng.integers(0, 3, 700), rng.integers(0, 2, 700))
    task = task_with(x, y, classes=("a", "b", "c"), metric="log_loss", search=Search(trials=1))
    found = search(task, {"pipeline": lambda seed: LogisticRegression()}, quiet)
    assert "complete" == found.trials[0].state
    assert np.isfinite(found.trials[0].value)


def test_an_unknown_family_is_refused():
    """A fixed choice that the project no longer has."""
    task = signs(fixed=Choice("gone", {}, "last"))
    with pytest.raises(FitError, match=r"no family 'gone'; training.search.families has \['pipeline'\]"):
        search(task, {"pipeline": broken}, quiet)
